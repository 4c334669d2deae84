package accountv1

import (
	"gatehouse/account"
	"gatehouse/api/endpoint"
)

// How the document refuses a password or a code that guards a change.
var (
	wrongPassword = endpoint.Reclassified(account.ErrInvalidPassword, account.Forbidden, "Password is incorrect")
	wrongOTP      = endpoint.Reclassified(account.ErrInvalidOTP, account.Forbidden, "OTP is incorrect")
)
