//go:build unix

package main

// before are the figures of docs/performance.md at commit 0299061 and, for what flows cost, of docs/scale.md there.
var before = map[[2]string]string{
	{keyMe, measureRate}:                     "0.48",
	{keyMe + ", access log on", measureRate}: "0.45",
	{keyMeAPIKey, measureRate}:               "0.25",
	{keyDetails, measureRate}:                "0.53",
	{keyCanSet, measureRate}:                 "0.52",
	{keyMe, measureP50}:                      "1.96",
	{keyMe + ", access log on", measureP50}:  "2.11",
	{keyMeAPIKey, measureP50}:                "2.25",
	{keyDetails, measureP50}:                 "1.86",
	{keyCanSet, measureP50}:                  "1.86",
	{keyLogin, measureHashes}:                "0.84",
	{keyLogin, measureBeside}:                "2.70 ms",
	{keyMe, measureFlooded}:                  "21.29 ms",
	{keyAPIMemory, measureMemory}:            "83 MiB reading, 150 hashing",
	{keySignup, measureEvents}:               "28",
	{keySignup, measureHistory}:              "7.2 kB",
}

func earlier(key, measure string) string {
	if figure := before[[2]string{key, measure}]; figure != "" {
		return figure
	}
	return notMeasured
}

// peers are other account backends, measured elsewhere: only their ratios to the limits beside them say anything here.
const peers = `## What peers reach

Measured on another machine of 2 cores (server, Postgres 15 with fsync on and the load generator share them), keep-alive, 15 s, medians of 3
or more; each with its default password hash, limits off, errors logged alone. Supabase Auth bc32168e (2026-08), Ory Kratos 2026-07,
PocketBase of the same time (SQLite inside the process). Compare each figure with the limit of its own line, not with ours above.

| operation, 32 connections    | Supabase Auth        | Kratos               | PocketBase                                  | limit on that machine                                                         |
|------------------------------|----------------------|----------------------|---------------------------------------------|-------------------------------------------------------------------------------|
| current user / whoami        | 2,025/s, p99 35 ms   | 1,577/s, p99 50 ms   | 5,376/s, p99 22 ms                          | Fiber constant 1 kB 69,900/s; prepared primary-key select by pgbench 40,600/s |
| refresh token                | 484/s, p99 128 ms    | -                    | 5,809/s (signs anew, stores nothing)        | one-row commit by pgbench 18,100/s                                            |
| login, default hash          | 23.6/s (bcrypt 10)   | 6.3/s (bcrypt 12)    | 22.7/s (bcrypt 10)                          | bcrypt-10 26.6/s, bcrypt-12 7.1/s, argon2id 19 MiB t=2 p=1 74.3/s             |
| login, hash at its minimum   | 673/s                | 256/s                | 751/s (441/s at 20,000 users)               | bcrypt-4 1,596/s                                                              |
| sign-up, default hash        | 23.6/s               | 6.3/s (2 requests)   | 12/s                                        | as login                                                                      |
| server memory under load     | 60 MiB               | 105 MiB              | 47 MiB                                      | Fiber constant 14 MiB                                                         |

| operation, 1 connection, p50 | Supabase Auth | Kratos  | PocketBase | limit                                   |
|------------------------------|---------------|---------|------------|-----------------------------------------|
| current user                 | 0.85 ms       | 1.04 ms | 0.29 ms    | Fiber constant 0.032 ms; select 0.032 ms |
| refresh                      | 3.9 ms        | -       | 0.19 ms    | commit 0.084 ms                         |
| login, hash at its minimum   | 2.2 ms        | 7.7 ms  | 14.8 ms    |                                         |

| SQL statements of an operation | read user        | login       | refresh | sign-up     |
|--------------------------------|------------------|-------------|---------|-------------|
| Supabase Auth                  | 5                | 12          | 24      | 25 in 2 tx  |
| Kratos                         | 6                | 12          | -       | 11 in 2 tx  |
| Hanko                          | 13, one an UPDATE | 84 in 4 tx | -       | 67 in 4 tx  |

`
