package config

import "strings"

// validateProduction refuses what only suits a developer's machine.
func (c Config) validateProduction(fault func(setting, format string, args ...any)) {
	if c.ClockOffset != 0 {
		fault(clockOffset, "is %s; a clock that is wrong on purpose is not for production", c.ClockOffset)
	}
	if c.Mail.Host == "" {
		fault("GATEHOUSE_SMTP_HOST", "is not set; the development inbox is not for production")
	}
	if c.SMS.TwilioAccountSID == "" {
		fault("GATEHOUSE_TWILIO_ACCOUNT_SID", "is not set; the development inbox is not for production")
	}
	if c.Payment.StripeSecretKey == "" {
		fault("GATEHOUSE_STRIPE_SECRET_KEY", "is not set; the payment sandbox is not for production")
	}
	for setting, link := range map[string]string{
		"GATEHOUSE_BASE_URL": c.BaseURL, "GATEHOUSE_CONFIRM_URL": c.ConfirmURL, "GATEHOUSE_CLOSURE_UNDO_URL": c.ClosureUndoURL,
		"GATEHOUSE_RESET_URL": c.ResetURL, "GATEHOUSE_LINK_REDIRECT_URL": c.LinkRedirectURL,
	} {
		if !strings.HasPrefix(link, "https://") {
			fault(setting, "is %q; production links must be https", link)
		}
	}
}
