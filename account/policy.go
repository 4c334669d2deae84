package account

import "time"

// Policy is every limit and lifetime of an account that operations and flows apply. It is read from the environment
// (prefix GATEHOUSE_) once at start; the defaults are those of docs/security.md.
type Policy struct {
	// Enumeration is "documented" (the answers the documents print) or "hidden" (constant answers, mail to the owner).
	Enumeration Enumeration `env:"ENUMERATION" envDefault:"documented"`

	// CodeTTL is how long a one-time code lives once the provider has accepted it, by the database clock.
	CodeTTL time.Duration `env:"CODE_TTL" envDefault:"10m"`
	// LinkTTL is how long the link beside a code lives.
	LinkTTL time.Duration `env:"LINK_TTL" envDefault:"24h"`
	// ResetTTL is how long the link of a password reset lives.
	ResetTTL time.Duration `env:"RESET_TTL" envDefault:"30m"`
	// CodeTries is how many guesses of one code are compared.
	CodeTries int `env:"CODE_TRIES" envDefault:"5"`
	// CodeTriesPerHour and CodeTriesPerDay bound the guesses per account (or address) and purpose.
	CodeTriesPerHour int `env:"CODE_TRIES_PER_HOUR" envDefault:"10"`
	CodeTriesPerDay  int `env:"CODE_TRIES_PER_DAY" envDefault:"20"`
	// GuessedPerAddress and GuessedPerNetwork are of how many different people a client address (IPv6: a /64) and a network
	// (/24, IPv6: /48) may guess codes wrong in an hour, times LimitScale. Beyond that it waits (security.md OTP-15).
	GuessedPerAddress int `env:"GUESSED_PER_ADDRESS" envDefault:"20"`
	GuessedPerNetwork int `env:"GUESSED_PER_NETWORK" envDefault:"100"`
	// GuessFailuresPerHour is how many guesses may fail in an hour, everywhere together. While more do, addresses and
	// networks may guess the codes of a tenth as many people.
	GuessFailuresPerHour int `env:"GUESS_FAILURES_PER_HOUR" envDefault:"1000"`
	// SendGap is the least time between two codes for one purpose and destination.
	SendGap time.Duration `env:"SEND_GAP" envDefault:"60s"`
	// SendsPerHour and SendsPerDay bound the codes per purpose and destination.
	SendsPerHour int `env:"SENDS_PER_HOUR" envDefault:"5"`
	SendsPerDay  int `env:"SENDS_PER_DAY" envDefault:"10"`
	// ProofLease is how long a proven code waits for its change before the same code may prove again.
	ProofLease time.Duration `env:"PROOF_LEASE" envDefault:"10s"`

	// SignupTTL is how long a sign-up waits for its code, counted from the last code asked for.
	SignupTTL time.Duration `env:"SIGNUP_TTL" envDefault:"30m"`
	// UnverifiedTTL is how long an account whose email is unproven exists (design D5).
	UnverifiedTTL time.Duration `env:"UNVERIFIED_TTL" envDefault:"168h"`

	// PhoneCountries are the countries whose numbers are taken, as ISO codes (DE) or calling codes (+49), with commas between.
	// Empty means every country.
	PhoneCountries []string `env:"PHONE_COUNTRIES"`
	// PhoneStrict refuses numbers that are in no numbering plan, such as the documents' own +1234567890.
	PhoneStrict bool `env:"PHONE_STRICT" envDefault:"false"`
	// PhoneFailover is how long one channel may take to accept a code before the next one is tried, doubling with each round.
	PhoneFailover time.Duration `env:"PHONE_FAILOVER" envDefault:"20s"`
	// PhoneSendsPerHour and PhoneSendsPerDay bound the codes that one account has sent to phones, whatever their numbers.
	PhoneSendsPerHour int `env:"PHONE_SENDS_PER_HOUR" envDefault:"10"`
	PhoneSendsPerDay  int `env:"PHONE_SENDS_PER_DAY" envDefault:"20"`
	// PhonePrefixPerHour and PhoneCountryPerHour bound the codes to one range of 10 000 numbers and to one country.
	PhonePrefixPerHour  int `env:"PHONE_PREFIX_PER_HOUR" envDefault:"50"`
	PhoneCountryPerHour int `env:"PHONE_COUNTRY_PER_HOUR" envDefault:"1000"`
	// PhoneBudgetPerDay bounds the codes to all phones together, in one day from the first of them: what an attack can
	// cost. A code may go out once on each channel.
	PhoneBudgetPerDay int `env:"PHONE_BUDGET_PER_DAY" envDefault:"5000"`

	// SessionTTL is the absolute life of a session.
	SessionTTL time.Duration `env:"SESSION_TTL" envDefault:"720h"`
	// ActivityGap is how exact the last activity of sessions and keys is: it is written once in this time.
	ActivityGap time.Duration `env:"ACTIVITY_GAP" envDefault:"1m"`
	// RefreshIdle is how long a refresh token waits for its use.
	RefreshIdle time.Duration `env:"REFRESH_IDLE" envDefault:"336h"`
	// RefreshGrace is how long a used refresh token still returns its successor, for clients that missed the answer.
	RefreshGrace time.Duration `env:"REFRESH_GRACE" envDefault:"10s"`
	// APIKeys is how many live API keys an account may have.
	APIKeys int `env:"API_KEYS" envDefault:"50"`
	// AccessTTL is the life of an access token that has a refresh token beside it.
	AccessTTL time.Duration `env:"ACCESS_TTL" envDefault:"10m"`

	// PendingTTL is how long a login waits for its second factor. One that waits for a mailed code has until the code dies.
	PendingTTL time.Duration `env:"PENDING_TTL" envDefault:"5m"`
	// PushTokenTTL is how long the push token of a device is kept that nobody has claimed (design D11).
	PushTokenTTL time.Duration `env:"PUSH_TOKEN_TTL" envDefault:"24h"`
	// DeviceTTL is how long a device is trusted, TrustedDevices how many an account may have: the one unused for longest
	// makes room.
	DeviceTTL      time.Duration `env:"DEVICE_TTL" envDefault:"720h"`
	TrustedDevices int           `env:"TRUSTED_DEVICES" envDefault:"20"`

	// StepUpAge is how long after an authentication a session may change sign-in methods (design D13).
	StepUpAge time.Duration `env:"STEP_UP_AGE" envDefault:"10m"`

	// MFASetupTTL is how long an authenticator app waits for its first code.
	MFASetupTTL time.Duration `env:"MFA_SETUP_TTL" envDefault:"10m"`
	// MFATries is how many wrong codes of the second factor an account takes in a row before it waits for MFALock.
	MFATries int           `env:"MFA_TRIES" envDefault:"5"`
	MFALock  time.Duration `env:"MFA_LOCK" envDefault:"15m"`
	// TOTPIssuer is the name under which authenticator apps show an account.
	TOTPIssuer string `env:"TOTP_ISSUER" envDefault:"Gatehouse"`

	// RecoveryAge is how long an address that took the place of another one resets no password: whoever got hold of a session
	// shall not get the account by it, once its owner was told at the former address (contract D23, C20).
	RecoveryAge time.Duration `env:"RECOVERY_AGE" envDefault:"24h"`
	// ContactAge is how long ago an email or a phone must have been proven for a code to it to guard the account, unless it was
	// proven before the session that asks was opened by the password, or is the address that the account began with (contract D06).
	ContactAge time.Duration `env:"CONTACT_AGE" envDefault:"24h"`

	// PaymentMethodsPerDay bounds the payment methods that one account may show in a day, good or not: nobody tries out stolen
	// cards here. 0 is no bound.
	PaymentMethodsPerDay int `env:"PAYMENT_METHODS_PER_DAY" envDefault:"20"`

	// ClosureGrace is how long a closed account can be opened again before it is erased (contract C01, conventions 17).
	ClosureGrace time.Duration `env:"CLOSURE_GRACE" envDefault:"168h"`

	// UsernameChanges is how often in UsernameChangePer a username may change; choosing the first one is free. UsernameHold is
	// how long a former username stays out of reach for others.
	UsernameChanges   int           `env:"USERNAME_CHANGES" envDefault:"1"`
	UsernameChangePer time.Duration `env:"USERNAME_CHANGE_PER" envDefault:"720h"`
	UsernameHold      time.Duration `env:"USERNAME_HOLD" envDefault:"2160h"`

	// WelcomeBonus is granted once to a proven account, WelcomeBonusReduced when its device fingerprint is known
	// (contract X17, conventions 20).
	WelcomeBonus        int64 `env:"WELCOME_BONUS" envDefault:"100"`
	WelcomeBonusReduced int64 `env:"WELCOME_BONUS_REDUCED" envDefault:"50"`

	// LoginFreeFailures is how many wrong passwords an account takes before it slows down, doubling from
	// one second to LoginMaxDelay.
	LoginFreeFailures int           `env:"LOGIN_FREE_FAILURES" envDefault:"5"`
	LoginMaxDelay     time.Duration `env:"LOGIN_MAX_DELAY" envDefault:"15m"`

	// GuessesLoseStepUp is after how many wrong passwords within one session it may no longer change sign-in methods,
	// GuessesEndSession after how many it ends (security.md SES-13).
	GuessesLoseStepUp int `env:"GUESSES_LOSE_STEP_UP" envDefault:"5"`
	GuessesEndSession int `env:"GUESSES_END_SESSION" envDefault:"10"`

	// LimitScale multiplies the limits per client address and network, and nothing else.
	LimitScale float64 `env:"LIMIT_SCALE" envDefault:"1"`
}

// BillingRules are the terms of subscriptions, read from the environment (prefix GATEHOUSE_SUBSCRIPTION_) once at start.
type BillingRules struct {
	// IncompleteTTL is how long a first payment may take.
	IncompleteTTL time.Duration `env:"INCOMPLETE_TTL" envDefault:"23h"`
	// Dunning is when a declined invoice is tried again, counted from its first decline.
	Dunning []time.Duration `env:"DUNNING" envDefault:"24h,72h,120h,168h"`
	// DunningEnd is "canceled" or "unpaid": what a subscription becomes when the last try was declined.
	DunningEnd SubscriptionStatus `env:"DUNNING_END" envDefault:"canceled"`
	// MinCharge is the least that a change of plan is charged, in the minor unit of its currency (50 cents); less is waived, and
	// the change comes at once all the same. Providers refuse charges of less: Stripe those under 50 US cents.
	MinCharge int64 `env:"MIN_CHARGE" envDefault:"50"`
	// PauseMax is how long a subscription may be paused; then it ends.
	PauseMax time.Duration `env:"PAUSE_MAX" envDefault:"8760h"`
	// JoinWindow is how long after its creation the same request for a subscription is answered with it, instead of refused.
	JoinWindow time.Duration `env:"JOIN_WINDOW" envDefault:"60s"`
	// LookUpAge is the age from which a charge of unknown outcome is looked up before it is asked for again. Providers
	// remember keys for a day. From then on a dearer plan that was not charged is not charged any more.
	LookUpAge time.Duration `env:"LOOK_UP_AGE" envDefault:"23h"`
}

// Enumeration is how much sign-up tells about existing accounts (design D10).
type Enumeration string

// The enumeration modes.
const (
	EnumerationDocumented Enumeration = "documented"
	EnumerationHidden     Enumeration = "hidden"
)

// Quota is an exact bound on one subject: at most Max hits in any window of length Per.
type Quota struct {
	Max int
	Per time.Duration
}

// SendQuotas bound the codes sent for one purpose to one destination.
func (p Policy) SendQuotas() []Quota {
	return []Quota{{1, p.SendGap}, {p.SendsPerHour, time.Hour}, {p.SendsPerDay, 24 * time.Hour}}
}

// DeviceCodeLife is how long a login waits for its code: accepted at the last moment, the code lives once more as long.
func (p Policy) DeviceCodeLife() time.Duration { return 2*p.CodeTTL + time.Minute }

// PhoneRules say which numbers are taken.
func (p Policy) PhoneRules() PhoneRules {
	return PhoneRules{Countries: p.PhoneCountries, Strict: p.PhoneStrict}
}

// PhoneQuotas bound the codes that one account has sent to phones.
func (p Policy) PhoneQuotas() []Quota {
	return []Quota{{p.PhoneSendsPerHour, time.Hour}, {p.PhoneSendsPerDay, 24 * time.Hour}}
}

// GuessQuotas bound the guesses of one subject and purpose.
func (p Policy) GuessQuotas() []Quota {
	return []Quota{{p.CodeTriesPerHour, time.Hour}, {p.CodeTriesPerDay, 24 * time.Hour}}
}

// UsernameQuota bounds the changes of a username.
func (p Policy) UsernameQuota() Quota { return Quota{p.UsernameChanges, p.UsernameChangePer} }

// RateLimit is a bound per client address (an IPv6 client counts as its /64), in fixed windows.
type RateLimit struct {
	Name   string
	Quotas []Quota
}

// The rate limits per client address, before Policy.LimitScale. Every route names one.
var (
	LimitLogin  = RateLimit{"login", []Quota{{20, time.Minute}, {100, time.Hour}}}
	LimitSignup = RateLimit{"signup", []Quota{{20, time.Hour}}}
	LimitSend   = RateLimit{"send", []Quota{{20, time.Hour}}}
	LimitVerify = RateLimit{"verify", []Quota{{30, time.Minute}, {200, time.Hour}}}
	// LimitCheck bounds questions about accounts of others (C04, C05).
	LimitCheck = RateLimit{"check", []Quota{{30, time.Minute}, {300, time.Hour}}}
	// LimitLookup bounds what anybody may ask of usernames and the people behind them (D10, D13, D14).
	LimitLookup = RateLimit{"lookup", []Quota{{120, time.Minute}, {2000, time.Hour}}}
	// LimitPush bounds the push tokens that strangers may leave (B24).
	LimitPush = RateLimit{"push", []Quota{{30, time.Minute}, {200, time.Hour}}}
	// LimitRead has no quotas: counting would cost a read more than the read itself.
	LimitRead  = RateLimit{"read", nil}
	LimitWrite = RateLimit{"write", []Quota{{120, time.Minute}}}
	// LimitService bounds what one service key does (C10, C11, C17, B17), from whatever addresses: a backend speaks for many people.
	LimitService = RateLimit{"service", []Quota{{1200, time.Minute}}}
)
