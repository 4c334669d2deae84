package core

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/store"
)

// operations is a world in which ann asks for what she has begun, and bob and a stranger for the same.
type operations struct {
	world
	ann, bob account.Caller
}

func newOperations(t *testing.T) operations {
	t.Helper()
	w, ann := linkWorld(t)
	w.Policy.Enumeration = account.EnumerationDocumented
	w.Policy.LinkTTL, w.Policy.ResetTTL, w.Policy.SignupTTL, w.Policy.ClosureGrace = 24*time.Hour, 30*time.Minute, 30*time.Minute, 7*24*time.Hour
	w.Policy.PendingTTL = 10 * time.Minute
	w.member(t, "bob@example.com")
	_, bob := w.login(t, "bob@example.com")
	return operations{w, ann, bob}
}

func (o operations) look(t *testing.T, by account.Caller, id string) Operation {
	t.Helper()
	out, err := o.Operation(t.Context(), by, OperationInput{ID: id})
	require.NoError(t, err)
	require.Equal(t, id, out.ID)
	return out
}

func (o operations) requireHidden(t *testing.T, id string, from ...account.Caller) {
	t.Helper()
	for _, by := range from {
		_, err := o.Operation(t.Context(), by, OperationInput{ID: id})
		require.ErrorIs(t, err, account.ErrNotFound)
	}
}

// challenge is one of ann's, and its guess.
func (o operations) challenge(t *testing.T, id uuid.UUID, purpose account.Purpose, to string) store.Guess {
	t.Helper()
	owner := o.ann.Principal.Account.ID
	subject := o.Keys.Subject(string(purpose), id.String())
	_, err := o.Store.IssueChallenge(t.Context(), store.NewChallenge{
		ID: id, Purpose: purpose, Subject: subject, AccountID: &owner, Channel: account.ChannelEmail, Destination: to,
		CodeTTL: o.Policy.CodeTTL,
	})
	require.NoError(t, err)
	_, err = o.Store.StoreCode(t.Context(), id, []byte("code"), nil)
	require.NoError(t, err)
	return store.Guess{Purpose: purpose, Subject: subject, Tries: 5, Lease: time.Minute}
}

// message is one that the provider puts off.
func (o operations) message(t *testing.T, flow, step, template string, channel account.Channel) {
	t.Helper()
	id, _, err := o.Store.BeginMessage(t.Context(), store.NewMessage{
		Flow: flow, Step: step, Template: template, Channel: channel, Destination: "ann@example.com", AccountID: o.ann.Principal.Account.ID,
	})
	require.NoError(t, err)
	require.NoError(t, o.Store.MessageDelayed(t.Context(), id, "451", time.Minute))
}

func TestOperation_CodesOfAnAccountAreItsOwners(t *testing.T) {
	t.Parallel()
	o := newOperations(t)
	owner := o.ann.Principal.Account.ID
	for purpose, want := range map[account.Purpose]struct {
		kind account.FlowKind
		flow string
	}{
		account.PurposePhone:          {account.FlowPhone, phoneFlow(owner)},
		account.PurposePasswordChange: {account.FlowPassword, passwordChangeFlow(owner)},
	} {
		id := uuid.New()
		guess := o.challenge(t, id, purpose, "ann@example.com")
		o.message(t, want.flow, "code/"+id.String()+"/sms", "phone_code", account.ChannelSMS)
		o.message(t, want.flow, "code/"+uuid.NewString(), "phone_code", account.ChannelSMS)
		_, err := o.Store.CountGuess(t.Context(), guess)
		require.NoError(t, err)

		got := o.look(t, o.ann, id.String())
		require.Equal(t, want.kind, got.Kind)
		require.Equal(t, account.StageAwaitingProof, got.Stage)
		require.Equal(t, 4, got.AttemptsLeft)
		require.WithinDuration(t, time.Now().Add(o.Policy.CodeTTL), *got.ExpiresAt, time.Minute)
		require.Len(t, got.Deliveries, 1, "those of this code alone")
		require.Equal(t, "queued", got.Deliveries[0].State)
		require.Equal(t, 1, got.Deliveries[0].Attempts)
		require.WithinDuration(t, time.Now().Add(time.Minute), *got.Deliveries[0].NextRetryAt, 30*time.Second)
		o.requireHidden(t, id.String(), o.bob, client)

		next := uuid.New()
		require.NoError(t, o.Store.Prove(t.Context(), id, guess, store.Proof{}))
		_, err = o.Store.IssueChallenge(t.Context(), store.NewChallenge{
			ID: next, Purpose: purpose, Subject: guess.Subject, AccountID: &owner, Channel: account.ChannelEmail, Destination: "x", CodeTTL: time.Hour,
		})
		require.NoError(t, err)
		got = o.look(t, o.ann, id.String())
		require.Equal(t, account.StageExpired, got.Stage, "a newer code has taken its place")
		require.Nil(t, got.ExpiresAt)
		require.Zero(t, got.AttemptsLeft)
	}
}

func TestOperation_PhoneBeforeAndAfter(t *testing.T) {
	t.Parallel()
	o := newOperations(t)
	id, owner := uuid.New(), o.ann.Principal.Account.ID
	require.NoError(t, o.Store.ParkPhone(t.Context(), store.PhoneAttempt{ID: id, AccountID: owner, Number: "+4915112345678"}, nil, nil))
	require.Equal(t, account.StagePending, o.look(t, o.ann, id.String()).Stage)
	o.requireHidden(t, id.String(), o.bob, client)
	guess := o.challenge(t, id, account.PurposePhone, "+4915112345678")
	require.NoError(t, o.Store.Prove(t.Context(), id, guess, store.Proof{}))
	_, err := o.Store.BindPhone(t.Context(), id, activities.PhoneNotice(uuid.Nil, id))
	require.NoError(t, err)
	got := o.look(t, o.ann, id.String())
	require.Equal(t, account.StageCompleted, got.Stage)
	require.Equal(t, account.FlowPhone, got.Kind)
	require.Nil(t, got.ExpiresAt)
}

func TestOperation_EmailChanges(t *testing.T) {
	t.Parallel()
	o := newOperations(t)
	owner := o.ann.Principal.Account.ID
	for _, c := range []struct {
		linking bool
		purpose account.Purpose
		kind    account.FlowKind
		flow    string
	}{
		{false, account.PurposeEmailChange, account.FlowEmailChange, emailChangeFlow(owner)},
		{true, account.PurposeEmailLink, account.FlowEmailLink, emailLinkFlow(owner)},
	} {
		id := uuid.New()
		change := account.EmailChange{ID: id, AccountID: owner, NewEmail: uuid.NewString() + "@example.com", Linking: c.linking}
		require.NoError(t, o.Store.OpenEmailChange(t.Context(), change, time.Hour))
		got := o.look(t, o.ann, id.String())
		require.Equal(t, c.kind, got.Kind)
		require.Equal(t, account.StagePending, got.Stage, "no worker has come to it")
		o.requireHidden(t, id.String(), o.bob, client)

		guess := o.challenge(t, id, c.purpose, change.NewEmail)
		o.message(t, c.flow, "code/"+id.String(), "change_email", account.ChannelEmail)
		got = o.look(t, o.ann, id.String())
		require.Equal(t, account.StageAwaitingProof, got.Stage)
		require.Equal(t, 5, got.AttemptsLeft)
		require.Len(t, got.Deliveries, 1)

		require.NoError(t, o.Store.Prove(t.Context(), id, guess, store.Proof{}))
		_, err := o.Store.ChangeEmail(t.Context(), id, activities.EmailChangeNotice(uuid.Nil, id), o.Policy.ClosureGrace)
		require.NoError(t, err)
		require.Equal(t, account.StageCompleted, o.look(t, o.ann, id.String()).Stage)
		o.message(t, c.flow, "email_changed/new/"+id.String(), "email_changed", account.ChannelEmail)
		require.NoError(t, o.Store.ForgetEmailChange(t.Context(), id))
		got = o.look(t, o.ann, id.String())
		require.Equal(t, account.StageCompleted, got.Stage, "also once it is forgotten")
		require.Equal(t, c.kind, got.Kind)
		require.Len(t, got.Deliveries, 2)
		o.requireHidden(t, id.String(), o.bob, client)

		late := uuid.New()
		o.message(t, c.flow, "code/"+late.String(), "change_email", account.ChannelEmail)
		require.Equal(t, account.StageExpired, o.look(t, o.ann, late.String()).Stage, "forgotten without a change")
	}
}

// Nobody learns from an operation whether the address that they asked for is taken.
func TestOperation_HiddenTakenAddressLooksAsAnyOther(t *testing.T) {
	t.Parallel()
	o := newOperations(t)
	o.Policy.Enumeration = account.EnumerationHidden
	owner := o.ann.Principal.Account.ID
	var seen []Operation
	for _, taken := range []bool{false, true} {
		id := uuid.New()
		require.NoError(t, o.Store.OpenEmailChange(t.Context(), account.EmailChange{
			ID: id, AccountID: owner, NewEmail: uuid.NewString() + "@example.com", Taken: taken,
		}, time.Hour))
		template := "signup_exists"
		if !taken {
			template = "change_email"
			guess := o.challenge(t, id, account.PurposeEmailChange, "next@example.com")
			_, err := o.Store.CountGuess(t.Context(), guess)
			require.NoError(t, err)
		}
		o.message(t, emailChangeFlow(owner), template+"/"+id.String(), template, account.ChannelEmail)
		got := o.look(t, o.ann, id.String())
		got.ID, got.ExpiresAt, got.Deliveries[0].NextRetryAt = "", nil, nil
		seen = append(seen, got)
	}
	require.Equal(t, seen[0], seen[1])
}

func TestOperation_LoginIsItsOwn(t *testing.T) {
	t.Parallel()
	o := newOperations(t)
	session := o.ann.Principal.Session.ID
	o.requireHidden(t, session.String(), o.ann, o.bob, client)
	o.challenge(t, session, account.PurposeDevice, "ann@example.com")
	o.message(t, deviceFlow(session), "code/"+session.String(), "device_code", account.ChannelEmail)

	pending := o.ann
	principal, state := *o.ann.Principal, *o.ann.Principal.Session
	state.State = account.SessionPending
	principal.Session = &state
	pending.Principal = &principal
	for _, by := range []account.Caller{pending, o.ann} {
		got := o.look(t, by, session.String())
		require.Equal(t, account.FlowDevice, got.Kind)
		require.Equal(t, account.StageAwaitingProof, got.Stage)
		require.Equal(t, 5, got.AttemptsLeft)
		require.Len(t, got.Deliveries, 1)
	}
	o.requireHidden(t, session.String(), o.bob, client)

	code := uuid.New()
	o.challenge(t, code, account.PurposePasswordChange, "ann@example.com")
	o.requireHidden(t, code.String(), pending)
	another := state
	another.ID = uuid.New()
	principal.Session = &another
	o.requireHidden(t, session.String(), pending)
}

func TestOperation_Links(t *testing.T) {
	t.Parallel()
	o := newOperations(t)
	by, owner := o.ann, o.ann.Principal.Account.ID
	id := o.operationID(by, account.FlowProviderLink)
	got := o.look(t, o.ann, id.String())
	require.Equal(t, account.FlowProviderLink, got.Kind)
	require.Equal(t, account.StagePending, got.Stage)
	o.requireHidden(t, id.String(), o.bob, client)
	_, err := o.Store.OpenProviderLink(t.Context(), store.NewProviderLink{
		ID: id, AccountID: owner, Starter: by.Principal.Session.ID, Provider: account.ProviderGitHub, StateHash: []byte("state"), TTL: time.Hour,
	})
	require.NoError(t, err)
	require.Equal(t, account.StageAwaitingProvider, o.look(t, o.ann, id.String()).Stage)
	o.requireHidden(t, id.String(), o.bob, client)
	_, err = o.Store.ClaimProviderLink(t.Context(), store.ProviderClaim{
		StateHash: []byte("state"), Lease: time.Minute, Link: account.LinkedProvider{Provider: account.ProviderGitHub, Subject: "17"},
	})
	require.NoError(t, err)
	require.NoError(t, o.Store.FinishProviderLink(t.Context(), id, activities.ProviderLinkNotice(uuid.Nil, id)))
	o.message(t, o.linkFlow(id), "linked", "provider_linked", account.ChannelEmail)
	got = o.look(t, o.ann, id.String())
	require.Equal(t, account.StageCompleted, got.Stage)
	require.Len(t, got.Deliveries, 1)

	gone := o.operationID(by, account.FlowProviderLink)
	o.clock.ahead = o.Policy.CodeTTL + time.Minute
	require.Equal(t, account.StageExpired, o.look(t, o.ann, gone.String()).Stage, "nobody came back, and nothing is left")
}

func TestOperation_ClosureIsItsHolders(t *testing.T) {
	t.Parallel()
	o := newOperations(t)
	by, owner := o.ann, o.ann.Principal.Account.ID
	by.IdempotencyKey = "a key"
	id := o.operationID(by, account.FlowClosure)
	require.Equal(t, id, o.operationID(by, account.FlowClosure), "a repetition joins")
	require.Equal(t, account.StagePending, o.look(t, client, id.String()).Stage)
	until, err := o.Store.CloseAccount(t.Context(), store.NewClosure{ID: id, AccountID: owner, Grace: time.Hour, TokenHash: []byte("t")})
	require.NoError(t, err)
	o.message(t, o.closureFlow(owner), "account_closed/"+id.String(), "account_closed", account.ChannelEmail)
	got := o.look(t, client, id.String())
	require.Equal(t, account.FlowClosure, got.Kind)
	require.Equal(t, account.StageGrace, got.Stage)
	require.Equal(t, until, *got.ExpiresAt)
	require.Equal(t, until, *got.NextActionAt)
	require.Len(t, got.Deliveries, 1)
	o.requireHidden(t, uuid.NewString(), client, o.bob)

	require.NoError(t, o.Store.ReopenAccount(t.Context(), store.Undo{ClosureID: id}))
	got = o.look(t, client, id.String())
	require.Equal(t, account.StageUndone, got.Stage)
	require.Nil(t, got.NextActionAt)
}

// Whoever asks for a reset, or in hidden mode for an account, learns the time and nothing else.
func TestOperation_BlindOnes(t *testing.T) {
	t.Parallel()
	o := newOperations(t)
	for kind, life := range map[account.FlowKind]time.Duration{
		account.FlowPassword: o.Policy.ResetTTL, account.FlowSignup: o.Policy.SignupTTL,
	} {
		o.clock.ahead = 0
		id := o.blindOperation(kind)
		for _, by := range []account.Caller{client, o.ann, o.bob} {
			o.clock.ahead = 0
			got := o.look(t, by, id)
			require.WithinDuration(t, time.Now().Add(life), *got.ExpiresAt, time.Minute)
			got.ExpiresAt = nil
			require.Equal(t, Operation{ID: id, Kind: kind, Stage: account.StageAwaitingProof}, got)
			o.clock.ahead = life + time.Second
			require.Equal(t, Operation{ID: id, Kind: kind, Stage: account.StageExpired}, o.look(t, by, id))
		}
	}
	o.clock.ahead = 0
	attempt, _, err := o.Store.OpenSignup(t.Context(), account.SignupAttempt{
		ID: uuid.New(), Kind: account.SignupByCode, Email: "new@example.com", PasswordHash: "hash",
	}, time.Hour)
	require.NoError(t, err)
	require.Equal(t, attempt.ID.String(), o.signupOperationID(attempt.ID))
	require.Equal(t, account.StagePending, o.look(t, client, attempt.ID.String()).Stage)
	o.Policy.Enumeration = account.EnumerationHidden
	require.NotEqual(t, attempt.ID.String(), o.signupOperationID(attempt.ID))
	o.requireHidden(t, attempt.ID.String(), client, o.bob)
}

func TestOperation_Subscriptions(t *testing.T) {
	t.Parallel()
	o := newOperations(t)
	owner := o.ann.Principal.Account.ID
	plans, err := o.Store.Plans(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, plans)
	id := o.subscriptionID(owner, plans[0].Family, 1)
	got := o.look(t, o.ann, id)
	require.Equal(t, Operation{ID: id, Kind: account.FlowSubscription, Stage: account.StagePending}, got, "asked for, not begun")
	o.requireHidden(t, id, o.bob, client)
	o.requireHidden(t, "sub_unknown", o.ann, client)
	o.requireHidden(t, "nonsense", o.ann, client)
}

// What begins an operation says which, whatever becomes of it: nobody answers here where Temporal should be.
func TestOperation_IsNamedByWhatBeginsIt(t *testing.T) {
	t.Parallel()
	o := newOperations(t)
	begun := func(by account.Caller, ask func(by account.Caller) error) string {
		by.Begun = &account.Begun{}
		require.Equal(t, account.Unavailable, account.AsError(ask(by)).Kind)
		return by.Begun.Operation
	}
	id := begun(o.ann, func(by account.Caller) error {
		_, err := o.UpdateProfile(t.Context(), by, UpdateProfileInput{Email: new("next@example.com")})
		return err
	})
	require.Equal(t, account.FlowEmailChange, o.look(t, o.ann, id).Kind)
	for _, email := range []string{"ann@example.com", "nobody@example.com"} {
		id = begun(client, func(by account.Caller) error {
			_, err := o.ForgotPassword(t.Context(), by, ForgotPasswordInput{Email: email})
			return err
		})
		require.Equal(t, account.FlowPassword, o.look(t, client, id).Kind)
	}
	id = begun(o.ann, func(by account.Caller) error {
		_, err := o.CloseAccount(t.Context(), by, CloseAccountInput{Password: ownPassword})
		return err
	})
	require.Equal(t, account.FlowClosure, o.look(t, client, id).Kind)
	id = begun(client, func(by account.Caller) error {
		_, err := o.InitiateSignup(t.Context(), by, InitiateSignupInput{Email: "new@example.com", Password: ownPassword})
		return err
	})
	require.Equal(t, account.FlowSignup, o.look(t, client, id).Kind)
}

// The repetition of a registration that was told to wait names its operation, too, once the account is there.
func TestOperation_OfARegistrationThatIsDone(t *testing.T) {
	t.Parallel()
	o := newOperations(t)
	by := client
	by.IdempotencyKey, by.Begun = "key", &account.Begun{}
	attempt, _, err := o.Store.OpenSignup(t.Context(), account.SignupAttempt{
		ID: challengeID(by), Kind: account.SignupByRegister, Email: "new@example.com", PasswordHash: "hash",
	}, time.Hour)
	require.NoError(t, err)
	_, err = o.Store.Register(t.Context(), store.Registration{Attempt: attempt.ID, SessionTTL: time.Hour})
	require.NoError(t, err)
	in := RegisterInput{Username: "new@example.com", Email: "new@example.com", Password: ownPassword}
	_, err = o.Register(t.Context(), by, in)
	require.NoError(t, err)
	require.Equal(t, attempt.ID.String(), by.Begun.Operation)
}
