package accountv1

import (
	"strings"

	"gatehouse/account"
)

type canSetPasswordBody struct {
	CanSetPassword bool   `json:"canSetPassword"`
	AuthProvider   string `json:"authProvider"`
}

// Message is one sentence or the other: the document prints the first.
func (b canSetPasswordBody) Message() string {
	if b.CanSetPassword {
		return "You can set a password"
	}
	return "Password already set"
}

func newCanSetPasswordBody(p account.Principal) any {
	return canSetPasswordBody{
		CanSetPassword: !p.Account.HasPassword, AuthProvider: strings.ToUpper(p.Account.PrimaryProvider),
	}
}
