// Package store holds the only SQL of Gatehouse: rows, queries and migrations. Its methods speak the language of package
// account, take and return its types, and return its errors; a driver's error never leaves it undescribed.
//
// # Ways to run a statement
//
// Use the first that fits:
//
//	what                                           how                     round trips
//	the one row of a hot statement                 only                    1
//	one hot write, how many rows it touched        run                     1
//	one hot write that must touch a row            change                  1
//	statements that need no answer of each other   atOnce                  1
//	statements between which Go code decides       InTx                    1 each, BEGIN and COMMIT
//	the same on a hot path, in a few stages        judged                  1 per stage, 1 for the end
//	a read that many requests ask for at a time    gather                  1 for up to 16 requests
//	everything else: rare, many rows, made by bun  db.NewRaw, QueryContext 1
//
// The first four and gather run prepared statements: Postgres plans them once per connection; they have $1 for their values, and
// casts where Postgres cannot tell a type. bun's (the last line) have ? and are planned anew each time, since the values stand in
// the text.
//
// Inside of InTx, only, run, change, atOnce and db use that transaction. Outside of it atOnce makes one of its own, for all or
// nothing. judged and gather are for outside alone. ownTx is what atOnce and judged stand on: it lends a connection for one
// transaction. ownTx and InTx repeat a transaction that a deadlock or a migration has undone, so what they run must not build on
// an earlier run of it.
package store
