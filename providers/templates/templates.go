// Package templates holds the words of every message that Gatehouse sends. A message is two files in messages/, its
// text (with the subject) and its HTML, and one line of the table in this file.
package templates

import (
	"embed"
	"fmt"
	htmltemplate "html/template"
	"slices"
	"strings"
	texttemplate "text/template"
)

// The templates.
const (
	// SignupCode brings the code that opens an account. It needs Code and Minutes.
	SignupCode = "signup_code"
	// ConfirmEmail brings code and link that prove the address of a new account. It needs Code, Minutes and a Link
	// with a token; LinkHours and Username are optional.
	ConfirmEmail = "confirm_email"
	// Welcome greets a proven account. Name is optional.
	Welcome = "welcome"
	// SignupExists tells an owner that someone tried to sign up with their address. It needs nothing.
	SignupExists = "signup_exists"
	// PasswordResetLink brings the link that sets a password anew. It needs Minutes and a Link with a token; Name is
	// optional.
	PasswordResetLink = "password_reset_link"
	// PasswordChanged, PasswordAdded and PasswordReset tell an owner what became of the password. Name is optional, and so
	// are the Keys that a reset has disabled.
	PasswordChanged = "password_changed"
	PasswordAdded   = "password_added"
	PasswordReset   = "password_reset"
	// SecurityCode brings the code that an owner confirms a change with. It needs Code and Minutes; Name is optional.
	SecurityCode = "security_code"
	// PasswordChangedSMS tells an owner by SMS that the password is another. It needs nothing.
	PasswordChangedSMS = "password_changed_sms"
	// PushNotice is what devices are told beside the subject of a notice. It needs nothing.
	PushNotice = "push_notice"
	// ChangeEmail brings code and link that prove the address an account is about to have. It needs Code, Minutes and a
	// Link with a token.
	ChangeEmail = "change_email"
	// EmailChangeRequested tells the present address, EmailChanged both. They need Address, the new one, masked.
	EmailChangeRequested = "email_change_requested"
	EmailChanged         = "email_changed"
	// LinkEmail brings the code that proves an address which an account is about to have. It needs Code and Minutes.
	LinkEmail = "link_email"
	// EmailUnlinked tells a former address that it was taken from its account. Name is optional.
	EmailUnlinked = "email_unlinked"
	// DeviceCode brings the code that finishes a login. It needs Code and Minutes. DeviceAdded tells an owner that a device
	// needs none from now on. Name is optional in both.
	DeviceCode  = "device_code"
	DeviceAdded = "device_added"
	// SessionEnded tells an owner that a refresh token was used twice and its session ended. Name is optional.
	SessionEnded = "session_ended"
	// ProviderLinked and ProviderUnlinked tell an owner that an outside account may open theirs, or no longer. Name is
	// optional.
	ProviderLinked   = "provider_linked"
	ProviderUnlinked = "provider_unlinked"
	// ProviderRefused tells an owner that an outside account with their address tried to sign in. Name is optional.
	ProviderRefused = "provider_refused"
	// PhoneCode brings the code that proves a number, as text for SMS and WhatsApp. It needs Code and Minutes.
	PhoneCode = "phone_code"
	// PhoneVerified tells an owner that a number was verified. Name is optional.
	PhoneVerified = "phone_verified"
	// TwoFactorEnabled, TwoFactorDisabled and BackupCodeUsed tell an owner what became of the second factor. Name is optional.
	TwoFactorEnabled  = "two_factor_enabled"
	TwoFactorDisabled = "two_factor_disabled"
	BackupCodeUsed    = "backup_code_used"
	// TwoFactorLocked tells an owner that somebody tries codes of the second factor. Name is optional.
	TwoFactorLocked = "two_factor_locked"
	// APIKeyCreated tells an owner that a key acts for the account from now on, APIKeyDeleted that one no longer does. Name is
	// optional.
	APIKeyCreated = "api_key_created"
	APIKeyDeleted = "api_key_deleted"
	// SessionsEnded tells an owner that sessions were ended from another one, SessionGuessing that one was ended because
	// somebody tried passwords in it. Name is optional.
	SessionsEnded   = "sessions_ended"
	SessionGuessing = "session_guessing"
	// DeviceRemoved tells an owner that a device is trusted no longer, PhoneChanged that another number took the place of a
	// verified one. Name is optional.
	DeviceRemoved = "device_removed"
	PhoneChanged  = "phone_changed"
	// AccountOpened tells the owner of an address that an outside account has opened an account with it. Name is optional.
	AccountOpened = "account_opened"
	// AccountReopened tells an owner that the closure of the account was undone. Name is optional.
	AccountReopened = "account_reopened"
	// AccountClosed brings the link that opens a closed account again. It needs a Link with a token and LinkHours; Name is
	// optional. AccountErased is the receipt when nothing can bring it back. Name is optional.
	AccountClosed = "account_closed"
	AccountErased = "account_erased"
	// AccountClosedFormer is AccountClosed for an address that was taken from the account lately. It needs the same.
	AccountClosedFormer = "account_closed_former"
	// The subscription messages tell a payer what has happened; they need Plan, and those that say when or how much also Date
	// and Amount. Name is optional.
	SubscriptionPaid           = "subscription_paid"
	SubscriptionDeclined       = "subscription_declined"
	SubscriptionChangeDeclined = "subscription_change_declined"
	SubscriptionTrial          = "subscription_trial"
	SubscriptionPlanChanged    = "subscription_plan_changed"
	SubscriptionPlanScheduled  = "subscription_plan_scheduled"
	SubscriptionPaused         = "subscription_paused"
	SubscriptionResumed        = "subscription_resumed"
	SubscriptionCancellation   = "subscription_cancellation"
	SubscriptionKept           = "subscription_kept"
	SubscriptionEnded          = "subscription_ended"
	SubscriptionUnpaid         = "subscription_unpaid"
	// AccountDeactivated and AccountReactivated tell an owner that the account is locked, or open again; UsernameChanged that
	// it is called otherwise. Name and Username are optional.
	AccountDeactivated = "account_deactivated"
	AccountReactivated = "account_reactivated"
	UsernameChanged    = "username_changed"
)

// message is a template with the fields that it cannot do without.
type message struct {
	name  string
	needs []need
	text  *texttemplate.Template
	// html is nil for a message that is no mail.
	html *htmltemplate.Template
}

var messages = []message{
	load(SignupCode, code, minutes),
	load(ConfirmEmail, code, minutes, link),
	load(Welcome),
	load(SignupExists),
	load(PasswordResetLink, minutes, link),
	load(PasswordChanged),
	load(PasswordAdded),
	load(PasswordReset),
	load(SecurityCode, code, minutes),
	loadText(PasswordChangedSMS),
	loadText(PushNotice),
	load(ChangeEmail, code, minutes, link),
	load(EmailChangeRequested, address),
	load(EmailChanged, address),
	load(LinkEmail, code, minutes),
	load(EmailUnlinked),
	load(DeviceCode, code, minutes),
	load(DeviceAdded),
	load(SessionEnded),
	load(ProviderLinked),
	load(ProviderUnlinked),
	load(ProviderRefused),
	loadText(PhoneCode, code, minutes),
	load(PhoneVerified),
	load(TwoFactorEnabled),
	load(TwoFactorDisabled),
	load(BackupCodeUsed),
	load(TwoFactorLocked),
	load(APIKeyCreated),
	load(APIKeyDeleted),
	load(SessionsEnded),
	load(SessionGuessing),
	load(DeviceRemoved),
	load(PhoneChanged),
	load(AccountOpened),
	load(AccountReopened),
	load(AccountClosed, link, linkHours),
	load(AccountErased),
	load(AccountClosedFormer, link, linkHours),
	load(SubscriptionPaid, plan, amount, date),
	load(SubscriptionDeclined, plan, amount),
	load(SubscriptionChangeDeclined, plan, amount),
	load(SubscriptionTrial, plan, amount, date),
	load(SubscriptionPlanChanged, plan, date),
	load(SubscriptionPlanScheduled, plan, date),
	load(SubscriptionPaused, plan),
	load(SubscriptionResumed, plan, date),
	load(SubscriptionCancellation, plan, date),
	load(SubscriptionKept, plan, date),
	load(SubscriptionEnded, plan),
	load(SubscriptionUnpaid, plan),
	load(AccountDeactivated),
	load(AccountReactivated),
	load(UsernameChanged),
}

// Data is what a message may tell. A template takes what it needs and ignores the rest.
type Data struct {
	// Code is a one-time code, Minutes how long it lives.
	Code    string
	Minutes int
	// Link is an absolute http or https address with a token parameter, LinkHours how long it works.
	Link      string
	LinkHours int
	// Name and Username are chosen by strangers: they are shown cut to size and defused, or not at all.
	Name     string
	Username string
	// Plan is the name of a plan, Amount a sum of money and Date a day, as people read them.
	Plan   string
	Amount string
	Date   string
	// Address is another address of the recipient, masked.
	Address string
	// Keys are names of API keys, chosen like a Name by whoever made them.
	Keys []string
}

//go:embed messages
var files embed.FS

var functions = map[string]any{"count": count}

func load(name string, needs ...need) message {
	m := loadText(name, needs...)
	m.html = htmltemplate.Must(htmltemplate.New(name).Funcs(functions).
		ParseFS(files, "messages/layout.html", "messages/"+name+".html"))
	return m
}

// loadText is load for a message that is no mail: it has neither subject nor HTML.
func loadText(name string, needs ...need) message {
	return message{
		name:  name,
		needs: needs,
		text:  texttemplate.Must(texttemplate.New(name).Funcs(functions).ParseFS(files, "messages/"+name+".txt")),
	}
}

func count(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// Names lists every template.
func Names() []string {
	names := make([]string, 0, len(messages))
	for _, m := range messages {
		names = append(names, m.name)
	}
	return names
}

// Render returns the three forms of a message, of which one that is no mail has only the text. It fails when template is unknown
// or a field that it needs is missing or malformed; the error names the field and never its value.
func Render(template string, data Data) (subject, text, html string, err error) {
	i := slices.IndexFunc(messages, func(m message) bool { return m.name == template })
	if i < 0 {
		return "", "", "", fmt.Errorf("templates: %q is unknown", template)
	}
	m := messages[i]
	for _, need := range m.needs {
		if fault := need(data); fault != "" {
			return "", "", "", fmt.Errorf("templates: %s: %s", template, fault)
		}
	}
	data.Name, data.Username, data.Keys = displayName(data.Name), displayUsername(data.Username), displayKeys(data.Keys)
	// What the template engine says may quote the data, so it is not passed on.
	var head, body, page strings.Builder
	mailed := m.html != nil
	if m.text.ExecuteTemplate(&body, "text", data) != nil || mailed && (m.text.ExecuteTemplate(&head, "subject", data) != nil ||
		m.html.ExecuteTemplate(&page, "layout", data) != nil) {
		return "", "", "", fmt.Errorf("templates: %s: cannot be rendered", template)
	}
	return oneLine(head.String()), strings.TrimSpace(body.String()) + "\n", page.String(), nil
}
