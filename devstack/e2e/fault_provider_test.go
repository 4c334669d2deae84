//go:build unix

package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
	"gatehouse/providers/payment/paymenttest"
	"gatehouse/providers/push/fcmtest"
	"gatehouse/providers/sms/twiliotest"
)

// F-25, F-26: Stripe charges and never says so, or was away for 26 hours and has forgotten every key, while users subscribe. Nobody
// is charged twice, what was told to be paid is paid, and its ledger and our books are one.
func TestFault_F25_F26_I09_StripeFailsUnderUsers(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]struct {
		paymenttest.Fault
		// charges, if any, are how many charges fail; otherwise every request does, for the whole outage.
		charges int
		forgets bool
	}{
		// A bank may take 40 seconds, so whoever waits for more than a charge would wait for longer than a recovery may take.
		"ChargesAndNeverAnswers": {Fault: paymenttest.Fault{Moment: paymenttest.Never}, charges: 6},
		"AnswersCutOff":          {Fault: paymenttest.Fault{Moment: paymenttest.After}},
		"DownForADay":            {Fault: paymenttest.Fault{Moment: paymenttest.Before}, forgets: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := paymenttest.Start(t)
			s := breakable(t, stacktest.Options{}, withStripe(server)...)
			s.withstand(t, fault{
				answers: f.charges > 0,
				strike: func() {
					if f.charges > 0 {
						server.Next(slices.Repeat([]paymenttest.Fault{f.Fault}, f.charges)...)
					} else {
						server.Always(&f.Fault) // whoever comes to pay waits
					}
				},
				heal: func() {
					if f.forgets {
						server.Advance(26 * time.Hour)
						_, err := s.db.Exec(t.Context(), `UPDATE payment_attempts SET created_at = created_at - interval '26 hours' WHERE state = 'pending'`)
						require.NoError(t, err)
					}
					server.Always(nil)
				},
			})
			s.requireLedger(t, server)
			require.NotEmpty(t, server.Ledger())
		})
	}
}

// A receiver of events fails in every way while things happen. Users feel nothing of it; once it is mended it has every event, each
// under one id, and nothing is left over.
func TestFault_ReceiverFailsUnderUsers(t *testing.T) {
	t.Parallel()
	const pause = 4 * time.Second
	enough := strings.Repeat(","+pause.String(), int((stacktest.Outage()+repairPatience)/pause))
	s := breakable(t, stacktest.Options{}, "GATEHOUSE_WEBHOOK_RETRIES", "1s,2s"+enough, "GATEHOUSE_WEBHOOK_TIMEOUT", "1s")
	r := s.receive(t, "*")
	var tries atomic.Int32
	s.withstand(t, fault{
		strike: func() {
			r.answers(func(w http.ResponseWriter, q *http.Request) {
				switch tries.Add(1) % 4 {
				case 0:
					w.WriteHeader(http.StatusInternalServerError)
				case 1:
					w.Header().Set("Retry-After", "1")
					w.WriteHeader(http.StatusTooManyRequests)
				case 2:
					<-q.Context().Done() // for longer than it may take
				case 3:
					panic(http.ErrAbortHandler)
				}
			})
		},
		answers: true,
		heal:    func() { r.answers(nil) },
	})
	require.Greater(t, tries.Load(), int32(4), "it failed in every way")
	testkit.Eventually(t, settling, func() bool { return s.db.number(t, delivered, r.id) == 0 }, "all to be delivered")
	bodies := map[string]string{}
	for _, got := range r.got() {
		if before, again := bodies[got.id]; again {
			require.Equal(t, before, got.body, "the same event in every attempt")
		}
		bodies[got.id] = got.body
	}
	events := s.db.texts(t, `SELECT DISTINCT 'evt_' || event_id FROM webhook_deliveries WHERE endpoint_id = $1`, r.id)
	require.NotEmpty(t, events)
	for _, id := range events {
		require.Contains(t, bodies, id, "an event that was never told")
	}
	require.Len(t, bodies, len(events), "an event of nobody's")
}

// The push service fails in every way while passwords change. Users feel nothing of it; once it is mended every device is told.
func TestFault_PushServiceFailsUnderUsers(t *testing.T) {
	t.Parallel()
	server := fcmtest.Start(t)
	s := breakable(t, stacktest.Options{}, "GATEHOUSE_FCM_URL", server.URL, "GATEHOUSE_FCM_CREDENTIALS", credentialsFile(t, server))
	s.fcm = server
	faults := []fcmtest.Fault{{Status: 503, Code: "UNAVAILABLE"}, {Status: 429, Code: "QUOTA_EXCEEDED", RetryAfter: 1}, {Status: 500, Raw: true}, {}}
	asked := 0
	s.withstand(t, fault{
		strike: func() {
			asked, _ = server.Requests()
			for range 5 {
				server.Next(faults...)
			}
			server.Always(&faults[0])
		},
		meanwhile: func() {
			outage(t)
			testkit.Eventually(t, patience, func() bool { now, _ := server.Requests(); return now > asked+len(faults) }, "devices to be told in vain")
		},
		answers: true,
		heal:    func() { server.Always(nil) },
	})
}

// phonedBy gives an account a verified number that counts for codes at once, by Twilio.
func (s *system) phonedBy(t *testing.T, server *twiliotest.Server, email, token string) string {
	t.Helper()
	number := newNumber(t)
	s.sendPhoneCode(t, token, number)
	s.want(t, http.StatusOK, phoneProof(token, number, awaitTaken(t, server, number, 1).Code()))
	s.db.change(t, `UPDATE accounts SET phone_verified_at = now() - interval '25 hours' WHERE email = $1`, email)
	return number
}

// F-23, the other way round: WhatsApp fails. A code that was asked for on both goes by SMS. One for WhatsApp alone comes once it is
// back, with its owner told meanwhile; where it is refused for good, the owner is told that, and has one by SMS.
func TestFault_F23_WhatsAppFailsAndSMSTakesOver(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]twiliotest.Fault{"Refused": {Status: 400, Code: 63016}, "Down": {Status: 503}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, server := startTwilio(t, "GATEHOUSE_SEND_GAP", "10ms")
			email := newEmail()
			token := s.signUp(t, email)
			number := s.phonedBy(t, server, email, token)
			ask := func(channel string) (temp string, o operation) {
				got := s.want(t, http.StatusOK, call{Path: pathSendOTP, Token: token, Body: fields{"channel": channel}})
				temp, _ = got.data(t)["tempToken"].(string)
				return temp, begun(t, s.client, got, token)
			}
			server.Always("whatsapp", &f)
			temp, _ := ask("SMS_AND_WHATSAPP")
			m := awaitTaken(t, server, number, 2)
			require.Equal(t, "sms", m.Channel)
			s.want(t, http.StatusOK, withOTP(token, temp, m.Code(), newPassword))
			require.Equal(t, http.StatusOK, s.login(t, email, newPassword).Status)
			awaitTaken(t, server, number, 3) // the notice

			temp, o := ask("WHATSAPP")
			if f.Status == http.StatusBadRequest {
				require.EqualValues(t, 1, o.deliveries(t, 1, "dead")[0]["attempts"], "it is not tried again, and its owner can see that")
				temp, _ = ask("SMS")
			} else {
				require.NotNil(t, o.deliveries(t, 1, "queued")[0])
				server.Always("whatsapp", nil)
				o.deliveries(t, 1, "sent")
			}
			m = awaitTaken(t, server, number, 4)
			require.Equal(t, map[bool]string{true: "sms", false: "whatsapp"}[f.Status == http.StatusBadRequest], m.Channel)
			s.want(t, http.StatusOK, withOTP(token, temp, m.Code(), lastPassword))
			s.requireUnlogged(t, number, m.Code())
		})
	}
}

// F-23, OTP-13: a vendor takes every text, and never says so. It is handed three for a code on each channel, not one after the
// other for as long as the code lives; the budget of the day counts codes all the same. The code that came is good.
func TestFault_F23_OTP13_CostIsBoundedWhereNothingIsAnswered(t *testing.T) {
	t.Parallel()
	const codes, tries = 2, 3
	s, server := startTwilio(t, "GATEHOUSE_PHONE_BUDGET_PER_DAY", fmt.Sprint(codes), "GATEHOUSE_SEND_GAP", "10ms", "GATEHOUSE_PHONE_FAILOVER", "20s")
	for _, channel := range []string{"sms", "whatsapp"} {
		server.Always(channel, &twiliotest.Fault{Taken: true})
	}
	token, first, second := s.signUp(t, newEmail()), newNumber(t), newNumber(t)
	other := s.signUp(t, newEmail())
	s.sendPhoneCode(t, token, first)
	s.sendPhoneCode(t, other, second)
	s.refused(t, http.StatusTooManyRequests, "too_many_requests", call{Path: pathSendPhoneCode, Token: other, Body: fields{"phone_number": newNumber(t)}})
	testkit.Eventually(t, 2*repairPatience, func() bool {
		return s.db.number(t, `SELECT count(*) FROM messages WHERE channel IN ('sms', 'whatsapp') AND state = 'dead'`) == 2*codes
	}, "the codes to be given up")
	require.LessOrEqual(t, server.Requests(), 2*codes*tries, "an attempt whose time was over before it got there counts, too")
	require.Greater(t, server.Requests(), 2*codes, "one lost answer is not the end")
	s.want(t, http.StatusOK, phoneProof(token, first, awaitTaken(t, server, first, 1).Code()))
}
