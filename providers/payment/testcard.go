package payment

// TestCard is one of Stripe's test payment methods (docs.stripe.com/testing), which the sandbox knows as well.
type TestCard struct {
	Brand string
	Last4 string
	// DeclineCode is why a charge of it without its owner is declined, empty for a card that pays.
	DeclineCode string
	// KeepDeclined is set for cards that Stripe already declines when they are to be kept. The sandbox keeps them.
	KeepDeclined bool
}

// TestCards are the test payment methods by their ids.
func TestCards() map[string]TestCard {
	paying := func(brand, last4 string) TestCard { return TestCard{Brand: brand, Last4: last4} }
	refused := func(last4, code string) TestCard {
		return TestCard{Brand: "visa", Last4: last4, DeclineCode: code, KeepDeclined: true}
	}
	kept := func(last4, code string) TestCard { return TestCard{Brand: "visa", Last4: last4, DeclineCode: code} }
	return map[string]TestCard{
		"pm_card_visa":               paying("visa", "4242"),
		"pm_card_visa_debit":         paying("visa", "5556"),
		"pm_card_mastercard":         paying("mastercard", "4444"),
		"pm_card_mastercard_debit":   paying("mastercard", "8210"),
		"pm_card_mastercard_prepaid": paying("mastercard", "5100"),
		"pm_card_amex":               paying("amex", "8431"),
		"pm_card_discover":           paying("discover", "1117"),
		"pm_card_diners":             paying("diners", "0004"),
		"pm_card_jcb":                paying("jcb", "0505"),
		"pm_card_unionpay":           paying("unionpay", "0005"),

		"pm_card_chargeDeclined":                           refused("0002", codeGeneric),
		"pm_card_visa_chargeDeclined":                      refused("0002", codeGeneric),
		"pm_card_chargeDeclinedInsufficientFunds":          refused("9995", "insufficient_funds"),
		"pm_card_visa_chargeDeclinedInsufficientFunds":     refused("9995", "insufficient_funds"),
		"pm_card_chargeDeclinedLostCard":                   refused("9987", "lost_card"),
		"pm_card_visa_chargeDeclinedLostCard":              refused("9987", "lost_card"),
		"pm_card_chargeDeclinedStolenCard":                 refused("9979", "stolen_card"),
		"pm_card_visa_chargeDeclinedStolenCard":            refused("9979", "stolen_card"),
		"pm_card_chargeDeclinedExpiredCard":                refused("0069", "expired_card"),
		"pm_card_chargeDeclinedIncorrectCvc":               refused("0127", "incorrect_cvc"),
		"pm_card_chargeDeclinedProcessingError":            refused("0119", "processing_error"),
		"pm_card_visa_chargeDeclinedVelocityLimitExceeded": refused("6975", "card_velocity_exceeded"),
		"pm_card_radarBlock":                               refused("0019", "fraudulent"),
		"pm_card_chargeCustomerFail":                       kept("0341", codeGeneric),

		// A charge without the owner cannot be authenticated.
		"pm_card_authenticationRequired":                                kept("3184", codeAuthentication),
		"pm_card_authenticationRequiredOnSetup":                         kept("3155", codeAuthentication),
		"pm_card_authenticationRequiredChargeDeclinedInsufficientFunds": kept("8260", codeAuthentication),
		"pm_card_threeDSecure2Required":                                 kept("3220", codeAuthentication),
		"pm_card_authenticationRequiredSetupForOffSession":              paying("visa", "0446"),
		"pm_card_threeDSecureOptional":                                  paying("visa", "3055"),
	}
}
