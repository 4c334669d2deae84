package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gatehouse/account"
)

// TakeQuota counts one hit of key if every quota still allows it, in one statement: the hits are kept one by one, so no
// window of a quota's length ever holds more than its maximum. It returns account.ErrTooManyRequests with the time until
// the next hit is allowed, and then counts nothing.
func (s *Store) TakeQuota(ctx context.Context, key []byte, quotas []account.Quota) error {
	taken := quotaTaken(key, quotas)
	if err := s.atOnce(ctx, taken); err != nil || taken.touched > 0 {
		return err
	}
	return s.quotaExceeded(ctx, key, quotas)
}

// quotaTaken touches nothing when a quota is exceeded.
func quotaTaken(key []byte, quotas []account.Quota) *step {
	allowed := make([]string, len(quotas))
	args := []any{key, seconds(longestWindow(quotas))}
	for i, q := range quotas {
		allowed[i] = fmt.Sprintf(`(SELECT count(*) FROM unnest(q.hits) AS h WHERE h > now() - $%d::float8 * interval '1 second') < $%d::int`,
			len(args)+1, len(args)+2)
		args = append(args, seconds(q.Per), q.Max)
	}
	return &step{args: args, query: `
		INSERT INTO quotas AS q (key, hits, expires_at) VALUES ($1, ARRAY[now()], now() + $2::float8 * interval '1 second')
		ON CONFLICT (key) DO UPDATE SET
			hits = array(SELECT h FROM unnest(q.hits) AS h WHERE h > now() - $2::float8 * interval '1 second') || now(),
			expires_at = now() + $2::float8 * interval '1 second'
		WHERE ` + strings.Join(allowed, " AND ")}
}

// TakeQuotaOnce is TakeQuota, and counts nothing when it has counted a hit for the same occasion before.
func (s *Store) TakeQuotaOnce(ctx context.Context, occasion, key []byte, quotas []account.Quota) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		err := tx.TakeQuota(ctx, occasion, []account.Quota{{Max: 1, Per: longestWindow(quotas)}})
		if errors.Is(err, account.ErrTooManyRequests) {
			return nil
		}
		if err != nil {
			return err
		}
		return tx.TakeQuota(ctx, key, quotas)
	})
}

func (s *Store) quotaExceeded(ctx context.Context, key []byte, quotas []account.Quota) error {
	waits := make([]string, len(quotas))
	var args []any
	for i, q := range quotas {
		waits[i] = `(SELECT extract(epoch FROM h - now()) + ? FROM unnest(q.hits) AS h ORDER BY h DESC OFFSET ? LIMIT 1)`
		args = append(args, seconds(q.Per), q.Max-1)
	}
	var wait float64
	err := s.db.NewRaw(`SELECT coalesce(greatest(`+strings.Join(waits, ", ")+`), 1)::float8 FROM quotas AS q WHERE q.key = ?`,
		append(args, key)...).Scan(ctx, &wait)
	if err != nil {
		return translate(err)
	}
	return account.ErrTooManyRequests.After(max(time.Duration(wait*float64(time.Second)), time.Second))
}

func longestWindow(quotas []account.Quota) time.Duration {
	var longest time.Duration
	for _, q := range quotas {
		longest = max(longest, q.Per)
	}
	return longest
}

// rateCounted counts some hits of each key, in the order in which the keys are given: two statements never wait for each other.
const rateCounted = `
	WITH counted AS (
		INSERT INTO rate_limits AS r (key, hits, ends_at)
		SELECT key, n, now() + per * interval '1 second' FROM unnest($1::bytea[], $2::float8[], $3::int[]) AS k(key, per, n)
		ON CONFLICT (key) DO UPDATE SET
			hits = CASE WHEN r.ends_at <= now() THEN EXCLUDED.hits ELSE r.hits + EXCLUDED.hits END,
			ends_at = CASE WHEN r.ends_at <= now() THEN EXCLUDED.ends_at ELSE r.ends_at END
		RETURNING key, hits, extract(epoch FROM ends_at - now())::float8 AS left)
	SELECT array_agg(key), array_agg(hits::bigint), array_agg("left") FROM counted`

// rateHit is one hit in each of some fixed windows: keys[i] is the window of quotas[i].
type rateHit struct {
	keys   [][]byte
	quotas []account.Quota
}

// CountRate counts one hit in each fixed window and returns account.ErrTooManyRequests when any holds more than its
// maximum. keys[i] is the window of quotas[i]. Hits that come together are counted by one statement, each as if it had come alone,
// and a hit is committed before this returns.
func (s *Store) CountRate(ctx context.Context, keys [][]byte, quotas []account.Quota) error {
	wait, err := s.rates.get(ctx, rateHit{keys, quotas})
	if err != nil {
		return translate(err)
	}
	if wait > 0 {
		return account.ErrTooManyRequests.After(max(wait, time.Second))
	}
	return nil
}

// rateWindow is a window that is counted in.
type rateWindow struct {
	per  float64
	hits int
}

// countRates counts the hits of a group. Each gets how long it has to wait, 0 when it is within its quotas.
func (s *Store) countRates(ctx context.Context, group []*reading[rateHit, time.Duration]) error {
	windows := map[string]*rateWindow{}
	for _, r := range group {
		for i, key := range r.key.keys {
			w := windows[string(key)]
			if w == nil {
				w = &rateWindow{per: seconds(r.key.quotas[i].Per)}
				windows[string(key)] = w
			}
			w.hits++
		}
	}
	keys, periods, hits := make([][]byte, 0, len(windows)), make([]float64, 0, len(windows)), make([]int, 0, len(windows))
	for _, key := range slices.Sorted(maps.Keys(windows)) {
		keys, periods, hits = append(keys, []byte(key)), append(periods, windows[key].per), append(hits, windows[key].hits)
	}
	var counted [][]byte
	var total []int64
	var left []float64
	if err := s.only(ctx, rateCounted, []any{keys, periods, hits}, &counted, &total, &left); err != nil {
		return err
	}
	// Of those who came together, each is told what it would have been told had they come in this order.
	before, ends := map[string]int64{}, map[string]float64{}
	for n, key := range counted {
		before[string(key)], ends[string(key)] = total[n]-int64(windows[string(key)].hits), left[n]
	}
	for _, r := range group {
		for i, key := range r.key.keys {
			before[string(key)]++
			if before[string(key)] > int64(r.key.quotas[i].Max) {
				r.value = max(r.value, time.Duration(ends[string(key)]*float64(time.Second)))
			}
		}
	}
	return nil
}
