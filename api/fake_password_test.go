package api_test

import (
	"cmp"
	"context"

	"gatehouse/account"
	"gatehouse/core"
)

func (f *fakeCore) ChangePassword(ctx context.Context, by account.Caller, in core.ChangePasswordInput) (core.None, error) {
	return core.None{}, f.record(ctx, "ChangePassword", by, in, map[string]string{"current_password": in.Current, "new_password": in.New})
}

func (f *fakeCore) AddPassword(ctx context.Context, by account.Caller, in core.AddPasswordInput) (core.None, error) {
	return core.None{}, f.record(ctx, "AddPassword", by, in, map[string]string{"password": in.Password})
}

func (f *fakeCore) ForgotPassword(ctx context.Context, by account.Caller, in core.ForgotPasswordInput) (core.None, error) {
	return core.None{}, f.record(ctx, "ForgotPassword", by, in, map[string]string{"email": in.Email})
}

func (f *fakeCore) ResetPassword(ctx context.Context, by account.Caller, in core.ResetPasswordInput) (core.None, error) {
	return core.None{}, f.record(ctx, "ResetPassword", by, in, map[string]string{
		"token": in.Token, cmp.Or(in.NewField, "new_password"): in.New,
	})
}

func (f *fakeCore) SecurityOverview(ctx context.Context, by account.Caller, in core.None) (core.SecurityOverview, error) {
	err := f.record(ctx, "SecurityOverview", by, in, nil)
	return core.SecurityOverview{PrimaryMethod: "email", HasPassword: true, EmailVerified: true}, err
}

func (f *fakeCore) CheckEmail(ctx context.Context, by account.Caller, in core.CheckEmailInput) (core.EmailChecked, error) {
	err := f.record(ctx, "CheckEmail", by, in, map[string]string{"email": in.Email})
	return core.EmailChecked{Exists: true, HasPassword: true, Providers: []string{"google"}}, err
}
