package accountv1

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type usernameCore interface {
	CheckUsername(context.Context, account.Caller, core.CheckUsernameInput) (core.UsernameChecked, error)
	CanChangeUsername(context.Context, account.Caller, core.None) (core.UsernameChangeable, error)
	ChangeUsername(context.Context, account.Caller, core.ChangeUsernameInput) (core.UsernameChange, error)
	SearchUsers(context.Context, account.Caller, core.SearchUsersInput) (core.UsersFound, error)
	FindUser(context.Context, account.Caller, core.FindUserInput) (account.Card, error)
}

func usernameRoutes(c usernameCore) []endpoint.Route {
	return []endpoint.Route{
		// D10
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "checkUsername", Method: "GET", Path: "/api/v1/account/username/check",
			Policy: endpoint.Public, Limit: account.LimitLookup,
		}, checkUsernameRequest.input, c.CheckUsername, newUsernameCheckedBody),
		// D11
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "canChangeUsername", Method: "GET", Path: "/api/v1/account/username/can-change",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, emptyRequest.none, c.CanChangeUsername, newUsernameChangeableBody),
		// D12
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "changeUsername", Method: "POST", Path: "/api/v1/account/username/change", Message: "Username changed successfully",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Limit: account.LimitWrite, Idempotent: true,
		}, changeUsernameRequest.input, c.ChangeUsername, newUsernameChangedBody),
		// D13
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "searchUsers", Method: "GET", Path: "/api/v1/account/username/search", Message: "Users found",
			Policy: endpoint.Public, Limit: account.LimitLookup,
		}, searchUsersRequest.input, c.SearchUsers, newUsersFoundBody),
		// D14
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "findUser", Method: "GET", Path: "/api/v1/account/username/:username", Message: "User found",
			Policy: endpoint.Public, Limit: account.LimitLookup,
		}, findUserRequest.input, c.FindUser, newCardBody,
			endpoint.Reworded(account.ErrNotFound, "User not found")),
	}
}

type checkUsernameRequest struct {
	Username string `query:"username"`
}

func (r checkUsernameRequest) input() core.CheckUsernameInput {
	return core.CheckUsernameInput{Username: r.Username}
}

type usernameCheckedBody struct {
	Username  string `json:"username"`
	Available bool   `json:"available"`
	// Suggestions is there always, and null for an available username (contract X30).
	Suggestions *[]string `json:"suggestions"`
}

func (b usernameCheckedBody) Message() string {
	if b.Available {
		return "Username available"
	}
	return "Username not available"
}

func newUsernameCheckedBody(u core.UsernameChecked) any {
	b := usernameCheckedBody{Username: u.Username, Available: u.Available}
	if !u.Available {
		b.Suggestions = new(append([]string{}, u.Suggestions...))
	}
	return b
}

type usernameChangeableBody struct {
	CanChange       bool    `json:"canChange"`
	CurrentUsername *string `json:"currentUsername"`

	message string
}

func (b usernameChangeableBody) Message() string { return b.message }

func newUsernameChangeableBody(u core.UsernameChangeable) any {
	b := usernameChangeableBody{CanChange: u.Refusal == nil, CurrentUsername: u.Current, message: "You can change your username"}
	if u.Refusal != nil {
		b.message = u.Refusal.Message
	}
	return b
}

type changeUsernameRequest struct {
	Username string `json:"username"`
}

func (r changeUsernameRequest) input() core.ChangeUsernameInput {
	return core.ChangeUsernameInput{Username: r.Username}
}

type usernameChangedBody struct {
	OldUsername *string `json:"oldUsername"`
	NewUsername string  `json:"newUsername"`
}

func newUsernameChangedBody(u core.UsernameChange) any {
	return usernameChangedBody{OldUsername: u.Old, NewUsername: u.New}
}

type searchUsersRequest struct {
	Q    string `query:"q"`
	Page *int64 `query:"page"`
	Size *int64 `query:"size"`
}

func (r searchUsersRequest) input() core.SearchUsersInput {
	return core.SearchUsersInput{Text: r.Q, Page: r.Page, Size: r.Size}
}

type usersFoundBody struct {
	Users      []any `json:"users"`
	TotalCount int   `json:"totalCount"`
	HasMore    bool  `json:"hasMore"`
}

func newUsersFoundBody(f core.UsersFound) any {
	b := usersFoundBody{Users: make([]any, len(f.Users)), TotalCount: f.Total, HasMore: f.More}
	for i, c := range f.Users {
		b.Users[i] = newCardBody(c)
	}
	return b
}

type findUserRequest struct {
	Username string `path:"username"`
}

func (r findUserRequest) input() core.FindUserInput { return core.FindUserInput{Username: r.Username} }

type cardBody struct {
	ID          uuid.UUID `json:"id"`
	UserName    string    `json:"userName"`
	DisplayName *string   `json:"displayName"`
	AvatarURL   *string   `json:"avatarUrl"`
}

func newCardBody(c account.Card) any {
	return cardBody{ID: c.ID, UserName: c.Username, DisplayName: c.Name, AvatarURL: c.AvatarURL}
}
