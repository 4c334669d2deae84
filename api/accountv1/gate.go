package accountv1

import (
	"gatehouse/account"
	"gatehouse/api/endpoint"
)

// wrongPassword is how the document refuses a password that guards a change.
var wrongPassword = endpoint.Reclassified(account.ErrInvalidPassword, account.Forbidden, "Password is incorrect")
