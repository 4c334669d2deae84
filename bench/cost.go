//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/client"

	"gatehouse/account"
	"gatehouse/workflows"
)

const (
	// readTries and flowTries are how often an operation is counted, after a few times that fill caches.
	readTries, flowTries, warmTries = 60, 20, 3
	// afterwards is how long what a flow does after its answer is waited for.
	afterwards = 1500 * time.Millisecond
	// mostEvents and mostHistory are the targets of a sign-up.
	mostEvents, mostHistory = 30, 6 << 10

	keySignup      = "sign-up"
	measureEvents  = "history events"
	measureHistory = "history size"
)

// costs is the part that counts what one request of each operation costs, one after the other, on an API and a worker of its own
// in a namespace of its own.
type costs struct {
	*flowing

	api, worker *server
	asked, done *recorder
	temporal    client.Client
	rows        []cost
	// signups are the events and bytes of the sign-ups that ended.
	signups []flowCost
	// statements are what was seen, by shape.
	statements map[string]*seen
	errs       []error
}

// cost is what one request costs.
type cost struct {
	name string
	// api and roundTrips are statements of the API, and how often it waited for Postgres; worker are statements of the worker.
	api, roundTrips, worker int
	allocs, bytes           float64
	events, history         float64
	flow                    bool
}

type flowCost struct{ events, bytes int64 }

// seen is a statement and who asks for it.
type seen struct {
	example statement
	by      []string
}

// costed is an operation to be counted.
type costed struct {
	name string
	flow bool
	// requests makes so many, each to be sent once.
	requests func(ctx context.Context, n int) ([][]byte, error)
}

func (f *flowing) costs() *costs { return &costs{flowing: f, statements: map[string]*seen{}} }

func (c *costs) part() *part {
	return &part{
		key: "costs", title: "Cost of one request", run: c.run, report: c.report, verdicts: c.verdicts,
		failures: func() []error { return c.errs },
	}
}

func (c *costs) run(ctx context.Context, _ time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var url string
	var err error
	if c.asked, url, err = record(ctx, c.url()); err != nil {
		return err
	}
	own := map[string]string{"DATABASE_URL": url, "GATEHOUSE_TEMPORAL_NAMESPACE": costNamespace, "GATEHOUSE_LOG_LEVEL": "warn", paymentRate: "100000"}
	if c.api, err = c.startAPI(ctx, "api-costs", own); err != nil {
		return err
	}
	defer func() { _ = c.api.stop() }()
	if c.done, url, err = record(ctx, c.url()); err != nil {
		return err
	}
	own["DATABASE_URL"] = url
	delete(own, "GATEHOUSE_LOG_LEVEL")
	if c.worker, err = c.startWorker(ctx, "worker-costs", own); err != nil {
		return err
	}
	defer func() { _ = c.worker.stop() }()
	c.temporal, err = client.NewLazyClient(client.Options{HostPort: c.stack.temporal, Namespace: costNamespace, Logger: quietLogger{}})
	if err != nil {
		return fmt.Errorf("make a client of Temporal: %w", err)
	}
	defer c.temporal.Close()
	if err := c.forget(ctx); err != nil {
		return err
	}
	for _, o := range c.operations() {
		if err := c.count(ctx, o); err != nil {
			c.errs = append(c.errs, fmt.Errorf("%s: %w", o.name, err))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// forget takes no notice of what other parts have begun, in a namespace of theirs.
func (c *costs) forget(ctx context.Context) error {
	for _, purpose := range []account.Purpose{account.PurposeSignup, account.PurposeDevice, account.PurposePasswordChange} {
		if _, err := c.codes(purpose, complete)(ctx); err != nil {
			return err
		}
	}
	_, err := c.changes(ctx)
	return err
}

// operations are all that is counted; later ones go on with what earlier ones began.
func (c *costs) operations() []costed {
	people := c.people
	each := func(of []person, render func(person) []byte) func(context.Context, int) ([][]byte, error) {
		next := 0
		return func(_ context.Context, n int) ([][]byte, error) {
			if next+n > len(of) {
				return nil, errNone
			}
			next += n
			return shown(of[next-n:next], render), nil
		}
	}
	read := func(path string) func(context.Context, int) ([][]byte, error) {
		return each(people.readers, func(p person) []byte { return get(path, bearer(p.token)...) })
	}
	made := func(render func() []byte) func(context.Context, int) ([][]byte, error) {
		return each(people.readers, func(person) []byte { return render() })
	}
	sent := func(fill func(context.Context) ([][]byte, error)) func(context.Context, int) ([][]byte, error) {
		var ready [][]byte
		return func(ctx context.Context, n int) ([][]byte, error) {
			more, err := fill(ctx)
			ready = append(ready, more...)
			if err != nil || len(ready) < n {
				return nil, errors.Join(err, errNone)
			}
			out := ready[:n]
			ready = ready[n:]
			return out, nil
		}
	}
	// From the end: the others begin at the beginning.
	last := func(of []person) []person { return of[max(0, len(of)-2*(flowTries+warmTries)):] }
	searching := searches(people.readers)
	return []costed{
		{name: keyMe, requests: read(mePath)},
		{name: keyMeAPIKey, requests: func(_ context.Context, n int) ([][]byte, error) {
			return shown(people.apiKeys[:n], func(k string) []byte { return get(mePath, "X-API-Key", k) }), nil
		}},
		{name: keyDetails, requests: read(detailsPath)},
		{name: keySecurity, requests: read(securityPath)},
		{name: keyCanSet, requests: read(canSetPath)},
		{name: keyValidate, requests: read(validatePath)},
		{name: "D15 `GET " + sessionsPath + "`", requests: read(sessionsPath)},
		{name: "D10 `GET /api/v1/account/username/check`", requests: each(people.readers, func(p person) []byte { return get(checkPath + p.handle) })},
		{name: "D13 `GET /api/v1/account/username/search`", requests: func(_ context.Context, n int) ([][]byte, error) { return searching[:n], nil }},
		{name: keyLogin, requests: each(people.readers, loginOf)},
		{name: keyRefresh, requests: c.refreshes},
		{name: keyInitiate, flow: true, requests: made(initiate)},
		{name: keyComplete, flow: true, requests: sent(c.codes(account.PurposeSignup, complete))},
		{name: keySignIn, flow: true, requests: each(last(people.signers), signIn)},
		{name: keyVerify, flow: true, requests: sent(c.codes(account.PurposeDevice, c.verify))},
		{name: keySendCode, flow: true, requests: each(last(people.changers), sendCode)},
		{name: "D07 `POST " + byCodePath + "`", flow: true, requests: sent(c.codes(account.PurposePasswordChange, c.byCode))},
		{name: "B19 `POST " + subscribePath + "`", flow: true, requests: each(last(people.payers), subscribe)},
		{name: "B20 `PUT " + subscribePath + "/{id}`, a dearer plan", flow: true, requests: sent(c.changes)},
	}
}

// refreshes uses each refresher's token once, after whatever was done with it before.
func (c *costs) refreshes(ctx context.Context, n int) ([][]byte, error) {
	var out [][]byte
	for range n {
		p := c.people.readers[len(out)]
		body, err := ask(ctx, c.api.address, post(signInPath, fmt.Sprintf(`{"username":%q,"password":%q}`, p.email, password)))
		if err != nil {
			return nil, err
		}
		next, err := refreshing(body)
		if err != nil {
			return nil, err
		}
		out = append(out, next)
	}
	return out, nil
}

func (c *costs) count(ctx context.Context, o costed) error {
	n := readTries
	if o.flow {
		n = flowTries
	}
	requests, err := c.warmed(ctx, o, n)
	if err != nil {
		return err
	}
	before, err := c.flowsNow(ctx, o)
	if err != nil {
		return err
	}
	began, looking, err := c.look(ctx)
	if err != nil {
		return err
	}
	c.asked.take()
	c.done.take()
	var statements, trips []int
	shapes := map[string]int{}
	for _, request := range requests {
		if _, err := ask(ctx, c.api.address, request); err != nil {
			return err
		}
		found := c.asked.take()
		statements, trips = append(statements, len(found.statements)), append(trips, found.roundTrips)
		c.remember(o.name, found, shapes, 1)
	}
	after, err := heapOf(ctx, c.api)
	if err != nil {
		return err
	}
	used := after.minus(began).minus(looking)
	if err := c.rest(ctx, o); err != nil {
		return err
	}
	row := cost{
		name: o.name, api: median(statements), roundTrips: median(trips), flow: o.flow,
		allocs: used.objects / float64(n), bytes: used.bytes / float64(n),
	}
	late := map[string]int{}
	c.remember(o.name, c.done.take(), late, n)
	for _, times := range late {
		row.worker += (times + n/2) / n
	}
	now, err := c.flowsNow(ctx, o)
	if err != nil {
		return err
	}
	row.events, row.history = now.since(before, n)
	if o.name == keyComplete {
		c.signups = now.ended(workflows.SignupWorkflow)
	}
	c.rows = append(c.rows, row)
	return nil
}

// warmed returns n requests, after a few like them that fill caches.
func (c *costs) warmed(ctx context.Context, o costed, n int) ([][]byte, error) {
	requests, err := o.requests(ctx, n+warmTries)
	if err != nil {
		return nil, fmt.Errorf("prepare requests: %w", err)
	}
	for _, request := range requests[:warmTries] {
		if _, err := ask(ctx, c.api.address, request); err != nil {
			return nil, err
		}
	}
	return requests[warmTries:], c.rest(ctx, o)
}

// rest waits for what a flow does after its answer.
func (c *costs) rest(ctx context.Context, o costed) error {
	if !o.flow {
		return nil
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-time.After(afterwards):
	}
	return ctx.Err()
}

// remember keeps the statements, and who asked for them: those that were seen at least half of n times.
func (c *costs) remember(who string, found recorded, times map[string]int, n int) {
	for _, s := range found.statements {
		shape := s.shape()
		times[shape]++
		one := c.statements[shape]
		if one == nil {
			one = &seen{example: s}
			c.statements[shape] = one
		}
		if 2*times[shape] >= n && !slices.Contains(one.by, who) {
			one.by = append(one.by, who)
		}
	}
}

// signup is the median sign-up that has ended.
func (c *costs) signup() (events, bytes int64, known bool) {
	if len(c.signups) == 0 {
		return 0, 0, false
	}
	var lengths, sizes []int64
	for _, one := range c.signups {
		lengths, sizes = append(lengths, one.events), append(sizes, one.bytes)
	}
	return median(lengths), median(sizes), true
}

func (c *costs) verdicts() []verdict {
	events, bytes, known := c.signup()
	return []verdict{
		{keySignup, measureEvents, fmt.Sprintf("<= %d", mostEvents), fmt.Sprint(events), events <= mostEvents, !known},
		{keySignup, measureHistory, "<= 6 kB", kilo(float64(bytes)), bytes <= mostHistory, !known},
	}
}

func (c *costs) report() string {
	rows := [][]string{{
		"operation", "API: statements", "API: round trips", "API: allocations", "API: kB allocated", "worker: statements", "Temporal: events", "Temporal: history",
	}}
	for _, r := range c.rows {
		row := []string{r.name, fmt.Sprint(r.api), fmt.Sprint(r.roundTrips), fmt.Sprintf("%.0f", r.allocs), one(r.bytes / 1024), "", "", ""}
		if r.flow {
			row[5], row[6], row[7] = fmt.Sprint(r.worker), one(r.events), kilo(r.history)
		}
		rows = append(rows, row)
	}
	return "Counted on the wire between each process and Postgres, one request after the other; begin and commit are statements. What flows do " +
		"after their answers belongs to the request that began it. A first request may prepare statements; these are the later ones.\n\n" + table(rows)
}

func kilo(bytes float64) string { return fmt.Sprintf("%.1f kB", bytes/1024) }
