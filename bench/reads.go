//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
)

const (
	mePath       = "/api/v1/auth/me"
	detailsPath  = "/v1/users/details"
	canSetPath   = "/api/v1/account/password/can-set"
	securityPath = "/api/v1/account/security-info"
	validatePath = "/api/v1/auth/session/validate"
	sessionsPath = "/api/v1/account/sessions"
	checkPath    = "/api/v1/account/username/check?username="
	searchPath   = "/api/v1/account/username/search?q="
	refreshPath  = "/v1/users/refresh-token"

	// readRounds are many: how a request's hops fall on two cores differs from piece to piece, and with it the time of one
	// connection by half.
	readRounds = 9
	slimPath   = "/slim/"
)

var readGoals = goals{rate: 0.70, p50: 1.5}

// bench is what the parts measure.
type bench struct {
	*stack

	// people are those of the large database, few those of the small one.
	people, few   clients
	accounts, low int
	// say tells of progress.
	say func(format string, args ...any)
	// detail tells of each measurement, nil of none.
	detail func(format string, args ...any)
	// renewals is how many subscriptions renew at one instant.
	renewals int
}

func shown[T any](of []T, render func(T) []byte) [][]byte {
	out := make([][]byte, len(of))
	for i, x := range of {
		out[i] = render(x)
	}
	return out
}

func asBearer(people []person, path string) [][]byte {
	return shown(people, func(p person) []byte { return get(path, bearer(p.token)...) })
}

func limitRequests(path string, length int, people []person) [][]byte {
	return shown(people, func(p person) []byte { return get(path + strconv.Itoa(length) + "/" + p.account.String()) })
}

// limitFor is the limit handler with a body as long as the operation's answer.
func (b *bench) limitFor(ctx context.Context, table string, o operation) (operation, error) {
	body, err := ask(ctx, o.server.address, o.requests[0])
	if err != nil {
		return operation{}, fmt.Errorf("%s: %w", o.name, err)
	}
	return operation{
		key: "limit", name: fmt.Sprintf("limit handler, %d bytes", len(body)), server: b.limit,
		requests: limitRequests(table, len(body), b.people.readers),
	}, nil
}

const (
	keyMe       = "A01, C16 `GET " + mePath + "`, access token"
	keyMeAPIKey = "A01, C16 `GET " + mePath + "`, API key"
	keyDetails  = "B12 `GET " + detailsPath + "`"
	keyCanSet   = "D08 `GET " + canSetPath + "`"
	keySecurity = "D01 `GET " + securityPath + "`"
	keyValidate = "A12 `GET " + validatePath + "`"
	keyRefresh  = "B03 `POST " + refreshPath + "`"
	keyLogin    = "C14 `POST " + loginPath + "`"
)

func (b *bench) reads(ctx context.Context) (*part, error) {
	m := &matrix{rounds: readRounds, warm: true}
	readers := b.people.readers
	of := func(key, path string) operation {
		return operation{key: key, name: key, server: b.api, requests: asBearer(readers, path), goals: readGoals}
	}
	me := of(keyMe, mePath)
	logged := me
	logged.key, logged.name, logged.server = keyMe+", access log on", "the same, access log on", b.logging
	byKey := me
	byKey.key, byKey.name = keyMeAPIKey, "the same, API key"
	byKey.requests = shown(b.people.apiKeys, func(k string) []byte { return get(mePath, "X-API-Key", k) })
	for _, group := range []struct {
		table string
		of    []operation
	}{
		{rowPath, []operation{me, logged, byKey}},
		{rowPath, []operation{of(keyDetails, detailsPath)}},
		{slimPath, []operation{
			of(keySecurity, securityPath), of(keyCanSet, canSetPath), of(keyValidate, validatePath),
		}},
	} {
		limit, err := b.limitFor(ctx, group.table, group.of[0])
		if err != nil {
			return nil, err
		}
		if len(m.many) == 0 {
			bare := limit
			bare.name, bare.goals = "limit handler, one column", goals{}
			bare.requests = limitRequests(barePath, 1, readers)
			group.of = append(group.of, bare)
		}
		m.add(manyShare, oneShare, limit, group.of...)
	}
	return partOf("reads", "Reads", m, ""), nil
}

// lookups are the reads that find others, or many rows.
func (b *bench) lookups(ctx context.Context) (*part, error) {
	m := &matrix{rounds: readRounds - 2, warm: true}
	sessions := operation{
		key: "D15 `GET " + sessionsPath + "`, 3 sessions", server: b.api, requests: asBearer(b.people.readers, sessionsPath),
	}
	check := operation{key: "D10 `GET /api/v1/account/username/check`", server: b.api}
	for i, p := range b.people.readers {
		name := p.handle
		if i%2 == 0 {
			name = "free" + strconv.Itoa(i)
		}
		check.requests = append(check.requests, get(checkPath+name))
	}
	limit, err := b.limitFor(ctx, slimPath, operation{name: sessions.key, server: b.api, requests: sessions.requests})
	if err != nil {
		return nil, err
	}
	search := operation{
		key: "D13 `GET /api/v1/account/username/search`", server: b.api, requests: searches(b.people.readers),
		goals: goals{p99: 20 * time.Millisecond},
	}
	all := []operation{sessions, check, search}
	for i := range all {
		all[i].name = all[i].key
	}
	m.add(manyShare, oneShare, limit, all...)
	intro := "Half of the usernames that are checked are free, and of the others the answer proposes free ones. Searches are for whole usernames, " +
		"for the beginning of one, for names that thousands share, for letters within names, and for what nobody is called.\n\n"
	return partOf("lookups", fmt.Sprintf("Lookups among %d accounts", b.accounts), m, intro), nil
}

// searches are what people type.
func searches(people []person) [][]byte {
	var out [][]byte
	for i, p := range people {
		text := []string{p.handle, p.handle[:6], "anna", "eller" + strconv.Itoa(i%100), "keller", "zzyx" + strconv.Itoa(i), "Anna+Kel", "ott9"}[i%8]
		out = append(out, get(searchPath+text+"&page=0&size=20"))
	}
	return out
}

var errNoToken = fmt.Errorf("the answer has no refresh token")

// refreshing goes on with the token that it got.
func refreshing(body []byte) ([]byte, error) {
	var got struct {
		RefreshToken string `json:"refreshToken"` //nolint:tagliatelle // as document B writes it
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return nil, fmt.Errorf("read an answer: %w", err)
	}
	if got.RefreshToken == "" {
		return nil, errNoToken
	}
	return refreshRequest(got.RefreshToken), nil
}

func refreshRequest(token string) []byte { return post(refreshPath, "", "sk-refresh-token", token) }

func (b *bench) refresh() *part {
	m := &matrix{rounds: readRounds - 2, warm: true}
	limit := operation{key: "limit", name: "one-row commits through pgx", server: b.limit}
	for i := range 10000 {
		limit.requests = append(limit.requests, post(commitPath+strconv.Itoa(i+1), ""))
	}
	m.add(manyShare, oneShare, limit, operation{
		key: keyRefresh, name: keyRefresh, server: b.api,
		requests: shown(b.people.refresh, refreshRequest), chain: refreshing, goals: goals{rate: 0.30},
	})
	return partOf("refresh", "Refresh of tokens", m, "")
}

// number is a fresh id for what is made only once.
func number() string { return uuid.NewString()[:13] }
