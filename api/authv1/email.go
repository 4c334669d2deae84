package authv1

import "gatehouse/core"

type checkEmailRequest struct {
	Email string `json:"email"`
}

func (r checkEmailRequest) input() core.CheckEmailInput { return core.CheckEmailInput(r) }

type checkedEmailBody struct {
	Exists      bool `json:"exists"`
	HasPassword bool `json:"has_password"`
}

func newCheckedEmailBody(e core.EmailChecked) any {
	return checkedEmailBody{Exists: e.Exists, HasPassword: e.HasPassword}
}

type checkEmailExistsRequest struct {
	Email string `query:"email"`
}

func (r checkEmailExistsRequest) input() core.CheckEmailInput { return core.CheckEmailInput(r) }

type checkedEmailExistsBody struct {
	Status      string   `json:"status"`
	Exists      bool     `json:"exists"`
	HasPassword bool     `json:"has_password"`
	Providers   []string `json:"providers"`
}

func newCheckedEmailExistsBody(e core.EmailChecked) any {
	return checkedEmailExistsBody{Status: "ok", Exists: e.Exists, HasPassword: e.HasPassword, Providers: listed(e.Providers)}
}
