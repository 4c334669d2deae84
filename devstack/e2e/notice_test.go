//go:build unix

package e2e_test

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

// I-12 with F-08: what changes while Temporal is away is told to the owner once it is back, once.
func TestFault_F08_I12_ChangeWhileTemporalIsAway_IsToldLater(t *testing.T) {
	t.Parallel()
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: quick(), OwnTemporal: true})
	c, db := newClient(s.BaseURL), openDatabase(t, s)
	email := newEmail()
	token := c.signUp(t, email)
	c.awaitMail(t, email, 2)
	require.NoError(t, s.Temporal.Stop())

	started := time.Now()
	c.want(t, http.StatusOK, change(token, password, newPassword))
	c.want(t, http.StatusOK, change(token, newPassword, password))
	require.Less(t, time.Since(started), 10*time.Second*crowding())
	require.Equal(t, 2, db.number(t, `SELECT count(*) FROM owed_notices`))
	require.Len(t, c.inbox(t, email), 2)

	s.RestartTemporal(t)
	told := func() int {
		return len(slices.DeleteFunc(c.inbox(t, email), func(m inboxMessage) bool { return m.Subject != "Your Gatehouse password was changed" }))
	}
	testkit.Eventually(t, 3*patience, func() bool { return told() >= 2 }, "the notices")
	db.eventually(t, 0, `SELECT count(*) FROM owed_notices`)
	require.Equal(t, 2, told(), "one for each change")
	// In ordinary times nothing is left to the workers.
	c.want(t, http.StatusOK, change(token, password, newPassword))
	require.Zero(t, db.number(t, `SELECT count(*) FROM owed_notices`))
	testkit.Eventually(t, patience, func() bool { return told() == 3 }, "the notice")
}
