//go:build unix

package e2e_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"

	"gatehouse/internal/testkit"
)

const (
	pathAccount = "/api/v1/auth/account"
	pathUndo    = pathAccount + "/undo-closure"
)

func closeWith(token string, body fields) call {
	return call{Method: http.MethodDelete, Path: pathAccount, Token: token, Body: body}
}

func TestClosure(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	playAll(t, s, map[string]func(*testing.T, *system){
		"C01_CloseAndUndo":                      closeAndUndo,
		"C01_Confirmation":                      confirmClosure,
		"C01_UndoAgainstSquatters":              undoAgainstSquatters,
		"C01_SES05_OldCredentialsReachNothing":  oldCredentials,
		"C01_UnverifiedAccountsCloseThemselves": closeUnverified,
		"C01_UndoWithoutItsFlow":                undoWithoutItsFlow,
		"C01_FlowOfAFormerClosure":              closeByTheFlowOfAFormerClosure,
		"C01_AfterTheAddressWasTaken":           closeWithoutTheAddress,
		"C01_WhenItsAddressIsAnothers":          undoToTheFormerAddress,
		"C01_UndoAfterAFault":                   undoAfterAFault,
	})
}

func closeAndUndo(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	before := len(s.inbox(t, email))
	require.JSONEq(t, `{"status":"ok"}`, string(s.want(t, http.StatusOK, closeWith(token, fields{"password": password})).Body))
	requireDead(t, token, s.client)
	login := call{Path: pathLogin, Body: fields{"email": email, "password": password}}
	s.refused(t, http.StatusUnauthorized, "invalid_credentials", login)

	mail := s.awaitClosureMail(t, email, "Your Gatehouse account is closed")
	require.True(t, strings.HasPrefix(linkOf(t, mail), s.base+"/undo-closure?token="), mail.Text)
	require.Contains(t, mail.Text, "168 hours")
	s.want(t, http.StatusOK, call{Path: "/undo-closure"})
	undo := call{Path: pathUndo, Body: fields{"token": tokenOf(t, mail)}}
	s.refused(t, http.StatusBadRequest, "invalid_token", call{Path: pathUndo, Body: fields{"token": "x" + tokenOf(t, mail)}})
	s.want(t, http.StatusOK, undo)
	s.refused(t, http.StatusBadRequest, "invalid_token", undo)
	requireDead(t, token, s.client)
	again := s.want(t, http.StatusOK, login).text(t, "session_token")
	require.Equal(t, email, s.want(t, http.StatusOK, call{Path: pathMe, Token: again}).text(t, "email"))

	// A second closure is one of its own.
	s.want(t, http.StatusOK, closeWith(again, fields{"password": password}))
	s.refused(t, http.StatusBadRequest, "invalid_token", undo)
	testkit.Eventually(t, patience, func() bool { return len(s.inbox(t, email)) >= before+2 }, "the mail of the second closure")
}

// Neither who registers the address without proof nor who takes the username keeps the owner from the account (D5, conventions 17).
func undoAgainstSquatters(t *testing.T, s *system) {
	email, name := newEmail(), newUsername()
	token := s.signUp(t, email)
	s.want(t, http.StatusOK, changeUsername(token, name))
	s.want(t, http.StatusOK, closeWith(token, fields{"password": password}))
	undo := call{Path: pathUndo, Body: fields{"token": tokenOf(t, s.awaitClosureMail(t, email, "Your Gatehouse account is closed"))}}
	squatter := s.want(t, http.StatusOK, call{Path: pathRegister, Body: fields{"username": email, "email": email, "password": newPassword}}).text(t, "token")
	taker := s.signUp(t, newEmail())
	s.want(t, http.StatusOK, changeUsername(taker, name))
	s.want(t, http.StatusOK, undo)
	requireDead(t, squatter, s.client)
	again := s.want(t, http.StatusOK, call{Path: pathLogin, Body: fields{"email": email, "password": password}}).text(t, "session_token")
	require.Equal(t, email, s.want(t, http.StatusOK, call{Path: pathMe, Token: again}).text(t, "email"))
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM accounts WHERE email = $1 AND username IS NULL AND deleted_at IS NULL`, email))
	s.want(t, http.StatusOK, changeUsername(again, newUsername()))
}

// The mailed link is good for its term, also when Temporal's database is lost. Of many callers one is told that it worked.
func undoWithoutItsFlow(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	s.want(t, http.StatusOK, closeWith(token, fields{"password": password}))
	undo := call{Path: pathUndo, Body: fields{"token": tokenOf(t, s.awaitClosureMail(t, email, "Your Gatehouse account is closed"))}}
	s.terminateFlow(t, "closure", s.db.texts(t, `SELECT id FROM accounts WHERE email = $1`, email)[0])
	answers := burst(t, s.client, slices.Repeat([]call{undo}, 10))
	require.Len(t, successes(answers), 1, "%v", tally(answers))
	again := s.want(t, http.StatusOK, call{Path: pathLogin, Body: fields{"email": email, "password": password}}).text(t, "session_token")
	require.Equal(t, email, s.want(t, http.StatusOK, call{Path: pathMe, Token: again}).text(t, "email"))
	s.awaitClosureMail(t, email, "Your Gatehouse account is open again")
	s.want(t, http.StatusOK, closeWith(again, fields{"password": password}))
}

// A closure was undone without its flow, whose answer from the database was lost. The flow does not close the account again:
// another one does, and the link of that one is good.
func closeByTheFlowOfAFormerClosure(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	s.want(t, http.StatusOK, closeWith(token, fields{"password": password}))
	s.awaitClosureMail(t, email, "Your Gatehouse account is closed")
	owner := s.db.texts(t, `SELECT id FROM accounts WHERE email = $1`, email)[0]
	s.db.change(t, `UPDATE closures SET undone_at = now(), token_hash = NULL, providers = NULL WHERE account_id = $1`, owner)
	s.db.change(t, `UPDATE accounts SET deleted_at = NULL WHERE id = $1`, owner)
	login := call{Path: pathLogin, Body: fields{"email": email, "password": password}}
	again := s.want(t, http.StatusOK, login).text(t, "session_token")
	s.want(t, http.StatusOK, closeWith(again, fields{"password": password}))
	requireDead(t, again, s.client)
	var bodies []string
	testkit.Eventually(t, patience, func() bool {
		bodies = s.db.texts(t, `SELECT body FROM dev_inbox WHERE recipient = $1 AND subject = $2 ORDER BY created_at`, email, "Your Gatehouse account is closed")
		return len(bodies) == 2
	}, "the mail of the second closure")
	s.want(t, http.StatusOK, call{Path: pathUndo, Body: fields{"token": tokenOf(t, inboxMessage{To: email, Text: bodies[1]})}})
	s.want(t, http.StatusOK, login)
}

// An undo that failed for a moment is not remembered under its idempotency key: the same request works once the fault has passed.
func undoAfterAFault(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	s.want(t, http.StatusOK, closeWith(token, fields{"password": password}))
	undo := call{
		Path: pathUndo, Body: fields{"token": tokenOf(t, s.awaitClosureMail(t, email, "Your Gatehouse account is closed"))},
		Key: "undo-" + email,
	}
	owner := s.db.texts(t, `SELECT id::text FROM accounts WHERE email = $1`, email)[0]
	held, err := s.db.Begin(t.Context())
	require.NoError(t, err)
	_, err = held.Exec(t.Context(), `SELECT 1 FROM closures WHERE account_id = $1::uuid FOR UPDATE`, owner)
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, s.tolerant(t).send(t, undo).Status)
	flow, temporal := s.runningFlow(t, "closure", owner), readTemporal(t, s.stack)
	testkit.Eventually(t, patience, func() bool {
		answered := 0
		events := temporal.GetWorkflowHistory(t.Context(), flow.GetWorkflowId(), flow.GetRunId(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			event, err := events.Next()
			require.NoError(t, err)
			if event.GetEventType() == enums.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED {
				answered++
			}
		}
		return answered == 2
	}, "the flow to give the undo up: the row is held for longer than it tries")
	require.NoError(t, held.Rollback(t.Context()))
	s.want(t, http.StatusOK, undo)
	s.want(t, http.StatusOK, call{Path: pathLogin, Body: fields{"email": email, "password": password}})
}

// Whoever takes the address away (D25) and closes the account does not have it erased at once: its owner opens it again from there.
func closeWithoutTheAddress(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	s.db.change(t, `INSERT INTO linked_providers (account_id, provider, provider_account_id) SELECT id, 'google', $1 FROM accounts WHERE email = $1`, email)
	owner := s.db.texts(t, `SELECT id FROM accounts WHERE email = $1`, email)[0]
	require.Equal(t, "Email unlinked", s.send(t, call{Method: http.MethodDelete, Path: pathLinkEmail, Token: token}).said(t, 200))
	s.want(t, http.StatusOK, closeWith(token, fields{"password": password}))

	mail := s.awaitClosureMail(t, email, "A Gatehouse account that had this address is closed")
	require.Contains(t, mail.Text, "168 hours")
	s.awaitClosureMail(t, email, "Your email address was unlinked from Gatehouse")
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM closures
		WHERE account_id = $1 AND erased_at IS NULL AND erase_at > now() + interval '6 days'`, owner))
	s.want(t, http.StatusOK, call{Path: pathUndo, Body: fields{"token": tokenOf(t, mail)}})
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM accounts a JOIN linked_providers l ON l.account_id = a.id
		WHERE a.id = $1 AND a.deleted_at IS NULL AND a.email IS NULL`, owner))
}

// Whoever moves the account to their address, closes it and signs up by that address leaves its owner the mailbox that they had.
func undoToTheFormerAddress(t *testing.T, s *system) {
	email, thiefs := newEmail(), newEmail()
	token := s.signUp(t, email)
	s.db.change(t, `INSERT INTO former_emails (account_id, email, expires_at) SELECT id, email, now() + interval '1 day' FROM accounts WHERE email = $1`, email)
	s.db.change(t, `UPDATE accounts SET email = $2 WHERE email = $1`, email, thiefs)
	s.want(t, http.StatusOK, closeWith(token, fields{"password": password}))
	former := tokenOf(t, s.awaitClosureMail(t, email, "A Gatehouse account that had this address is closed"))
	own := tokenOf(t, s.awaitClosureMail(t, thiefs, "Your Gatehouse account is closed"))
	elsewhere := newEmail()
	thief := s.signUp(t, elsewhere)
	s.db.change(t, `UPDATE accounts SET email = $2 WHERE email = $1`, elsewhere, thiefs)

	s.refused(t, http.StatusConflict, "email_exists", call{Path: pathUndo, Body: fields{"token": own}})
	s.refused(t, http.StatusBadRequest, "invalid_token", call{Path: pathUndo, Body: fields{"token": former + "A"}})
	s.want(t, http.StatusOK, call{Path: pathUndo, Body: fields{"token": former}})
	again := s.want(t, http.StatusOK, call{Path: pathLogin, Body: fields{"email": email, "password": password}}).text(t, "session_token")
	require.Equal(t, email, s.want(t, http.StatusOK, call{Path: pathMe, Token: again}).text(t, "email"))
	require.Equal(t, thiefs, s.want(t, http.StatusOK, call{Path: pathMe, Token: thief}).text(t, "email"))
	s.awaitClosureMail(t, thiefs, "Your Gatehouse email address was changed")
}

// terminateFlow ends the running flow of a kind that an account has, as an operator or a lost database does.
func (s *system) terminateFlow(t *testing.T, kind, owner string) {
	t.Helper()
	require.NoError(t, readTemporal(t, s.stack).TerminateWorkflow(t.Context(), s.runningFlow(t, kind, owner).GetWorkflowId(), "", "a test lost it"))
}

// runningFlow waits for the one flow of a kind that an account has.
func (s *system) runningFlow(t *testing.T, kind, owner string) *common.WorkflowExecution {
	t.Helper()
	temporal := readTemporal(t, s.stack)
	query := "FlowKind = '" + kind + "' AND AccountID = '" + owner + "' AND ExecutionStatus = 'Running'"
	var flows []*workflow.WorkflowExecutionInfo
	testkit.Eventually(t, patience, func() bool {
		list, err := temporal.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Query: query})
		require.NoError(t, err)
		flows = list.GetExecutions()
		return len(flows) == 1
	}, "the flow to be listed")
	return flows[0].GetExecution()
}

// awaitClosureMail waits for a mail and returns it.
func (s *system) awaitClosureMail(t *testing.T, email, subject string) inboxMessage {
	t.Helper()
	var bodies []string
	testkit.Eventually(t, patience, func() bool {
		bodies = s.db.texts(t, `SELECT body FROM dev_inbox WHERE recipient = $1 AND subject = $2`, email, subject)
		return len(bodies) > 0
	}, subject)
	return inboxMessage{To: email, Subject: subject, Text: bodies[0]}
}

func confirmClosure(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	s.refused(t, http.StatusBadRequest, "confirmation_required", call{Method: http.MethodDelete, Path: pathAccount, Token: token})
	s.refused(t, http.StatusBadRequest, "confirmation_required", closeWith(token, fields{"confirm": true}))
	s.refused(t, http.StatusForbidden, "invalid_password", closeWith(token, fields{"password": "not-my-password", "confirm": true}))
	s.refused(t, http.StatusUnauthorized, "unauthorized", closeWith("", fields{"password": password}))
	weak := s.want(t, http.StatusCreated, call{Path: pathAPIKeys, Token: token, Body: fields{"name": "ci", "scopes": []string{"account:write"}}})
	s.refused(t, http.StatusForbidden, "insufficient_scope", closeWith(weak.text(t, "key"), fields{"password": password}))

	// Without a password the confirmation counts, of a fresh authentication.
	_, err := s.db.Exec(t.Context(), `UPDATE accounts SET password_hash = NULL WHERE email = $1`, email)
	require.NoError(t, err)
	s.refused(t, http.StatusBadRequest, "confirmation_required", closeWith(token, fields{"confirm": false}))
	age := `UPDATE sessions SET auth_time = now() - $2::interval WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`
	_, err = s.db.Exec(t.Context(), age, email, "11 minutes")
	require.NoError(t, err)
	s.refused(t, http.StatusForbidden, "reauthentication_required", closeWith(token, fields{"confirm": true}))
	_, err = s.db.Exec(t.Context(), age, email, "1 minute")
	require.NoError(t, err)
	s.want(t, http.StatusOK, closeWith(token, fields{"confirm": true}))
	requireDead(t, token, s.client)
}

func oldCredentials(t *testing.T, s *system) {
	email := newEmail()
	old := s.signUp(t, email)
	second := s.client.login(t, email)
	key := s.want(t, http.StatusCreated, call{Path: pathAPIKeys, Token: old, Body: fields{
		"name": "ci", "scopes": []string{"account:read", "account:security"},
	}}).text(t, "key")
	s.requireMail(t, email, "A new API key of your Gatehouse account")
	s.want(t, http.StatusOK, closeWith(key, fields{"password": password}))
	dead := func() {
		requireDead(t, old, s.client)
		requireDead(t, second, s.client)
		requireDead(t, key, s.client)
	}
	dead()
	undo := call{Path: pathUndo, Body: fields{"token": tokenOf(t, s.awaitClosureMail(t, email, "Your Gatehouse account is closed"))}}

	// Somebody else takes the address, with another password.
	_, err := s.db.Exec(t.Context(), `DELETE FROM quotas`)
	require.NoError(t, err)
	const other = "Another-Horse-8-battery"
	mails := len(s.inbox(t, email))
	s.want(t, http.StatusOK, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": other}})
	code := s.awaitMail(t, email, mails+1).Code
	fresh := s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}}).text(t, "session_token")
	dead()
	s.refused(t, http.StatusUnauthorized, "invalid_credentials", call{Path: pathLogin, Body: fields{"email": email, "password": password}})
	s.refused(t, http.StatusConflict, "email_exists", undo)
	dead()
	s.want(t, http.StatusOK, call{Path: pathMe, Token: fresh})
	require.Len(t, s.sessionsOf(t, fresh), 1)
}

func closeUnverified(t *testing.T, s *system) {
	email := newEmail()
	token := s.register(t, strings.ReplaceAll(email[:20], "-", "_"), email)
	s.want(t, http.StatusOK, closeWith(token, fields{"password": password}))
	requireDead(t, token, s.client)
	testkit.Eventually(t, patience, func() bool {
		return s.db.number(t, `SELECT count(*) FROM accounts WHERE email = $1`, email) == 0
	}, "the erasure of an account that nobody has proven")
	for _, m := range s.inbox(t, email) {
		require.NotContains(t, m.Subject, "closed", "an unproven address gets no undo link")
	}
}

func TestClosure_C01_ErasedAfterItsTerm(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "GATEHOUSE_CLOSURE_GRACE", "3s")
	email := newEmail()
	token := s.signUp(t, email)
	s.want(t, http.StatusOK, call{Method: http.MethodPatch, Path: pathMe, Token: token, Body: fields{"full_name": "Ada Lovelace"}})
	id := s.want(t, http.StatusOK, call{Path: pathMe, Token: token}).text(t, "id")
	s.want(t, http.StatusOK, closeWith(token, fields{"password": password}))
	undo := call{Path: pathUndo, Body: fields{"token": tokenOf(t, s.awaitClosureMail(t, email, "Your Gatehouse account is closed"))}}
	s.awaitClosureMail(t, email, "Your Gatehouse account is being erased")
	s.refused(t, http.StatusBadRequest, "invalid_token", undo)
	testkit.Eventually(t, patience, func() bool {
		return s.db.number(t, `SELECT count(*) FROM accounts WHERE id = $1::uuid AND email IS NULL AND full_name IS NULL`, id) == 1
	}, "the erasure")
	for _, table := range []string{"sessions", "login_history", "challenges", "api_keys"} {
		require.Zero(t, s.db.number(t, `SELECT count(*) FROM `+table+` WHERE account_id = $1::uuid`, id), table)
	}
	require.Equal(t, 100, s.db.number(t, `SELECT sum(amount)::int FROM credit_moves WHERE account_id = $1::uuid`, id))
}
