package api_test

import (
	"context"

	"gatehouse/account"
	"gatehouse/core"
)

func (f *fakeCore) CheckUsername(ctx context.Context, by account.Caller, in core.CheckUsernameInput) (core.UsernameChecked, error) {
	err := f.record(ctx, "CheckUsername", by, in, map[string]string{"username": in.Username})
	if in.Username == "taken" {
		return core.UsernameChecked{Username: "taken", Suggestions: []string{"taken1", "taken99", "taken_"}}, err
	}
	if in.Username == "admin" {
		return core.UsernameChecked{Username: "admin"}, err
	}
	return core.UsernameChecked{Username: in.Username, Available: true}, err
}

func (f *fakeCore) CanChangeUsername(ctx context.Context, by account.Caller, in core.None) (core.UsernameChangeable, error) {
	err := f.record(ctx, "CanChangeUsername", by, in, nil)
	out := core.UsernameChangeable{Current: f.principal.Account.Username}
	if out.Current != nil && *out.Current == "changed" {
		out.Refusal = account.ErrUsernameLimit
	}
	return out, err
}

func (f *fakeCore) ChangeUsername(ctx context.Context, by account.Caller, in core.ChangeUsernameInput) (core.UsernameChange, error) {
	err := f.record(ctx, "ChangeUsername", by, in, map[string]string{"username": in.Username})
	return core.UsernameChange{Old: f.principal.Account.Username, New: in.Username}, err
}

func aCard() account.Card {
	return account.Card{ID: accountID, Username: "john_doe", Name: new("John Doe"), AvatarURL: new("https://cdn.example.com/avatar.jpg")}
}

func (f *fakeCore) SearchUsers(ctx context.Context, by account.Caller, in core.SearchUsersInput) (core.UsersFound, error) {
	err := f.record(ctx, "SearchUsers", by, in, map[string]string{"q": in.Text})
	if in.Text == "nobody" {
		return core.UsersFound{}, err
	}
	bare := account.Card{ID: sessionID, Username: "johnny"}
	return core.UsersFound{Users: []account.Card{aCard(), bare}, Total: 100, More: true}, err
}

func (f *fakeCore) FindUser(ctx context.Context, by account.Caller, in core.FindUserInput) (account.Card, error) {
	return aCard(), f.record(ctx, "FindUser", by, in, nil)
}

func (f *fakeCore) Deactivate(ctx context.Context, by account.Caller, in core.DeactivateInput) (core.None, error) {
	return core.None{}, f.record(ctx, "Deactivate", by, in, nil)
}
