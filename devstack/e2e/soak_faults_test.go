//go:build unix

package e2e_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/providers/mail/smtptest"
)

// breakage is something that can break; strike breaks it and returns what mends it.
type breakage struct {
	what   string
	strike func(t *testing.T) (heal func())
}

// deck is every breakage once: of processes, of networks, of the database's server, of Temporal and of providers.
func (s *soaked) deck() []breakage {
	all := append(s.processes(), s.networks()...)
	return append(append(all, s.outside()...), breakage{"Temporal stopped", func(t *testing.T) func() {
		require.NoError(t, s.stack.Temporal.Stop())
		return func() { s.stack.RestartTemporal(t) }
	}})
}

func (s *soaked) processes() []breakage {
	one := func(of []*replaceable) *replaceable { return of[s.random.IntN(len(of))] }
	kill := func(of ...*replaceable) func(t *testing.T) func() {
		return func(t *testing.T) func() {
			for _, r := range of {
				r.process.Kill()
			}
			return func() {
				for _, r := range of {
					r.begin(t)
				}
			}
		}
	}
	freeze := func(r *replaceable) func(t *testing.T) func() {
		return func(t *testing.T) func() { r.process.Pause(t); return func() { r.process.Resume(t) } }
	}
	stop := func(r *replaceable) func(t *testing.T) func() {
		return func(t *testing.T) func() { r.process.Stop(t, stopPatience); return func() { r.begin(t) } }
	}
	api, worker := one(s.apis), one(s.workers)
	return []breakage{
		{"an API killed", kill(api)},
		{"both APIs killed", kill(s.apis...)},
		{"a worker killed", kill(worker)},
		{"both workers killed", kill(s.workers...)},
		{"an API and a worker killed", kill(api, worker)},
		{"an API frozen", freeze(api)},
		{"a worker frozen", freeze(worker)},
		{"an API stopped", stop(api)},
		{"a worker stopped", stop(worker)},
	}
}

func (s *soaked) networks() []breakage {
	var all []breakage
	for _, to := range []struct {
		name string
		*proxy
		slow time.Duration
	}{{"the database", s.database, 100 * time.Millisecond}, {"Temporal", s.temporal, time.Second}} {
		under := func(begin func()) func(t *testing.T) func() {
			return func(*testing.T) func() { begin(); return to.pass }
		}
		all = append(all,
			breakage{"connections to " + to.name + " cut", under(to.cut)},
			breakage{"connections to " + to.name + " refused", under(to.refuse)},
			breakage{"connections to " + to.name + " half open", under(to.vanish)},
			breakage{"answers of " + to.name + " lost", func(*testing.T) func() {
				to.mute()
				return func() { to.cut(); to.pass() }
			}},
			breakage{to.name + " late by " + to.slow.String(), under(func() { to.delay(to.slow) })},
		)
	}
	return append(all, breakage{"sessions at the database ended", func(t *testing.T) func() {
		_, err := s.db.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name LIKE 'gatehouse-%'`)
		require.NoError(t, err)
		return func() {}
	}})
}

// outside are the providers.
func (s *soaked) outside() []breakage {
	mail := func(f smtptest.Fault) func(t *testing.T) func() {
		return func(*testing.T) func() { s.mails.Always(f); return s.mails.Heal }
	}
	pay := func(kind string) func(t *testing.T) func() {
		return func(t *testing.T) func() {
			script := func(sql string, args ...any) {
				_, err := s.db.Exec(t.Context(), sql, args...)
				require.NoError(t, err)
			}
			script(`INSERT INTO sandbox_faults (kind, key_prefix, delay_ms, times) VALUES ($1, 'in_', 1000, 1000000)`, kind)
			return func() { script(`UPDATE sandbox_faults SET times = 0`) }
		}
	}
	return []breakage{
		{"the mail server down", func(*testing.T) func() { s.mails.Down(); return s.mails.Up }},
		{"the mail server hangs", mail(smtptest.Hang(smtptest.Data))},
		{"the mail server defers", mail(smtptest.Reply(smtptest.RcptTo, 451, "4.7.1"))},
		{"the mail server takes mails and never says so", mail(smtptest.Drop(smtptest.Accepted))},
		{"the mail server slow", mail(smtptest.Slow(smtptest.Data, time.Second))},
		{"the payment provider down", pay("down")},
		{"the payment provider slow", pay("slow")},
		{"the payment provider charges and never answers", pay("lost")},
	}
}
