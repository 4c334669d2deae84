package api_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"hash/fnv"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/core"
)

const chromeOnMac = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"

var (
	accountID   = uuid.MustParse("550e8400-e29b-41d4-a716-446655440000")
	sessionID   = uuid.MustParse("6f1c0a52-9b0e-4f3e-8a54-0d6f4f0f2f0e")
	moment      = time.Date(2026, 5, 19, 10, 30, 45, 123_456_789, time.UTC)
	goodToken   = "good-token"
	goodKey     = "good-key"
	canaryEmail = "canary.7f3a@example.com"
)

// fakeCore stands for the operations: it records what reaches it and answers as it is told.
type fakeCore struct {
	mutex sync.Mutex
	calls []call
	// fails is what every operation returns.
	fails error
	// panics is what every operation panics with.
	panics any
	// blocks makes every operation wait for its deadline.
	blocks bool
	// stage is where every operation stands, begins what every request begins.
	stage  account.FlowStage
	begins string
	// entered and release hold operations under way.
	entered, release chan struct{}

	authFails  error
	limitFails error
	claimFails error
	principal  account.Principal
	// step and stepToken are what every login owes.
	step      account.SecondStep
	stepToken string
	addresses []netip.Addr
	shown     []core.Credential

	// spent are the nonces of assertions.
	spent   map[string]bool
	claimed map[string][]byte
	kept    map[string]core.Answer
	// released counts keys given back.
	released int
}

type call struct {
	operation string
	by        account.Caller
	in        any
}

func newFake() *fakeCore {
	return &fakeCore{principal: somebody(), claimed: map[string][]byte{}, kept: map[string]core.Answer{}}
}

// somebody has every optional field set; nobody of them is shared between tests.
func somebody() account.Principal {
	return account.Principal{
		Account: account.Account{
			ID: accountID, Email: new("user@example.com"), EmailVerified: true, Username: new("user123"), HasPassword: true,
			Active: true, Roles: []string{"user", account.RoleAdmin}, PrimaryProvider: "google",
			PhoneNumber: new("+1234567890"), CountryCode: new("US"), PhoneVerified: true, OnboardingDone: true,
			Profile: account.Profile{
				FullName: new("John Doe"), AvatarURL: new("https://cdn.example.com/a.png"), UserType: new("individual"),
				AudioUsage: new("creator"), ReferralSource: new("google_search"),
			},
			CreatedAt: moment, UpdatedAt: moment.Add(time.Hour),
		},
		Wallet: &account.Wallet{
			Credits: account.Credits{
				Balance: 1500, PayAsYouGo: 750, LastResetAt: moment, NextResetAt: moment.AddDate(0, 1, 0), TotalUsed: 3250,
				TotalPurchased: 750, DiscountEligible: true, DiscountActive: true,
				MultiplierByAction: map[string]float64{
					"default": 5.5, "speech_translation": 55, "translation": 27.5, "voice_cloning": 5.5, "voice_conversion": 16.5,
				},
			},
			Subscription: account.Entitlement{
				ID:     new("sub_1"),
				Plan:   account.Plan{ID: "price_1", Code: "starter", Name: "Starter", CreditsPerMonth: 2000},
				Status: "active", PeriodStart: moment, PeriodEnd: new(moment.AddDate(0, 2, 0)), CancelAt: new(moment.AddDate(0, 3, 0)),
			},
		},
		Session: &account.Session{
			ID: sessionID, AccountID: accountID, State: account.SessionActive, Method: "password", IP: "192.168.1.100",
			UserAgent: chromeOnMac, CreatedAt: moment, LastActiveAt: moment.Add(time.Minute), AuthTime: moment,
			ExpiresAt: moment.Add(30 * 24 * time.Hour),
		},
	}
}

func (f *fakeCore) record(ctx context.Context, operation string, by account.Caller, in any, required map[string]string) error {
	if f.begins != "" {
		by.Begin(f.begins)
	}
	by.Begun = nil // where the answer goes says nothing of the caller
	f.mutex.Lock()
	f.calls = append(f.calls, call{operation, by, in})
	f.mutex.Unlock()
	if f.entered != nil {
		f.entered <- struct{}{}
		<-f.release
	}
	if f.blocks {
		<-ctx.Done()
		return ctx.Err()
	}
	if f.panics != nil {
		panic(f.panics)
	}
	invalid := account.ErrInvalid
	for field, value := range required {
		if value == "" {
			invalid = invalid.On(field, "is required")
		}
	}
	if len(invalid.Fields) > 0 {
		return invalid
	}
	return f.fails
}

func (f *fakeCore) called() []call {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return append([]call(nil), f.calls...)
}

func (f *fakeCore) signIn() core.SignIn {
	p := f.principal
	if f.step != account.StepNone {
		pending := *p.Session
		pending.State, p.Session = account.SessionPending, &pending
	}
	return core.SignIn{
		Principal: p, AccessToken: "access", RefreshToken: "refresh", ExpiresAt: moment.Add(10 * time.Minute),
		SecondStep: f.step, StepToken: f.stepToken,
	}
}

func (f *fakeCore) InitiateSignup(
	ctx context.Context, by account.Caller, in core.InitiateSignupInput,
) (core.SignupPending, error) {
	err := f.record(ctx, "InitiateSignup", by, in, map[string]string{"email": in.Email, "password": in.Password})
	return core.SignupPending{Email: in.Email, ExpiresIn: 10 * time.Minute}, err
}

func (f *fakeCore) CompleteSignup(ctx context.Context, by account.Caller, in core.CompleteSignupInput) (core.SignIn, error) {
	err := f.record(ctx, "CompleteSignup", by, in, map[string]string{"email": in.Email, "code": in.Code})
	return f.signIn(), err
}

func (f *fakeCore) ResendCode(ctx context.Context, by account.Caller, in core.ResendCodeInput) (core.None, error) {
	return core.None{}, f.record(ctx, "ResendCode", by, in, map[string]string{"email": in.Email})
}

func (f *fakeCore) VerifyCode(ctx context.Context, by account.Caller, in core.VerifyCodeInput) (core.CodeVerified, error) {
	err := f.record(ctx, "VerifyCode", by, in, map[string]string{"email": in.Email, "code": in.Code})
	return core.CodeVerified{CreditsAwarded: 100}, err
}

func (f *fakeCore) SendPhoneCode(
	ctx context.Context, by account.Caller, in core.SendPhoneCodeInput,
) (core.PhonePending, error) {
	err := f.record(ctx, "SendPhoneCode", by, in, map[string]string{"phone_number": in.PhoneNumber})
	return core.PhonePending{ExpiresIn: 10 * time.Minute}, err
}

func (f *fakeCore) VerifyPhone(ctx context.Context, by account.Caller, in core.VerifyPhoneInput) (core.None, error) {
	return core.None{}, f.record(ctx, "VerifyPhone", by, in, map[string]string{"phone_number": in.PhoneNumber, "otp_code": in.Code})
}

func (f *fakeCore) Register(ctx context.Context, by account.Caller, in core.RegisterInput) (core.Registered, error) {
	err := f.record(ctx, "Register", by, in, map[string]string{
		"username": in.Username, "email": in.Email, "password": in.Password,
	})
	return core.Registered{AccountID: accountID, Username: in.Username, Email: in.Email, Token: "access"}, err
}

func (f *fakeCore) ConfirmEmail(ctx context.Context, by account.Caller, in core.ConfirmEmailInput) (core.None, error) {
	return core.None{}, f.record(ctx, "ConfirmEmail", by, in, map[string]string{"token": in.Token})
}

func (f *fakeCore) Login(ctx context.Context, by account.Caller, in core.LoginInput) (core.SignIn, error) {
	err := f.record(ctx, "Login", by, in, map[string]string{in.IdentifierField: in.Identifier, "password": in.Password})
	return f.signIn(), err
}

func (f *fakeCore) Me(ctx context.Context, by account.Caller, in core.None) (account.Principal, error) {
	return f.principal, f.record(ctx, "Me", by, in, nil)
}

func (f *fakeCore) ChangeProfile(ctx context.Context, by account.Caller, in core.ChangeProfileInput) (account.Principal, error) {
	return f.principal, f.record(ctx, "ChangeProfile", by, in, nil)
}

func (f *fakeCore) UpdateProfile(ctx context.Context, by account.Caller, in core.UpdateProfileInput) (account.Principal, error) {
	return f.principal, f.record(ctx, "UpdateProfile", by, in, nil)
}

func (f *fakeCore) RecordOnboarding(ctx context.Context, by account.Caller, in core.RecordOnboardingInput) (core.None, error) {
	return core.None{}, f.record(ctx, "RecordOnboarding", by, in, map[string]string{"event": in.Event})
}

func (f *fakeCore) WelcomeStatus(ctx context.Context, by account.Caller, in core.None) (account.Welcome, error) {
	return account.Welcome{Reduced: true, Full: 100, Received: 50, Siblings: 2, Unlockable: true},
		f.record(ctx, "WelcomeStatus", by, in, nil)
}

func (f *fakeCore) MarkWelcomeShown(ctx context.Context, by account.Caller, in core.None) (core.None, error) {
	return core.None{}, f.record(ctx, "MarkWelcomeShown", by, in, nil)
}

func (f *fakeCore) UnlockWelcome(ctx context.Context, by account.Caller, in core.None) (core.Unlocked, error) {
	err := f.record(ctx, "UnlockWelcome", by, in, nil)
	return core.Unlocked{Granted: 50, Welcome: account.Welcome{Reduced: true, Full: 100, Received: 100}}, err
}

func (f *fakeCore) Logout(ctx context.Context, by account.Caller, in core.None) (core.None, error) {
	return core.None{}, f.record(ctx, "Logout", by, in, nil)
}

func (f *fakeCore) Operation(ctx context.Context, by account.Caller, in core.OperationInput) (core.Operation, error) {
	err := f.record(ctx, "Operation", by, in, nil)
	return core.Operation{
		ID: sessionID.String(), Kind: account.FlowSignup, Stage: f.stage, AttemptsLeft: 5, ExpiresAt: new(moment),
		Deliveries: []core.Delivery{{Channel: "email", State: "queued", Attempts: 2, NextRetryAt: new(moment)}},
	}, err
}

func (f *fakeCore) DevInbox(ctx context.Context, by account.Caller, in core.DevInboxInput) ([]core.InboxMessage, error) {
	err := f.record(ctx, "DevInbox", by, in, nil)
	return []core.InboxMessage{{
		ID: "1", Channel: "email", To: in.To, Subject: "Your code", Text: "<123456>", Code: "123456", CreatedAt: moment,
	}}, err
}

func (f *fakeCore) Authenticate(_ context.Context, shown core.Credential) (account.Principal, error) {
	f.mutex.Lock()
	f.shown = append(f.shown, shown)
	f.mutex.Unlock()
	switch {
	case f.authFails != nil:
		return account.Principal{}, f.authFails
	case shown.Bearer != "" && shown.APIKey != "":
		return account.Principal{}, account.ErrAmbiguousCredentials
	case shown.Bearer == goodToken, shown.AllowKeys && (shown.APIKey == goodKey || shown.Bearer == goodKey):
		p := f.principal
		if !shown.Wallet {
			p.Wallet = nil
		}
		return p, nil
	}
	return account.Principal{}, account.ErrUnauthorized
}

func (f *fakeCore) Allow(_ context.Context, _ account.RateLimit, by account.Caller) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.addresses = append(f.addresses, by.IP)
	return f.limitFails
}

func (f *fakeCore) HashKey(parts ...string) string {
	h := fnv.New128a()
	h.Write([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(h.Sum(nil))
}

func (f *fakeCore) ClaimKey(_ context.Context, key string, requestHash []byte) (core.Claim, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.claimFails != nil {
		return core.Claim{}, f.claimFails
	}
	if earlier, ok := f.claimed[key]; ok && !bytes.Equal(earlier, requestHash) {
		return core.Claim{}, account.ErrIdempotencyKeyReused
	}
	if answer, ok := f.kept[key]; ok {
		return core.Claim{Answer: &answer}, nil
	}
	if _, open := f.claimed[key]; open {
		return core.Claim{}, account.ErrIdempotencyKeyInUse
	}
	f.claimed[key] = requestHash
	return core.Claim{}, nil
}

func (f *fakeCore) KeepAnswer(ctx context.Context, key string, _ uuid.UUID, answer core.Answer) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.kept[key] = answer
	return ctx.Err()
}

func (f *fakeCore) ReleaseKey(ctx context.Context, key string, _ uuid.UUID) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	delete(f.claimed, key)
	f.released++
	return ctx.Err()
}

func (f *fakeCore) PublicKeys() []byte { return []byte(`{"keys":[]}`) }
