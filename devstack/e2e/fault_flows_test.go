//go:build unix

package e2e_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/durable"
	"gatehouse/internal/testkit"
	"gatehouse/providers/mail/smtptest"
	"gatehouse/workflows"
)

// started is a request that starts a flow, and how to see what it has sent.
type started struct {
	flow string
	// prepare returns the request, and whom the flow writes to.
	prepare func(t *testing.T, s *system) (in call, recipient string)
	// subject is that of the one message; empty where somebody else's mail says enough.
	subject string
}

// starts are the requests that start each kind of flow that clients can start twice. A login on a new device and a link to a
// provider are flows of their own each time.
var starts = map[string]started{
	"sign-up": {workflows.SignupWorkflow, func(*testing.T, *system) (call, string) {
		email := newEmail()
		return call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password}}, email
	}, "Your Gatehouse code"},
	"registration": {workflows.SignupWorkflow, func(*testing.T, *system) (call, string) {
		email := newEmail()
		return call{Path: pathRegister, Body: fields{"email": email, "username": email, "password": password}}, email
	}, ""},
	"password reset": {workflows.PasswordResetWorkflow, func(t *testing.T, s *system) (call, string) {
		email := newEmail()
		s.signUp(t, email)
		return call{Path: pathForgotPassword, Body: fields{"email": email}}, email
	}, "Choose a new password"},
	"password change": {workflows.PasswordChangeWorkflow, func(t *testing.T, s *system) (call, string) {
		email := newEmail()
		return call{Path: pathSendOTP, Token: s.signUp(t, email), Body: fields{"channel": "EMAIL"}}, email
	}, securityCodeSubject},
	"phone": {workflows.PhoneVerificationWorkflow, func(t *testing.T, s *system) (call, string) {
		number := newNumber(t)
		return call{Path: pathSendPhoneCode, Token: s.signUp(t, newEmail()), Body: fields{"phone_number": number}}, number
	}, ""},
	"email change": {workflows.EmailChangeWorkflow, func(t *testing.T, s *system) (call, string) {
		next := newEmail()
		return moveTo(s.signUp(t, newEmail()), next), next
	}, "Confirm your new email address"},
	"email link": {workflows.EmailLinkWorkflow, func(t *testing.T, s *system) (call, string) {
		next := newEmail()
		return linkTo(s.signUp(t, newEmail()), next), next
	}, "Your code to link this email address"},
	"closure": {workflows.AccountClosureWorkflow, func(t *testing.T, s *system) (call, string) {
		email := newEmail()
		token := s.signUp(t, email)
		// Without a password, for there are not as many slots to compare one.
		s.db.change(t, `UPDATE accounts SET password_hash = NULL WHERE email = $1`, email)
		return closeWith(token, fields{"confirm": true}), email
	}, "Your Gatehouse account is closed"},
	"subscription": {workflows.SubscriptionWorkflow, func(t *testing.T, s *system) (call, string) {
		email := newEmail()
		return subscribe(s.signUp(t, email), premiumPlan, visa), email
	}, ""},
}

// F-34: a flow is asked for by a hundred requests at once, with and without a key. It runs once, everybody who gets a success is
// told of that one, and one message goes out.
func TestFault_F34_OneFlowAskedForAHundredTimes(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s = s.tolerant(t) // whoever comes too late for his time is told so
	temporal := flows(t, s.stack)
	type span struct {
		kind, flow string
		from, to   time.Time
	}
	var spans []span
	for kind, start := range starts {
		t.Run(kind, func(t *testing.T) {
			for round := range min(stacktest.Rounds(t), 10) {
				in, recipient := start.prepare(t, s)
				if round%2 == 0 {
					in.Key = rand.Text()
				}
				from := time.Now()
				answers := burst(t, s.client, slices.Repeat([]call{in}, crowd))
				requireClean(t, answers)
				told := map[string]bool{}
				for _, a := range successes(answers) {
					told[a.Header.Get("Operation-Location")] = true
				}
				require.NotEmpty(t, told, "%v", tally(answers))
				// A closure is its holder's: who has no key holds one of his own.
				if start.flow != workflows.AccountClosureWorkflow || in.Key != "" {
					require.Len(t, told, 1, "everybody is told of one flow: %v", tally(answers))
				}
				if start.subject != "" {
					s.db.eventually(t, 1, `SELECT count(*) FROM dev_inbox WHERE recipient = $1 AND subject = $2`, recipient, start.subject)
				}
				spans = append(spans, span{kind, start.flow, from, time.Now()})
			}
		})
	}
	for _, at := range spans {
		query := fmt.Sprintf("WorkflowType = '%s' AND StartTime BETWEEN '%s' AND '%s'", at.flow,
			at.from.UTC().Format(time.RFC3339Nano), at.to.UTC().Format(time.RFC3339Nano))
		testkit.Eventually(t, patience, func() bool { return count(t, temporal, query) > 0 }, "a "+at.kind+" to be listed")
		require.EqualValues(t, 1, count(t, temporal, query), at.kind)
	}
	s.requireInvariants(t)
}

// runsOf are the lengths of the histories of a flow's runs.
func runsOf(t *testing.T, c *durable.Client, id string) (lengths []int64) {
	t.Helper()
	list, err := c.Temporal().ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
		Query: fmt.Sprintf("WorkflowId = '%s'", id), PageSize: 1000,
	})
	require.NoError(t, err)
	for _, run := range list.GetExecutions() {
		described, err := c.Temporal().DescribeWorkflowExecution(t.Context(), id, run.GetExecution().GetRunId())
		require.NoError(t, err)
		lengths = append(lengths, described.GetWorkflowExecutionInfo().GetHistoryLength())
	}
	return lengths
}

// longHistory is what a server of these tests calls a long history; a production server says so at 4096 events.
const longHistory = 300

// F-35: a flow is sent more than a history should hold. A subscription continues as new and loses no request; a sign-up's
// history stays short whatever is asked of it; a delivery that is told again and again to try now is tried no more often than it
// would be.
func TestFault_F35_StormOfMessagesToOneFlow(t *testing.T) {
	t.Parallel()
	stack := stacktest.Start(t, stacktest.Options{Env: quick(hooked...), OwnTemporal: true})
	stack.Temporal.LimitHistory(longHistory)
	worker := stack.StartWorker(t, nil)
	s := onStack(t, stack)
	s.worker = worker
	temporal := flows(t, stack)
	t.Run("subscription", func(t *testing.T) { subscriptionStorm(t, s, temporal) })
	t.Run("sign-up", func(t *testing.T) { signupStorm(t, s, temporal) })
	t.Run("webhook", func(t *testing.T) { webhookStorm(t, s, temporal) })
	s.requireInvariants(t)
}

func subscriptionStorm(t *testing.T, s *system, temporal *durable.Client) {
	token, id := s.subscribed(t, starterPlan)
	changes := []call{
		put(token, id+"/cancel", nil), put(token, id+"/undo-cancel", nil), put(token, id, fields{"paymentMethodId": "pm_card_mastercard"}),
		put(token, id, fields{"paymentMethodId": visa}),
	}
	for range stacktest.Rounds(t) {
		s.mixed(t, id, changes)
	}
	lengths := runsOf(t, temporal, workflows.SubscriptionWorkflowID(id))
	t.Logf("%d changes, runs of %v events", s.db.number(t, `SELECT version FROM subscriptions WHERE id = $1`, id), lengths)
	require.Greater(t, len(lengths), 1, "it continued as new")
	for _, events := range lengths {
		// What is under way when it is told comes on top.
		require.Less(t, events, int64(2*longHistory))
	}
	testkit.Eventually(t, patience, func() bool {
		s.tolerant(t).send(t, put(token, id+"/cancel", fields{"immediately": true}))
		return s.statusOf(t, id) == "canceled"
	}, "the last word")
	s.requireSerial(t, id)
	s.requireOneChargeEach(t, id)
}

func signupStorm(t *testing.T, s *system, temporal *durable.Client) {
	email := newEmail()
	s.initiate(t, email)
	code := s.awaitCode(t, email)
	again := call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password}}
	resend := call{Path: pathSendCode, Body: fields{"email": email}}
	for range stacktest.Rounds(t) {
		requireClean(t, burst(t, s.tolerant(t).client, slices.Repeat([]call{again, resend}, crowd/2)))
	}
	testkit.Eventually(t, patience, func() bool {
		return count(t, temporal, "WorkflowType = 'Signup' AND ExecutionStatus = 'Running'") == 1
	}, "the sign-up to be alone")
	list, err := temporal.Temporal().ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
		Query: "WorkflowType = 'Signup' AND ExecutionStatus = 'Running'",
	})
	require.NoError(t, err)
	lengths := runsOf(t, temporal, list.GetExecutions()[0].GetExecution().GetWorkflowId())
	require.Len(t, lengths, 1)
	require.Less(t, lengths[0], int64(longHistory/2), "requests that change nothing do not reach it")
	s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}})
}

func webhookStorm(t *testing.T, s *system, temporal *durable.Client) {
	r := s.receive(t, "password.changed")
	r.answers(status(http.StatusInternalServerError))
	token := s.signUp(t, newEmail())
	s.want(t, http.StatusOK, change(token, password, newPassword))
	r.await(t, 1, "password.changed")
	ids := s.db.texts(t, `SELECT id::text FROM webhook_deliveries WHERE endpoint_id = $1`, r.id)
	require.Len(t, ids, 1)
	flow := "webhook/" + ids[0]
	for range crowd * stacktest.Rounds(t) {
		err := temporal.Temporal().SignalWorkflow(t.Context(), flow, "", workflows.WebhookNow, nil)
		if err != nil {
			require.ErrorContains(t, err, "already completed")
			break
		}
	}
	s.db.eventually(t, 1, `SELECT count(*) FROM webhook_deliveries WHERE id = $1 AND state = 'dead'`, ids[0])
	retries := 1 + len(strings.Split(hooked[1], ","))
	require.LessOrEqual(t, len(r.await(t, 1, "password.changed")), retries)
	r.answers(nil)
	s.stack.Command(t, nil, "webhooks", "replay", ids[0])
	s.db.eventually(t, 1, `SELECT count(*) FROM webhook_deliveries WHERE id = $1 AND state = 'delivered'`, ids[0])
}

// hung is a flow whose mail hangs: to whom it goes, and the request that its content allows.
type hung struct {
	recipient, subject string
	finish             func(m smtptest.Mail) call
}

// hangAll begins a flow of each kind that writes mail, for accounts that exist.
func hangAll(t *testing.T, s *system, mails *smtptest.Server, faults ...smtptest.Fault) []hung {
	t.Helper()
	emails, tokens := make([]string, 5), make([]string, 5)
	for i := range emails {
		emails[i] = newEmail()
		s.initiate(t, emails[i])
		body := fields{"email": emails[i], "code": mails.Wait(emails[i], 1)[0].Code}
		tokens[i] = s.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: body}).text(t, "session_token")
		mails.Wait(emails[i], 2) // the welcome
	}
	fresh, next, second := newEmail(), newEmail(), newEmail()
	token := func(m smtptest.Mail) string { return tokenOf(t, inboxMessage{Text: m.Text}) }
	before := mails.Attempts()
	mails.Next(slices.Repeat(faults, crowd)...)

	s.initiate(t, fresh)
	s.want(t, http.StatusOK, call{Path: pathForgotPassword, Body: fields{"email": emails[0]}})
	temp, _ := s.sendOTP(t, tokens[1], "EMAIL")
	s.want(t, http.StatusOK, moveTo(tokens[2], next))
	linking, _ := s.send(t, linkTo(tokens[3], second)).data(t)["tempToken"].(string)
	s.want(t, http.StatusOK, closeWith(tokens[4], fields{"password": password}))
	const noticesToPresentAddresses = 2
	all := []hung{
		{fresh, "", func(m smtptest.Mail) call {
			return call{Path: pathCompleteSignup, Body: fields{"email": fresh, "code": m.Code}}
		}},
		{emails[0], "Choose a new password", func(m smtptest.Mail) call {
			return call{Path: pathResetPassword, Body: fields{"token": token(m), "new_password": newPassword}}
		}},
		{emails[1], securityCodeSubject, func(m smtptest.Mail) call { return withOTP(tokens[1], temp, m.Code, newPassword) }},
		{next, "Confirm your new email address", func(m smtptest.Mail) call {
			return call{Path: pathVerifyCode, Body: fields{"email": next, "code": m.Code}}
		}},
		{second, "Your code to link this email address", func(m smtptest.Mail) call { return verifyLink(tokens[3], linking, m.Code) }},
		{emails[4], "Your Gatehouse account is closed", func(m smtptest.Mail) call { return call{Path: pathUndo, Body: fields{"token": token(m)}} }},
	}
	testkit.Eventually(t, patience, func() bool { return mails.Attempts() >= before+len(all)+noticesToPresentAddresses }, "all mails to hang")
	return all
}

// F-01, F-02: the worker dies while the mail of each kind of flow is on its way: half of them not yet taken, the others taken
// and not yet acknowledged.
func TestFault_F01_F02_WorkerKilledInEveryKindOfFlow(t *testing.T) {
	t.Parallel()
	mails := smtptest.Start(t)
	env := withMail(mails)
	stack := stacktest.Start(t, stacktest.Options{Env: env})
	worker := stack.StartWorker(t, nil)
	s := onStack(t, stack)
	all := hangAll(t, s, mails, smtptest.Hang(smtptest.RcptTo), smtptest.Hang(smtptest.Accepted))
	worker.Kill()
	mails.Heal()
	s.worker = stack.StartWorker(t, nil)

	for _, f := range all {
		var got []smtptest.Mail
		find := func() bool {
			got = slices.DeleteFunc(mails.To(f.recipient), func(m smtptest.Mail) bool { return f.subject != "" && m.Subject != f.subject })
			return len(got) > 0
		}
		testkit.Eventually(t, repairPatience, find, "the mail of "+f.subject)
		s.want(t, http.StatusOK, f.finish(got[0]))
		for _, m := range got {
			require.Equal(t, got[0].Text, m.Text, "all copies are one mail")
			require.Equal(t, got[0].MessageID, m.MessageID, "all copies are one mail")
		}
	}
	s.requireInvariants(t)
}

// F-04: what was asked for while no worker was there is done once one comes, without a storm: one mail for each address, however
// often its owner asked. What could not be sent in its time is not sent at all, and is visibly given up.
func TestFault_F04_I02_BacklogWithoutAStorm(t *testing.T) {
	t.Parallel()
	mails := smtptest.Start(t)
	stack := stacktest.Start(t, stacktest.Options{Env: withMail(mails)})
	s := onStack(t, stack)
	s = s.tolerant(t)
	const people, times = 12, 3
	asked := make([]string, people)
	var calls []call
	for i := range asked {
		asked[i] = newEmail()
		for range times {
			calls = append(calls, withKey(call{Path: pathInitiateSignup, Body: fields{"email": asked[i], "password": password}}))
		}
	}
	answers := burst(t, s.client, calls)
	requireClean(t, answers)
	// Whoever was turned away each time, because too many hashed at once, asks later or never.
	var heard []string
	for i, email := range asked {
		if slices.ContainsFunc(answers[i*times:(i+1)*times], answer.ok) {
			heard = append(heard, email)
		}
	}
	require.NotEmpty(t, heard, "%v", tally(answers))
	outage(t)
	s.worker = stack.StartWorker(t, nil)
	for _, email := range heard {
		require.Len(t, mails.Wait(email, 1), 1)
	}

	mails.Down()
	late := []string{newEmail(), newEmail(), newEmail()}
	for _, email := range late {
		s.initiate(t, email)
	}
	s.db.eventually(t, len(late), `SELECT count(*) FROM messages WHERE state = 'queued' AND attempts > 0`)
	s.worker.Kill()
	_, err := s.db.Exec(t.Context(), `UPDATE challenges SET send_by = now() - interval '1 second' WHERE sent_at IS NULL`)
	require.NoError(t, err)
	mails.Up()
	s.worker = stack.StartWorker(t, nil)
	testkit.Eventually(t, repairPatience, func() bool {
		return s.db.number(t, `SELECT count(*) FROM messages WHERE state NOT IN ('queued', 'sent')`) == len(late)
	}, "what is too late to be given up")
	for _, email := range late {
		require.Empty(t, mails.To(email))
	}
	for _, email := range heard {
		require.Len(t, mails.To(email), 1, "one mail")
	}
	s.requireInvariants(t)
}
