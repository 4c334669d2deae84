//go:build unix

package e2e_test

import (
	"crypto/rand"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
)

// SES-06 with F-11: while the database cannot end a session, nobody is told that it did; repeating the call later does.
func TestAttack_SES06_F11_RevocationWithAFailingStore(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s = s.tolerant(t) // 503 is what the test wants
	s.db.define(t, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN RAISE EXCEPTION 'out of order' USING ERRCODE = '57P03'; END $$`)
	for _, table := range []string{"sessions", "api_keys"} {
		s.db.define(t, `CREATE TRIGGER refuse BEFORE UPDATE OF revoked_at ON `+table+` FOR EACH ROW
			WHEN (NEW.revoked_at IS NOT NULL) EXECUTE FUNCTION refuse()`)
	}
	fault := func(on bool) {
		state := map[bool]string{true: "ENABLE", false: "DISABLE"}[on]
		s.db.define(t, `ALTER TABLE sessions `+state+` TRIGGER refuse`)
		s.db.define(t, `ALTER TABLE api_keys `+state+` TRIGGER refuse`)
	}
	fault(false)

	for name, revoke := range map[string]func(own, other string, email string) (end call, dead []string){
		"B04 logout": func(own, _, _ string) (call, []string) {
			return call{Method: http.MethodPost, Path: pathLogout, Token: own}, []string{own}
		},
		"A10 one": func(own, other, _ string) (call, []string) {
			return call{Path: pathRevokeSession, Token: own, Body: fields{"session_id": s.sessionID(t, other)}}, []string{other}
		},
		"A10 others": func(own, other, _ string) (call, []string) {
			return call{Path: pathRevokeSession, Token: own, Body: fields{"revoke_all_others": true}}, []string{other}
		},
		"C25 all": func(own, other, _ string) (call, []string) {
			return call{Method: http.MethodDelete, Path: pathSessions, Token: own}, []string{own, other}
		},
		"C27 one": func(own, other, _ string) (call, []string) {
			return call{Method: http.MethodDelete, Path: pathSessions + "/" + s.sessionID(t, other), Token: own}, []string{other}
		},
		"A05 change of password": func(own, other, _ string) (call, []string) {
			return change(own, password, newPassword), []string{other}
		},
		"C21 reset": func(own, other, email string) (call, []string) {
			// Without a key the link is held for whoever used it, for ten seconds.
			return call{Path: pathResetPassword, Key: rand.Text(), Body: fields{"token": s.forgot(t, email, 1), "new_password": newPassword}}, []string{own, other}
		},
		"C01 closure": func(own, other, _ string) (call, []string) {
			return closeWith(own, fields{"password": password}), []string{own, other}
		},
		"key": func(own, _, _ string) (call, []string) {
			made := s.want(t, http.StatusCreated, call{Path: pathAPIKeys, Token: own, Body: fields{"name": "k", "scopes": []string{"account:read"}}})
			return call{Method: http.MethodDelete, Path: pathAPIKeys + "/" + made.text(t, "id"), Token: own}, []string{made.text(t, "key")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			email := newEmail()
			own := s.signUp(t, email)
			other := s.signedIn(t, email, password)
			end, dead := revoke(own, other, email)
			fault(true)
			for range 2 {
				got := s.send(t, end)
				if name == "C01 closure" && got.Status == http.StatusAccepted {
					require.Equal(t, "pending", got.text(t, "status"), "the flow has it, and nobody is told that it is done: %s", got.Body)
					continue
				}
				require.Equal(t, http.StatusServiceUnavailable, got.Status, "%s", got.Body)
				require.NotEmpty(t, got.Header.Get("Retry-After"))
			}
			for _, alive := range dead {
				s.want(t, http.StatusOK, call{Path: pathMe, Token: alive}) // nobody was told otherwise
			}
			require.Equal(t, http.StatusOK, s.login(t, email, password).Status, "all or nothing")
			fault(false)
			testkit.Eventually(t, patience, func() bool { // a flow may have gone on by itself meanwhile
				got := s.send(t, end)
				return got.ok() || got.Status == http.StatusUnauthorized || got.Status == http.StatusBadRequest
			}, "the repetition")
			for _, token := range dead {
				testkit.Eventually(t, patience, func() bool { // at once after a success, and by its flow after a 202
					return s.send(t, call{Path: pathMe, Token: token}).Status == http.StatusUnauthorized
				}, "the end")
			}
		})
	}
}
