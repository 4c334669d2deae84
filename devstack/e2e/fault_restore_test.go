//go:build unix

package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/postgres"
	"gatehouse/internal/testkit"
)

// F-41: the database is put back to an older moment. What was used, rotated or ended since is good again, until `gatehouse
// restored`.
func TestFault_F41_RestoreToAnOlderPoint(t *testing.T) {
	t.Parallel()
	archive, copied := stacktest.NewDir(t), stacktest.NewDir(t)
	require.NoError(t, os.Chmod(archive, 0o777))
	s := breakable(t, stacktest.Options{OwnPostgres: &postgres.Options{Settings: []string{
		"archive_mode=on", "archive_command=cp %p " + filepath.Join(archive, "%f"),
	}}}, "GATEHOUSE_FLOW_TIMEOUT", "14s", "GATEHOUSE_REQUEST_TIMEOUT", "17s")
	require.NoError(t, s.stack.Postgres.Backup(t.Context(), copied))

	p := before(t, s)
	var point string
	require.NoError(t, s.db.QueryRow(t.Context(), `SELECT pg_current_wal_lsn()::text`).Scan(&point))
	since := p.after(t, s)

	statement(t, s.stack.Postgres.URL("postgres"), `SELECT pg_switch_wal()`)
	testkit.Eventually(t, patience, func() bool {
		return ask(t, s.stack.Postgres, `SELECT count(*) FROM pg_stat_archiver WHERE last_archived_wal >= pg_walfile_name('`+point+`')`) == 1
	}, "the log to be archived")
	require.NoError(t, s.stack.Postgres.Stop())
	restore(t, s, copied, archive, point)

	testkit.Eventually(t, patience, func() bool {
		return s.login(t, p.email, password).Status == http.StatusOK
	}, "the API to reach its database")
	// It is the older moment: what has ended since opens the door, and nothing tells that it should not.
	for what, token := range p.endedSince {
		require.Equal(t, http.StatusOK, s.send(t, call{Path: pathMe, Token: token}).Status, "%s: this test would not notice anything", what)
	}
	require.Contains(t, s.stack.Command(t, nil, "restored", "--yes"), "sessions")

	for what, token := range p.endedSince {
		require.Equal(t, http.StatusUnauthorized, s.send(t, call{Path: pathMe, Token: token}).Status, what)
	}
	for what, token := range map[string]string{"rotated": p.rotated.refresh, "its successor": since.refresh} {
		got := s.refresh(t, token)
		require.Equal(t, http.StatusUnauthorized, got.Status, "%s: %s", what, got.Body)
	}
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM audit_events WHERE details ->> 'reason' = 'refresh_reuse'`), "nobody is told of a theft")
	access, _ := s.owing(t, p.app.email)
	for _, code := range []string{p.app.backup[0], p.app.backup[1], p.appCode} {
		require.NotEqual(t, true, s.send(t, verify(access, code)).object(t)["isValid"], "a code of before")
	}
	require.Equal(t, http.StatusBadRequest, s.reset(t, p.link, "Another-Horse-8-battery").Status, "a link that was used")
	require.False(t, s.send(t, call{Path: pathCompleteSignup, Body: fields{"email": p.newcomer, "code": p.code}}).ok(), "a code that was used")
	require.Equal(t, http.StatusOK, s.login(t, p.email, password).Status, "everybody signs in anew")
	s.stack.Command(t, nil, "audit", "check")
}

// past is what people had at the moment that is restored.
type past struct {
	email      string
	rotated    pair
	app        app
	appCode    string
	link       string
	newcomer   string
	code       string
	endedSince map[string]string
	keyID      string
	owner      string
}

func before(t *testing.T, s *system) past {
	t.Helper()
	p := past{newcomer: newEmail()}
	p.email, p.rotated = s.pairs(t)
	p.app = s.enrolled(t)
	forgetful := newEmail()
	s.signUp(t, forgetful)
	p.link = s.forgot(t, forgetful, 1)
	s.initiate(t, p.newcomer)
	p.code = s.awaitCode(t, p.newcomer)
	p.owner = s.signedIn(t, p.email, password)
	made := s.want(t, http.StatusCreated, call{Path: pathAPIKeys, Token: p.owner, Body: fields{"name": "k", "scopes": []string{"account:read"}}})
	p.keyID = made.text(t, "id")
	p.endedSince = map[string]string{"an API key": made.text(t, "key"), "a session": s.signedIn(t, p.email, password)}
	return p
}

// after is what happens between that moment and the loss: each of it was acknowledged.
func (p *past) after(t *testing.T, s *system) pair {
	t.Helper()
	next := pairOf(t, s.refresh(t, p.rotated.refresh))
	access, _ := s.owing(t, p.app.email)
	require.True(t, s.valid(t, access, p.app.backup[0]))
	access, _ = s.owing(t, p.app.email)
	p.appCode = p.app.code(t, 0)
	require.True(t, s.valid(t, access, p.appCode))
	require.True(t, s.reset(t, p.link, newPassword).ok())
	s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": p.newcomer, "code": p.code}})
	require.True(t, s.send(t, call{Method: http.MethodDelete, Path: pathAPIKeys + "/" + p.keyID, Token: p.owner}).ok())
	require.True(t, s.send(t, call{Method: http.MethodPost, Path: pathLogout, Token: p.endedSince["a session"]}).ok())
	for what, token := range p.endedSince {
		require.Equal(t, http.StatusUnauthorized, s.send(t, call{Path: pathMe, Token: token}).Status, what)
	}
	return next
}

// restore starts a copy in the place of the stack's cluster, with what the archive has up to a point.
func restore(t *testing.T, s *system, dir, archive, point string) {
	t.Helper()
	require.NoError(t, postgres.Signal(dir, "recovery.signal"))
	s.stack.LaunchPostgres(t.Context(), t, postgres.Options{Dir: dir, Port: s.stack.Postgres.Port, Durable: true, Settings: []string{
		"fsync=off", "restore_command=cp " + filepath.Join(archive, "%f") + " %p", "recovery_target_lsn=" + point,
		"recovery_target_action=promote",
	}})
	testkit.Eventually(t, patience, func() bool { return ask(t, s.stack.Postgres, `SELECT pg_is_in_recovery()::int`) == 0 }, "the copy to be restored")
	testkit.Eventually(t, patience, func() bool {
		return s.send(t, call{Path: pathMe, Token: "none"}).Status == http.StatusUnauthorized && s.db.Ping(t.Context()) == nil
	}, "the API to reach it")
}
