package payment

import "gatehouse/account"

// Decline codes of our own making, beside Stripe's (docs.stripe.com/declines/codes), which every provider speaks.
const (
	// CodeNoSuchMethod declines a charge of a method that is gone, or is another payer's.
	CodeNoSuchMethod = "no_such_method"
	// CodeCanceled declines a charge that was called off at the provider.
	CodeCanceled = "canceled"
)

const (
	codeAuthentication = "authentication_required"
	codeGeneric        = "generic_decline"
	// codeAmount declines a charge of what cannot be charged.
	codeAmount = "invalid_charge_amount"
)

// hardDeclines cannot succeed with the same method: those that Stripe never retries by itself, and those for which its list of
// decline codes asks for another card or other data of it.
var hardDeclines = map[string]bool{
	"highest_risk_level": true, "incorrect_number": true, "lost_card": true, "pickup_card": true, "stolen_card": true,
	"revocation_of_authorization": true, "revocation_of_all_authorizations": true, "transaction_not_allowed": true,

	"card_not_supported": true, "currency_not_supported": true, "do_not_try_again": true, "expired_card": true, "fraudulent": true,
	"incorrect_address": true, "incorrect_cvc": true, "incorrect_zip": true, "invalid_account": true, "invalid_cvc": true,
	"invalid_expiry_month": true, "invalid_expiry_year": true, "invalid_number": true, "merchant_blacklist": true,
	"new_account_information_available": true, "pin_try_exceeded": true, "restricted_card": true, "stop_payment_order": true,
	"testmode_decline": true,

	CodeNoSuchMethod: true,

	// Not the method is at fault, but what it is to be charged: no other try of this invoice would fare better.
	"amount_too_small": true, "amount_too_large": true, codeAmount: true,
}

// actionDeclines wait for the owner, who authenticates by showing the method anew.
var actionDeclines = map[string]bool{
	codeAuthentication: true, "authentication_not_handled": true, "payment_intent_action_required": true,
	"payment_intent_authentication_failure": true,
}

func declined(code string) account.Decline {
	return account.Decline{Code: code, Hard: hardDeclines[code], ActionRequired: actionDeclines[code]}
}
