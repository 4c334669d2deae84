// Package account is the language of Gatehouse: the nouns, rules, states and errors that every dialect, operation,
// workflow and query shares. It imports nothing of ours and knows neither JSON, SQL, HTTP nor Temporal.
package account
