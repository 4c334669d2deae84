//go:build unix

package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse/account"
	"gatehouse/internal/secret"
)

const (
	initiatePath  = "/api/v1/auth/initiate-signup"
	completePath  = "/api/v1/auth/complete-signup"
	signInPath    = "/v1/users/authenticate"
	verifyPath    = "/api/v1/account/device/verify"
	sendCodePath  = "/api/v1/account/password/change-with-otp/send-otp"
	byCodePath    = "/api/v1/account/password/change-with-otp/verify"
	subscribePath = "/v1/users/subscriptions"

	starterPlan = "price_1RG2s1CxLzg0ytJK5K3V7hz6"
	premiumPlan = "premium_monthly"
	goodCard    = "pm_card_visa"
	newPassword = "another-horse-9"

	flowRounds = 3
	// thinking is how long somebody takes between two requests of flows: what flows do after an answer is not what the next one
	// waits for.
	thinking = 60 * time.Millisecond
	// settlePatience is how long what flows do after their answers may take until the next measurement.
	settlePatience = 20 * time.Second
)

var (
	startGoals  = goals{rate: 0.75, p50: 1.3}
	verifyGoals = goals{p50: 1.5}
)

// flowing makes the requests of flows. A code is derived as the product derives it, once the product says that it was sent.
type flowing struct {
	*bench

	keys *secret.Keys
	db   *pgx.Conn
	// owners are the people by account, seen what a request was made of.
	owners map[uuid.UUID]person
	seen   map[string]bool
}

func (b *bench) newFlowing(ctx context.Context) (*flowing, error) {
	keys, err := secret.NewKeys(b.secretKey)
	if err != nil {
		return nil, err
	}
	db, err := pgx.Connect(ctx, b.url())
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	f := &flowing{bench: b, keys: keys, db: db, owners: map[uuid.UUID]person{}, seen: map[string]bool{}}
	for _, people := range [][]person{b.people.readers, b.people.changers, b.people.signers, b.people.payers} {
		for _, p := range people {
			f.owners[p.account] = p
		}
	}
	return f, nil
}

// settle waits until no code and no message is on its way.
func (f *flowing) settle(ctx context.Context) error {
	for end := clock.Now().Add(settlePatience); ; {
		var open int
		err := f.db.QueryRow(ctx, `SELECT (SELECT count(*) FROM challenges WHERE sent_at IS NULL AND superseded_at IS NULL AND send_by > now())
			+ (SELECT count(*) FROM messages WHERE state = 'queued')`).Scan(&open)
		if err != nil {
			return fmt.Errorf("look at what is open: %w", err)
		}
		if open == 0 || clock.Now().After(end) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// challenge is a code that was sent.
type challenge struct {
	id, account uuid.UUID
	destination string
}

// codes returns requests with the codes that were sent for a purpose since the last time.
func (f *flowing) codes(purpose account.Purpose, render func(c challenge, code string) []byte) func(context.Context) ([][]byte, error) {
	return func(ctx context.Context) ([][]byte, error) {
		if err := f.settle(ctx); err != nil {
			return nil, err
		}
		rows, err := f.db.Query(ctx, `SELECT id, coalesce(account_id, id), destination FROM challenges
			WHERE purpose = $1 AND sent_at IS NOT NULL AND consumed_at IS NULL AND superseded_at IS NULL ORDER BY created_at, id`, string(purpose))
		if err != nil {
			return nil, fmt.Errorf("read codes: %w", err)
		}
		var out [][]byte
		var c challenge
		_, err = pgx.ForEachRow(rows, []any{&c.id, &c.account, &c.destination}, func() error {
			if !f.seen[c.id.String()] {
				f.seen[c.id.String()] = true
				out = append(out, render(c, f.keys.Code(c.id)))
			}
			return nil
		})
		return out, err
	}
}

func initiate() []byte {
	return post(initiatePath, fmt.Sprintf(`{"email":"new-%s@bench.example","password":%q}`, uuid.NewString(), password))
}

func complete(c challenge, code string) []byte {
	return post(completePath, fmt.Sprintf(`{"email":%q,"code":%q}`, c.destination, code))
}

func sendCode(p person) []byte { return post(sendCodePath, `{"channel":"EMAIL"}`, bearer(p.token)...) }

func (f *flowing) byCode(c challenge, code string) []byte {
	token := f.keys.TempToken(account.PurposePasswordChange, c.id)
	body := fmt.Sprintf(`{"tempToken":%q,"otp":%q,"newPassword":%q,"confirmPassword":%q}`, token, code, newPassword, newPassword)
	return post(byCodePath, body, bearer(f.owners[c.account].token)...)
}

func signIn(p person) []byte {
	return post(signInPath, fmt.Sprintf(`{"username":%q,"password":%q}`, p.email, password), "X-Device-Id", "phone")
}

func (f *flowing) verify(c challenge, code string) []byte {
	return post(verifyPath, fmt.Sprintf(`{"deviceVerificationToken":%q,"otp":%q,"deviceId":"phone","deviceName":"Phone"}`, f.keys.StepToken(c.id), code))
}

func subscribe(p person) []byte {
	return post(subscribePath, fmt.Sprintf(`{"planId":%q,"paymentMethodId":%q}`, starterPlan, goodCard), bearer(p.token)...)
}

// changes returns requests for another plan for the subscriptions that were made since the last time.
func (f *flowing) changes(ctx context.Context) ([][]byte, error) {
	rows, err := f.db.Query(ctx, `SELECT id, account_id FROM subscriptions WHERE status = 'active' AND plan_id = $1 ORDER BY created_at, id`, starterPlan)
	if err != nil {
		return nil, fmt.Errorf("read subscriptions: %w", err)
	}
	var out [][]byte
	var id string
	var owner uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&id, &owner}, func() error {
		if p, ours := f.owners[owner]; ours && !f.seen[id] {
			f.seen[id] = true
			out = append(out, put(subscribePath+"/"+id, fmt.Sprintf(`{"planId":%q}`, premiumPlan), bearer(p.token)...))
		}
		return nil
	})
	return out, err
}

// fresh is a supply without an end.
func fresh(render func() []byte) *supply {
	const batch = 3000
	s := &supply{}
	s.fill = func(context.Context) ([][]byte, error) {
		var out [][]byte
		for len(s.ready)+len(out) < batch {
			out = append(out, render())
		}
		return out, nil
	}
	return s
}

// emptyPair are the requests that start empty flows, and those that ask the flows which were started.
func emptyPair(prefix, query string) (starts, updates *supply) {
	made, asked := 0, 0
	starts = fresh(func() []byte {
		made++
		return post(startPath+prefix+strconv.Itoa(made)+query, "")
	})
	updates = &supply{fill: func(context.Context) ([][]byte, error) {
		var out [][]byte
		for ; asked < starts.taken; asked++ {
			out = append(out, post(updatePath+prefix+strconv.Itoa(asked+1)+query, ""))
		}
		return out, nil
	}}
	return starts, updates
}

const (
	keyInitiate = "C08 `POST " + initiatePath + "`"
	keyComplete = "C06 `POST " + completePath + "`"
	keySendCode = "D06 `POST " + sendCodePath + "`"
	keyVerify   = "D20 `POST " + verifyPath + "`"
	keySignIn   = "B01 `POST " + signInPath + "`, unknown device"
)

func (f *flowing) part() *part {
	hashStarts, hashUpdates := emptyPair("h"+number(), "?hash")
	starts, updates := emptyPair("p"+number(), "")
	limit := func(name string, s *supply) operation {
		return operation{key: "limit", name: name, server: f.limit, helpers: []*server{f.limitWorker}, supply: s, pause: thinking}
	}
	of := func(key string, s *supply, g goals) operation {
		return operation{key: key, name: key, server: f.api, helpers: []*server{f.worker}, supply: s, pause: thinking, goals: g}
	}
	m := &matrix{rounds: flowRounds, settle: f.settle, say: f.detail}
	m.add(flowManyShare, flowOneShare, limit("empty update-with-start, one local activity, after one argon2id", hashStarts),
		of(keyInitiate, fresh(initiate), startGoals),
		of(keySignIn, &supply{ready: shown(f.people.signers, signIn)}, startGoals))
	m.add(flowManyShare, flowOneShare, limit("empty update-with-start, one local activity", starts),
		of(keySendCode, &supply{ready: shown(f.people.changers, sendCode)}, startGoals),
		of("B19 `POST "+subscribePath+"`", &supply{ready: shown(f.people.payers, subscribe)}, goals{}))
	m.add(flowManyShare, flowOneShare, limit("empty update, one local activity, after one argon2id", hashUpdates),
		of("D07 `POST "+byCodePath+"`", &supply{fill: f.codes(account.PurposePasswordChange, f.byCode)}, verifyGoals))
	m.add(flowManyShare, flowOneShare, limit("empty update, one local activity", updates),
		of(keyComplete, &supply{fill: f.codes(account.PurposeSignup, complete)}, verifyGoals),
		of(keyVerify, &supply{fill: f.codes(account.PurposeDevice, f.verify)}, verifyGoals),
		of("B20 `PUT "+subscribePath+"/{id}`, a dearer plan", &supply{fill: f.changes}, goals{}))
	return partOf("flows", "Flows", m, flowsIntro)
}

const flowsIntro = `The limit is a Fiber handler that asks an empty flow: an update, with or without the start of the flow, whose only step is a local
activity that does nothing, unencrypted, on the same Temporal (embedded, in memory). Where the operation hashes a password, the limit
does, too. Each request is about another account or address, and starts or ends a flow of its own. CPU is that of API and worker;
what flows do after their answers, such as mails, is part of it. Subscriptions have no target: a charge is a remote activity.
The one connection waits 60 ms after each answer, with the limit as with ours: it asks how long somebody waits where nobody else asks,
and what a flow does after its answer would be part of what the next one waits for. At 32 connections nobody waits.

`
