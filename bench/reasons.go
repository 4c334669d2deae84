//go:build unix

package main

import (
	"slices"
	"strings"
)

// reason is why targets are missed, as far as that was found out by profiles.
type reason struct {
	// measure is what of, keys whose; no keys are all.
	measure string
	keys    []string
	why     string
}

var reasons = []reason{
	{measure: measureP50, keys: []string{keyMe, keyMe + ", access log on", keyMeAPIKey, keyDetails, keySecurity, keyCanSet, keyValidate}, why: "Reads at one " +
		"connection: Postgres takes 3 us more for session and account than for one flat row, 14 us more with credits and subscription, and of the 150 us of " +
		"CPU that a profile at one connection found for /me, the credential takes 7, the JSON 20, and the headers, the deadline and the metrics 10. How a request's hops between " +
		"client, server and Postgres fall on the two cores changes all of it: in pieces of ten seconds the limit took 0.13 to 0.21 ms and /me 0.19 to 0.35, " +
		"1.4 to 2.1 times as long. A build by profile (PGO) made no difference beyond that. At 32 connections reads that come together share a " +
		"statement, which pays for all of it."},
	{measure: measureP99, why: "Search: the one absolute figure about time. What takes longest is a text that 20,000 usernames hold and none begins with: " +
		"the index of letters is read for all of them."},
	{measure: measureFlat, why: "Growth: the indexes get one level deeper, and the rows of 4096 clients lie on as many pages of each table, " +
		"which no cache of the processor holds."},
	{measure: measureRate, keys: []string{keyRefresh}, why: "Refresh: a token is one row changed and one added, with four index entries and a look at a foreign key, " +
		"a signature, and a limit that is counted and committed first; the limit here changes one row of a small table without an index."},
	{measure: measureHashes, why: "Login: the argon2id library takes 19 MiB anew for each hash. Alone in a process that is nearly free; where there is a heap, the " +
		"collector looks through it the more often. Five statements and their commits are the rest."},
	{measure: measureBeside, why: "The CPU beside the hash: the argon2id library takes 19 MiB anew for each hash, so " +
		"the collector goes through the heap at every third or fourth login; the section Login says what that costs. What is left is the request itself."},
	{measure: measureMemory, why: "Memory: 42 to 50 MiB of each process are pages of the program file, which the processes of a machine share and the system takes " +
		"back when it needs them. After its start an API has 13 MiB of its own, under reads 35. Two hashes at once are 38 MiB, and three times that before " +
		"the collector comes (twice at Go's default, with 213 MiB in all in the run at bdb6f28; logins were slower then). A worker that keeps 1000 flows held 140 MiB, one with the SDK's 10,000 held 145 in another run: they are not most of it."},
	{measure: measureRate, keys: []string{keyInitiate, keySignIn, keySendCode}, why: "Flows at 32 connections: two cores run Temporal, Postgres and the load, too, and " +
		"are busy throughout. A flow of ours writes rows, sends a mail by a remote activity and shows its stage in search attributes; the empty one does none of it."},
	{measure: measureP50, keys: []string{keySendCode, keyComplete, keyVerify}, why: "Flows at one connection: a verify waits for Postgres seven times before its flow is " +
		"asked (the limit of its address, its guess in two transactions, its proof), six times at most in the change itself, in one transaction (15 and 24 " +
		"before statements went together), and once more for the session; the empty flow never does. The rest is a larger answer of the flow's task to Temporal. " +
		"Stamps at 6fc1485, where C06 took 13.2 ms and the empty update 6.5: limit of the address 1.3, guess 1.3, proof 0.4, until the worker has the task 2.8 " +
		"(empty 3.4), in the worker 1.2 (0.8) and the change 1.9, until Temporal has stored the task's answer and told it 3.7 (2.2), session 0.6. Four of the " +
		"5.5 ms at Postgres would have to go, whose commits are what limits and guesses are counted by."},
	{measure: measureDrain, why: "Renewals: with Temporal, Postgres and people who sign up on its two cores, this machine makes fewer charges a second than the rate that is " +
		"configured by default. The second wave shows a rate that it bears."},
	{measure: measureOthers, why: "While it does, both cores are busy: sign-ups wait for a core, not for the queue of the renewals, of which a worker takes four at a time."},
	{measure: measureHistory, why: "The history of a sign-up: most of it is Temporal's own: ids of tasks and runs, identities, timeouts."},
}

// reasonsOf explains what was missed.
func reasonsOf(verdicts []verdict) string {
	var b strings.Builder
	for _, r := range reasons {
		missed := slices.ContainsFunc(verdicts, func(v verdict) bool {
			return !v.met && !v.unknown && v.measure == r.measure && (len(r.keys) == 0 || slices.Contains(r.keys, v.key))
		})
		if missed {
			b.WriteString("- " + r.why + "\n")
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "What is missed, and why:\n\n" + b.String() + "\n"
}
