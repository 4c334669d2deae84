package workflows

import (
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
)

// summaries say in the Temporal UI what each step of activities.Activities does. Those of messages are made where the message
// is, since they name its masked destination.
var summaries = map[string]string{ //nolint:gosec // "IssueSignupCode" is no credential
	"IssueSignupCode": "make the code of the sign-up",
	"RegisterAccount": "make the account, unverified",
	"IssueEmailCode":  "make the code and the link that confirm the address",
	"CompleteSignup":  "make the account and its first session",
	"ConfirmEmail":    "mark the address as verified",
	"AbandonSignup":   "remove the sign-up that nobody has proven",
	"PurgeUnverified": "remove the account whose address nobody has proven",

	"IssueReset":    "make the link that sets a new password",
	"ResetPassword": "set the new password, sign everything else out",

	"IssuePasswordCode": "make the code for this session",
	"SpendPasswordCode": "make the change that the code allows",

	"IssueDeviceCode": "make the code of the login",
	"VerifyDevice":    "trust the device, open the session",

	"IssueEmailChange":  "make the proof for the new address",
	"ChangeEmail":       "give the account its new address",
	"ForgetEmailChange": "forget the change of address",

	"IssuePhoneCode": "make the code for the number",
	"BindPhone":      "give the number to the account",

	"OpenProviderLink":   "store the state that the callback must bring",
	"FinishProviderLink": "link the account at the provider",
	"DropProviderLink":   "remove the link that nobody came back for",

	"CloseAccount":          "close the account, sign everything out",
	"ReopenAccount":         "open the account again",
	"EraseAccount":          "erase the personal data",
	"FindLiveSubscriptions": "find the subscriptions to end",

	"OpenSubscription":   "create the subscription",
	"LoadSubscription":   "read the subscription",
	"ChangeSubscription": "apply the change to the subscription",
	"AttachMethod":       "attach the payment method",
	"ChargeInvoice":      "charge the invoice",

	"ResendMessage": "send the message once more",

	"DropWebhook": "give the delivery up",

	"PushTargets": "find the devices to tell",

	"BeginReconciliation": "begin the comparison, choose its days",
	"ReviveFlows":         "start the flows that live subscriptions lack",
	"ReviewFlows":         "look for flows without a live subscription",
	"HastenCharges":       "ask for charges that have no outcome yet",
	"CompareCharges":      "compare a page of the provider's charges with ours",
	"CompareAttempts":     "compare a page of our charges with the provider's",
	"ReviewBooks":         "compare our books with each other",
	"EndReconciliation":   "keep what was found, raise the alarms",
}

// What flows wait for, do beside the steps, and are: the same for everybody.
const (
	waitErase    = "erase unless undone"
	waitProof    = "give up if unproven"
	waitReturn   = "give up if nobody comes back"
	waitMails    = "wait for the mails before it"
	waitChannels = "wait before the channels are tried again"
	waitBooks    = "wait before the books are read again"
	waitCharge   = "wait for the charge under way"
	waitCaused   = "wait for the charge that this causes"

	stepDeliver         = "tell the receiver"
	startReconciliation = "Compare billing with the flows and the payment provider"
)

// Summaries are the lines for the Temporal UI that are the same for everybody and tell no more than the name of the step beside
// them: nothing is lost if they are not encrypted. Lines that name a message are none of them.
func Summaries() []string {
	return slices.Concat(slices.Collect(maps.Values(summaries)), slices.Collect(maps.Values(actions)), []string{
		waitErase, waitProof, waitReturn, waitMails, waitChannels, waitBooks, waitCharge, waitCaused, stepDeliver, startReconciliation,
	})
}

// summaryOf is the summary of a step; empty for what is no step, and for a message.
func summaryOf(activity any) string { return summaries[stepName(activity)] }

// stepName is the name under which a method of activities.Activities is registered.
func stepName(activity any) string {
	full := runtime.FuncForPC(reflect.ValueOf(activity).Pointer()).Name()
	return strings.TrimSuffix(full[strings.LastIndex(full, ".")+1:], "-fm")
}

// handing is the summary of a message to a masked destination.
func handing(what, masked string) string {
	if masked == "" {
		return "send " + what
	}
	return "send " + what + " to " + masked
}

// mailing is the summary of a mail that tells somebody of something, by its template.
func mailing(template string) string { return "send the mail: " + template }
