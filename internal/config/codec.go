package config

import "net/url"

// Codec is the endpoint at which the Temporal UI has payloads decrypted.
type Codec struct {
	// Serve is whether the API's ops listener has a codec endpoint. Without one the Temporal UI shows payloads encrypted.
	Serve bool `env:"SERVE" envDefault:"true"`
	// Password protects the codec endpoint (user "codec", HTTP basic): 16 characters or more in production. Without it and
	// without an OIDC issuer everybody who reaches the endpoint may use it, in development only.
	Password string `env:"PASSWORD"`
	// OIDCIssuer and OIDCAudience let in those whom an OpenID provider signed in to the Temporal UI: its access tokens must
	// be JWTs of this issuer for this audience, and the UI must pass them on.
	OIDCIssuer   string `env:"OIDC_ISSUER"`
	OIDCAudience string `env:"OIDC_AUDIENCE"`
}

// shortestCodecPassword is what guessing at an endpoint without a limit of tries takes at least.
const shortestCodecPassword = 16

func (c Codec) validate(in Environment, fault func(setting, format string, args ...any)) {
	const password, issuer, audience = "GATEHOUSE_CODEC_PASSWORD", "GATEHOUSE_CODEC_OIDC_ISSUER", "GATEHOUSE_CODEC_OIDC_AUDIENCE"
	if c.OIDCIssuer != "" {
		p, err := url.Parse(c.OIDCIssuer)
		if err != nil || p.Host == "" || p.Scheme != "https" && (p.Scheme != "http" || in == Production) {
			fault(issuer, "is %q; it must be an https URL", c.OIDCIssuer)
		}
	}
	switch {
	case c.OIDCIssuer != "" && c.OIDCAudience == "":
		fault(audience, "is not set; without it any token of %s would do", issuer)
	case c.OIDCIssuer == "" && c.OIDCAudience != "":
		fault(issuer, "is not set; %s is of no use without it", audience)
	}
	if in != Production || !c.Serve {
		return
	}
	switch n := len([]rune(c.Password)); {
	case n == 0 && c.OIDCIssuer == "":
		fault(password, "is not set; the codec endpoint reads every payload (GATEHOUSE_CODEC_SERVE=false serves none)")
	case n > 0 && n < shortestCodecPassword:
		fault(password, "is too short; it must have %d characters or more", shortestCodecPassword)
	}
}
