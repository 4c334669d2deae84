package store

// What the tests look at from inside.
const SessionPrincipalQuery = sessionPrincipalQuery

var Translate = translate
