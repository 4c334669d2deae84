// Package config reads every setting of Gatehouse from the environment, once, typed and validated. Nothing else reads
// the environment. `gatehouse config` prints this table.
package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"gatehouse/account"
)

// Environment is where the process runs. Production refuses what only suits a developer's machine.
type Environment string

// The environments.
const (
	Development Environment = "development"
	Production  Environment = "production"
)

// Config holds the settings. All are prefixed GATEHOUSE_ but DATABASE_URL and TEMPORAL_ADDRESS.
type Config struct {
	// Environment is development or production.
	Environment Environment `env:"GATEHOUSE_ENVIRONMENT" envDefault:"development"`
	// DatabaseURL is the Postgres connection string.
	DatabaseURL string `env:"DATABASE_URL"`
	// DatabasePool is the most connections a process holds.
	DatabasePool int `env:"GATEHOUSE_DATABASE_POOL" envDefault:"16"`
	// TemporalAddress is host:port of the Temporal frontend.
	TemporalAddress string `env:"TEMPORAL_ADDRESS" envDefault:"127.0.0.1:7233"`
	// TemporalNamespace holds our workflows.
	TemporalNamespace string `env:"GATEHOUSE_TEMPORAL_NAMESPACE" envDefault:"gatehouse"`
	// Temporal secures the connection to it.
	Temporal Temporal `envPrefix:"GATEHOUSE_TEMPORAL_"`
	// TemporalUIURL is the address of the Temporal UI, used in links and as the only origin the codec endpoint serves.
	TemporalUIURL string `env:"GATEHOUSE_TEMPORAL_UI_URL" envDefault:"http://localhost:8233"`

	// APIAddr is where the public API listens.
	APIAddr string `env:"GATEHOUSE_API_ADDR" envDefault:"127.0.0.1:8080"`
	// OpsAddr is where health, metrics and the codec listen. Never expose it.
	OpsAddr string `env:"GATEHOUSE_OPS_ADDR" envDefault:"127.0.0.1:9090"`
	// WorkerOpsAddr is the same for a worker process; empty means none.
	WorkerOpsAddr string `env:"GATEHOUSE_WORKER_OPS_ADDR"`
	// BaseURL is how clients reach the API; links in messages are built from it and never from a request.
	BaseURL string `env:"GATEHOUSE_BASE_URL" envDefault:"http://localhost:8080"`
	// ConfirmURL is the page that a confirmation mail links to, "?token=" is appended, and where it confirms the new address of an
	// account that exists "for=email_change", which the page must tell its reader. Empty means BaseURL/confirm-email.
	ConfirmURL string `env:"GATEHOUSE_CONFIRM_URL"`
	// ResetURL is the page that a password reset mail links to, "?token=" is appended. Empty means BaseURL/reset-password.
	ResetURL string `env:"GATEHOUSE_RESET_URL"`
	// LinkRedirectURL is your page to which a provider sends people back who link an account there. Empty means
	// BaseURL/link-account.
	LinkRedirectURL string `env:"GATEHOUSE_LINK_REDIRECT_URL"`
	// RequireAssertion wants requests of service keys to be signed by X-Assertion, and lets no session or API key finish a
	// link by itself (C10, C11); production always does.
	RequireAssertion bool `env:"GATEHOUSE_REQUIRE_ASSERTION" envDefault:"false"`
	// ClosureUndoURL is the page that the mail about a closed account links to, "?token=" is appended. Empty means
	// BaseURL/undo-closure.
	ClosureUndoURL string `env:"GATEHOUSE_CLOSURE_UNDO_URL"`
	// AllowedOrigins may call the API from a browser (CORS). Empty means none.
	AllowedOrigins []string `env:"GATEHOUSE_ALLOWED_ORIGINS"`
	// TrustedProxies are the networks whose X-Forwarded-For is believed, e.g. 10.0.0.0/8. Empty means none.
	TrustedProxies []netip.Prefix `env:"GATEHOUSE_TRUSTED_PROXIES"`

	// RequestTimeout is the deadline of every request, FlowTimeout that of every call to Temporal within one.
	RequestTimeout time.Duration `env:"GATEHOUSE_REQUEST_TIMEOUT" envDefault:"5s"`
	FlowTimeout    time.Duration `env:"GATEHOUSE_FLOW_TIMEOUT" envDefault:"3s"`
	// ShutdownTimeout is how long requests and activities may finish after SIGTERM.
	ShutdownTimeout time.Duration `env:"GATEHOUSE_SHUTDOWN_TIMEOUT" envDefault:"20s"`

	// DrainDelay is how long a process that was told to stop goes on taking requests while its /readyz says 503, so that a load
	// balancer hears of it first: the period of its checks, times how many must fail. 0 suits one that retries.
	DrainDelay time.Duration `env:"GATEHOUSE_DRAIN_DELAY" envDefault:"0s"`

	// APIGCPercent is Go's GOGC of an API: by how much its heap may grow between two collections. A hash of a password takes 19 MiB
	// and leaves them behind; at Go's 100 every other one has the collector look through all that is in use.
	APIGCPercent int `env:"GATEHOUSE_API_GC_PERCENT" envDefault:"200"`
	// WorkerGCPercent is that of a worker, whose collector finds time while it waits for tasks.
	WorkerGCPercent int `env:"GATEHOUSE_WORKER_GC_PERCENT" envDefault:"40"`
	// WorkerBuildID names the code of a worker process to Temporal, which gives it no work until `gatehouse worker promote`. Empty
	// means unversioned: any worker takes any work.
	WorkerBuildID string `env:"GATEHOUSE_WORKER_BUILD_ID"`
	// WorkerDeployment groups the builds of which one is current.
	WorkerDeployment string `env:"GATEHOUSE_WORKER_DEPLOYMENT" envDefault:"gatehouse"`
	// WorkerPollers is how many polls of each kind a worker keeps open at Temporal for each queue. 0 lets it follow the load.
	WorkerPollers int `env:"GATEHOUSE_WORKER_POLLERS" envDefault:"0"`
	// WorkerCachedFlows is how many flows a worker keeps in memory between their steps. One that is not kept is replayed from
	// its history at its next step.
	WorkerCachedFlows int `env:"GATEHOUSE_WORKER_CACHED_FLOWS" envDefault:"1000"`
	// HeldChanges are changes of flows (ids of GetVersion, or durable.ChangeBarePayloads) that this build knows and does not begin
	// yet, with commas between: set while workers of an older build may get the same flows.
	HeldChanges []string `env:"GATEHOUSE_HELD_CHANGES"`

	// SecretKey is 32 bytes in base64; every hash and derived key comes from it.
	SecretKey string `env:"GATEHOUSE_SECRET_KEY"`
	// SigningKey is the Ed25519 seed in base64 that signs access tokens. Behind it, with commas between, may stand others
	// whose tokens are good and which are published, too: one that will sign next, or did before.
	SigningKey string `env:"GATEHOUSE_SIGNING_KEY"`
	// CodecKeys is the Tink AEAD keyset in base64 that encrypts Temporal payloads and stored answers; its primary key encrypts.
	CodecKeys string `env:"GATEHOUSE_CODEC_KEYS"`
	// Codec is the endpoint at which the Temporal UI has payloads decrypted.
	Codec Codec `envPrefix:"GATEHOUSE_CODEC_"`

	// HashSlots is how many passwords are hashed at once (0 = cores), HashQueue how many wait, HashWait how long.
	HashSlots int           `env:"GATEHOUSE_HASH_SLOTS" envDefault:"0"`
	HashQueue int           `env:"GATEHOUSE_HASH_QUEUE" envDefault:"64"`
	HashWait  time.Duration `env:"GATEHOUSE_HASH_WAIT" envDefault:"2s"`

	// GeoIPDB is a MaxMind database file (GeoLite2 City or Country) that tells where logins came from. Empty means that
	// no places are shown.
	GeoIPDB string `env:"GATEHOUSE_GEOIP_DB"`

	// SampleEvery is how often one of the workers looks at what waits, for the metrics: flows by stage, messages, renewals.
	SampleEvery time.Duration `env:"GATEHOUSE_SAMPLE_EVERY" envDefault:"30s"`

	// Trace is where OpenTelemetry traces go.
	Trace Trace `envPrefix:"GATEHOUSE_"`

	// ClockOffset makes the clock of a process wrong, to try what that does. Production refuses it.
	ClockOffset time.Duration `env:"GATEHOUSE_CLOCK_OFFSET" envDefault:"0s"`

	// LogLevel is debug, info, warn or error. Logs are JSON lines on standard error.
	LogLevel string `env:"GATEHOUSE_LOG_LEVEL" envDefault:"info"`

	// Mail is how mail leaves; without a host it goes to the development inbox.
	Mail Mail `envPrefix:"GATEHOUSE_"`

	// SMS is how messages to phones leave; without an account they go to the development inbox.
	SMS SMS `envPrefix:"GATEHOUSE_"`
	// Payment is how money comes in; without a key the sandbox pretends.
	Payment Payment `envPrefix:"GATEHOUSE_"`
	// Push is how messages to devices leave; without credentials they go to the development inbox, in production nowhere.
	Push Push `envPrefix:"GATEHOUSE_"`
	// Identity is the outside providers by which people sign in.
	Identity Identity `envPrefix:"GATEHOUSE_"`

	// Policy is the account's limits and lifetimes.
	Policy account.Policy `envPrefix:"GATEHOUSE_"`

	// Billing is the terms of subscriptions.
	Billing account.BillingRules `envPrefix:"GATEHOUSE_SUBSCRIPTION_"`
	// ReconcileEvery is how often our books are compared with the flows and with the payment provider's, ReconcileAt how long
	// after midnight UTC.
	ReconcileEvery time.Duration `env:"GATEHOUSE_RECONCILE_EVERY" envDefault:"24h"`
	ReconcileAt    time.Duration `env:"GATEHOUSE_RECONCILE_AT" envDefault:"3h"`
	// Webhook is how receivers are told of events; `gatehouse webhooks add` adds one.
	Webhook account.WebhookRules `envPrefix:"GATEHOUSE_WEBHOOK_"`
	// PaymentRate is how many charges and payment methods a second all workers together bring to the payment provider, those that are
	// tried again included. Stripe takes 25 requests a second of each kind, and in a sandbox 25 of all
	// (docs.stripe.com/rate-limits); a charge is one, two where it is looked up first, a payment method two or three.
	PaymentRate float64 `env:"GATEHOUSE_PAYMENT_RATE" envDefault:"20"`
}

// Mail is the SMTP provider.
type Mail struct {
	// Host is the SMTP server. Empty means the development inbox.
	Host string `env:"SMTP_HOST"`
	// Port is its port.
	Port int `env:"SMTP_PORT" envDefault:"587"`
	// Username and Password are its credentials; empty means none.
	Username string `env:"SMTP_USERNAME"`
	Password string `env:"SMTP_PASSWORD"`
	// TLS is starttls, tls or none.
	TLS string `env:"SMTP_TLS" envDefault:"starttls"`
	// From is the sender of every mail.
	From string `env:"MAIL_FROM" envDefault:"Gatehouse <no-reply@gatehouse.example>"`
}

// SMS is the provider of SMS and WhatsApp messages.
type SMS struct {
	// TwilioURL is the root of Twilio's REST API.
	TwilioURL string `env:"TWILIO_URL" envDefault:"https://api.twilio.com"`
	// TwilioAccountSID and TwilioAuthToken are the Twilio account. Empty means the development inbox.
	TwilioAccountSID string `env:"TWILIO_ACCOUNT_SID"`
	TwilioAuthToken  string `env:"TWILIO_AUTH_TOKEN"`
	// TwilioFrom sends SMS: a number such as +15005550006, a sender name, or a messaging service (MG...).
	TwilioFrom string `env:"TWILIO_FROM"`
	// TwilioWhatsAppFrom sends by WhatsApp: a number. Empty means no WhatsApp.
	TwilioWhatsAppFrom string `env:"TWILIO_WHATSAPP_FROM"`
	// TwilioWhatsAppContent is the approved template (HX...) of WhatsApp codes; its variable 1 is the code. Empty sends plain
	// text, which WhatsApp takes from test senders only.
	TwilioWhatsAppContent string `env:"TWILIO_WHATSAPP_CONTENT"`
}

// Payment is the payment provider.
type Payment struct {
	// StripeURL is the root of Stripe's REST API.
	StripeURL string `env:"STRIPE_URL" envDefault:"https://api.stripe.com"`
	// StripeSecretKey is your secret key at Stripe (sk_...), or a restricted one (rk_...) that may write customers, payment
	// methods and payment intents. Empty means the sandbox, which knows Stripe's test payment methods and moves no money.
	StripeSecretKey string `env:"STRIPE_SECRET_KEY"`
	// StripeWebhookSecrets (whsec_...) sign what Stripe tells by itself; with commas between while one replaces another. Empty
	// means that Stripe's messages are refused and outcomes are asked for alone.
	StripeWebhookSecrets []string `env:"STRIPE_WEBHOOK_SECRETS"`
}

// Push is the provider of messages to devices.
type Push struct {
	// FCMURL is the root of Firebase Cloud Messaging.
	FCMURL string `env:"FCM_URL" envDefault:"https://fcm.googleapis.com"`
	// FCMCredentials is the path of your service account's JSON file, which names the project, too.
	FCMCredentials string `env:"FCM_CREDENTIALS"`
}

// Identity is the outside identity providers. One without a client id is refused with a clear error. Each is asked for its
// endpoints on first use.
type Identity struct {
	// GoogleIssuer publishes Google's endpoints.
	GoogleIssuer string `env:"GOOGLE_ISSUER" envDefault:"https://accounts.google.com"`
	// GoogleClientID and GoogleClientSecret are those of your application at Google.
	GoogleClientID     string `env:"GOOGLE_CLIENT_ID"`
	GoogleClientSecret string `env:"GOOGLE_CLIENT_SECRET"`
	// GoogleRedirectURL is where Google sends people back to who sign in with it (contract B09), exactly as registered there;
	// "postmessage" is for codes that Google's own script hands to your page.
	GoogleRedirectURL string `env:"GOOGLE_REDIRECT_URL" envDefault:"postmessage"`
	// AppleIssuer publishes Apple's endpoints.
	AppleIssuer string `env:"APPLE_ISSUER" envDefault:"https://appleid.apple.com"`
	// AppleClientID is that of your application at Apple.
	AppleClientID string `env:"APPLE_CLIENT_ID"`
	// GitHubAPIURL is GitHub's API, or that of an enterprise server (https://<host>/api/v3).
	GitHubAPIURL string `env:"GITHUB_API_URL" envDefault:"https://api.github.com"`
	// GitHubClientID and GitHubClientSecret are those of your application at GitHub.
	GitHubClientID     string `env:"GITHUB_CLIENT_ID"`
	GitHubClientSecret string `env:"GITHUB_CLIENT_SECRET"`
}

// devPrefix marks a key that `make run` generated; production refuses it.
const devPrefix = "dev:"

// Load reads and validates the environment. The error names every setting at fault.
func Load() (Config, error) {
	var c Config
	unread := env.Parse(&c)
	if unread != nil {
		unread = nameSettings(unread)
	}
	if c.ConfirmURL == "" {
		c.ConfirmURL = strings.TrimSuffix(c.BaseURL, "/") + "/confirm-email"
	}
	if c.ClosureUndoURL == "" {
		c.ClosureUndoURL = strings.TrimSuffix(c.BaseURL, "/") + "/undo-closure"
	}
	if c.ResetURL == "" {
		c.ResetURL = strings.TrimSuffix(c.BaseURL, "/") + "/reset-password"
	}
	if c.LinkRedirectURL == "" {
		c.LinkRedirectURL = strings.TrimSuffix(c.BaseURL, "/") + "/link-account"
	}
	for i, change := range c.HeldChanges {
		c.HeldChanges[i] = strings.TrimSpace(change)
	}
	c.RequireAssertion = c.RequireAssertion || c.Environment == Production
	return c, errors.Join(unread, c.validate())
}

func (c Config) validate() error {
	var faults []error
	fault := func(setting, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s "+format, append([]any{setting}, args...)...))
	}
	if c.Environment != Development && c.Environment != Production {
		fault("GATEHOUSE_ENVIRONMENT", "is %q; it must be development or production", c.Environment)
	}
	if c.DatabaseURL == "" {
		fault("DATABASE_URL", "is not set; it names the Postgres to use (`make run` starts one and writes .gatehouse/env)")
	}
	if e := c.Policy.Enumeration; e != account.EnumerationDocumented && e != account.EnumerationHidden {
		fault("GATEHOUSE_ENUMERATION", "is %q; it must be documented or hidden", e)
	}
	if e := c.Billing.DunningEnd; e != account.SubscriptionCanceled && e != account.SubscriptionUnpaid {
		fault("GATEHOUSE_SUBSCRIPTION_DUNNING_END", "is %q; it must be canceled or unpaid", e)
	}
	if d := c.WorkerDeployment; d == "" || strings.ContainsAny(d, ".:") {
		fault("GATEHOUSE_WORKER_DEPLOYMENT", "is %q; it must be a name without . and :", d)
	}
	if bad := c.Policy.PhoneRules().Fault(); bad != "" {
		fault("GATEHOUSE_PHONE_COUNTRIES", "names %s; it must list ISO country codes such as DE and calling codes such as +49", bad)
	}
	c.Temporal.validate(fault)
	c.Codec.validate(c.Environment, fault)
	c.Trace.validate(fault)
	for _, name := range notPositive(c) {
		fault(name, "must be more than 0")
	}
	if c.Webhook.Timeout > maxWebhookTimeout {
		fault("GATEHOUSE_WEBHOOK_TIMEOUT", "is %s; a receiver may take %s at most", c.Webhook.Timeout, maxWebhookTimeout)
	}
	if t := c.Mail.TLS; t != "starttls" && t != "tls" && t != "none" {
		fault("GATEHOUSE_SMTP_TLS", "is %q; it must be starttls, tls or none", t)
	}
	for setting, link := range c.links() {
		if p, err := url.Parse(link); err != nil || (p.Scheme != "http" && p.Scheme != "https") || p.Host == "" {
			fault(setting, "is %q; it must be an http or https URL", link)
		}
	}
	for _, k := range []struct{ setting, value string }{
		{"GATEHOUSE_SECRET_KEY", c.SecretKey}, {"GATEHOUSE_SIGNING_KEY", c.SigningKey}, {"GATEHOUSE_CODEC_KEYS", c.CodecKeys},
	} {
		switch {
		case k.value == "":
			fault(k.setting, "is not set; `gatehouse keys generate` prints one of each")
		case c.Environment == Production && strings.Contains(k.value, devPrefix): // anywhere: one may be a list
			fault(k.setting, "was generated for development; `gatehouse keys generate` prints one for production")
		}
	}
	if c.Environment == Production {
		c.validateProduction(fault)
	}
	return errors.Join(faults...)
}

// maxWebhookTimeout leaves an attempt time for what comes before and after it.
const maxWebhookTimeout = 30 * time.Second

// links are the settings that must be addresses.
func (c Config) links() map[string]string {
	return map[string]string{
		"GATEHOUSE_BASE_URL":          c.BaseURL,
		"GATEHOUSE_CONFIRM_URL":       c.ConfirmURL,
		"GATEHOUSE_LINK_REDIRECT_URL": c.LinkRedirectURL,
		"GATEHOUSE_TEMPORAL_UI_URL":   c.TemporalUIURL,
		"GATEHOUSE_TWILIO_URL":        c.SMS.TwilioURL,
		"GATEHOUSE_FCM_URL":           c.Push.FCMURL,
		"GATEHOUSE_STRIPE_URL":        c.Payment.StripeURL,
		"GATEHOUSE_GOOGLE_ISSUER":     c.Identity.GoogleIssuer,
		"GATEHOUSE_APPLE_ISSUER":      c.Identity.AppleIssuer,
		"GATEHOUSE_GITHUB_API_URL":    c.Identity.GitHubAPIURL,
		"GATEHOUSE_RESET_URL":         c.ResetURL,
		"GATEHOUSE_CLOSURE_UNDO_URL":  c.ClosureUndoURL,
	}
}

// DevInbox reports whether any messages go to the development inbox.
func (c Config) DevInbox() bool {
	unset := c.Mail.Host == "" || c.SMS.TwilioAccountSID == "" || c.Push.FCMCredentials == ""
	return unset && c.Environment == Development
}

// DatabaseURL reads the one setting that migrations need.
func DatabaseURL() (string, error) {
	c, err := env.ParseAs[struct {
		URL string `env:"DATABASE_URL,required,notEmpty"`
	}]()
	if err != nil {
		return "", errors.New("DATABASE_URL is not set; it names the Postgres to migrate")
	}
	return c.URL, nil
}

// CodecKeys reads the one setting that a rotation of it needs.
func CodecKeys() (string, error) {
	c, err := env.ParseAs[struct {
		Keys string `env:"GATEHOUSE_CODEC_KEYS,required,notEmpty"`
	}]()
	if err != nil {
		return "", errors.New("GATEHOUSE_CODEC_KEYS is not set; it is the keyset that the running processes have")
	}
	return c.Keys, nil
}

// OpsAddr reads the one setting that a health check needs: where the ops listener of the process is.
func OpsAddr(setting string) (string, error) {
	all := env.ToMap(os.Environ())
	if addr := all[setting]; addr != "" {
		return addr, nil
	}
	if setting == "GATEHOUSE_OPS_ADDR" {
		return defaultOpsAddr, nil
	}
	return "", fmt.Errorf("%s is not set, so that process has no ops listener to ask", setting)
}

const defaultOpsAddr = "127.0.0.1:9090"
