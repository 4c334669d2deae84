package core

import (
	"context"
	"crypto/rand"
	"errors"
	"math/big"
	"strings"
	"unicode/utf8"

	"gatehouse/account"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// suggestions is how many usernames are offered in place of one that cannot be had.
const suggestions = 3

// CheckUsernameInput asks whether a username can be had (D10).
type CheckUsernameInput struct {
	Username string
}

// UsernameChecked says whether a username can be had. Suggestions are others that can, none where it is available.
type UsernameChecked struct {
	Username    string
	Available   bool
	Suggestions []string
}

// CheckUsername tells whether a username is well-formed and free, and offers others when it is not (D10). What it offers
// is made up and then looked up, so that it tells nobody's name.
func (c *Core) CheckUsername(ctx context.Context, _ account.Caller, in CheckUsernameInput) (UsernameChecked, error) {
	out := UsernameChecked{Username: account.FoldUsername(in.Username)}
	if out.Username == "" {
		return out, account.ErrInvalid.On("username", "is required")
	}
	wanted := account.SuggestUsernames(in.Username, draw)
	username, fault := account.ParseUsername(in.Username)
	if fault == "" {
		wanted = append([]string{username}, wanted...)
	}
	free, err := c.Store.FreeUsernames(ctx, wanted)
	if err != nil {
		return out, err
	}
	if fault == "" && len(free) > 0 && free[0] == username {
		out.Available = true
		return out, nil
	}
	out.Suggestions = free[:min(len(free), suggestions)]
	return out, nil
}

func draw(n int) int {
	drawn, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		return 0
	}
	return int(drawn.Int64())
}

// UsernameChange says what became of a username, or what may become of it. Old is nil where there is none.
type UsernameChange struct {
	Old *string
	New string
}

// UsernameChangeable says whether the caller may change their username now; Refusal says why not.
type UsernameChangeable struct {
	Current *string
	Refusal *account.Error
}

// CanChangeUsername tells whether ChangeUsername would be refused whatever the username (D11).
func (c *Core) CanChangeUsername(ctx context.Context, by account.Caller, _ None) (UsernameChangeable, error) {
	if by.Principal == nil {
		return UsernameChangeable{}, account.ErrUnauthorized
	}
	a := by.Principal.Account
	out := UsernameChangeable{Current: a.Username}
	err := c.Store.UsernameChangeable(ctx, a.ID, c.Policy.UsernameQuota())
	if errors.Is(err, account.ErrUsernameLimit) {
		out.Refusal, err = account.AsError(err), nil
	}
	return out, err
}

// ChangeUsernameInput gives the caller another username (D12).
type ChangeUsernameInput struct {
	Username string
}

// ChangeUsername changes the caller's username, or chooses their first (D12). The former one is kept for them for a while.
// It returns account.ErrUsernameLimit when it was changed too often, and account.ErrUsernameTaken when it is somebody's, or
// kept for somebody, or the caller's already.
func (c *Core) ChangeUsername(ctx context.Context, by account.Caller, in ChangeUsernameInput) (UsernameChange, error) {
	if out, done, err := made[UsernameChange](by); done {
		return out, err
	}
	if by.Principal == nil {
		return UsernameChange{}, account.ErrUnauthorized
	}
	username, fault := account.ParseUsername(in.Username)
	if fault != "" {
		return UsernameChange{}, account.ErrInvalid.On("username", fault)
	}
	a := by.Principal.Account
	out, err := commitOnce(ctx, c, by, func(ctx context.Context, tx *store.Store) (UsernameChange, told, error) {
		if err := requireLive(ctx, tx, by); err != nil {
			return UsernameChange{}, nil, err
		}
		old, err := tx.ChangeUsername(ctx, store.UsernameChange{
			AccountID: a.ID, Username: username, Limit: c.Policy.UsernameQuota(), Hold: c.Policy.UsernameHold,
		})
		return UsernameChange{Old: old, New: username}, c.toVerified(a, templates.UsernameChanged), err
	})
	return out, unauthorized(err)
}

// The sizes of a page of people (D13), and the shortest text to look for.
const (
	defaultPage = 4
	largestPage = 20
	minSearch   = 2
)

// SearchUsersInput looks for people (D13). A nil Page is the first one, a nil Size the default.
type SearchUsersInput struct {
	Text string
	Page *int64
	Size *int64
}

// UsersFound is one page of what a search found. Total is exact up to account.MaxFound, where the pages end.
type UsersFound struct {
	Users []account.Card
	Total int
	More  bool
}

func (in SearchUsersInput) validate() (page, size int64, err error) {
	invalid := account.ErrInvalid
	// Counted as sent, with the @ (contract D13).
	if utf8.RuneCountInString(in.Text) < minSearch {
		invalid = invalid.On("q", "must be at least 2 characters")
	}
	if in.Page != nil {
		page = *in.Page
	}
	if page < 0 {
		invalid = invalid.On("page", "must be 0 or more")
	}
	size = defaultPage
	if in.Size != nil {
		size = *in.Size
	}
	if size < 1 || size > largestPage {
		invalid = invalid.On("size", "must be between 1 and 20")
	}
	return page, size, faults(invalid)
}

// SearchUsers finds people by a part of their username or name (D13): those who are active, have finished their onboarding
// and have a username.
func (c *Core) SearchUsers(ctx context.Context, _ account.Caller, in SearchUsersInput) (UsersFound, error) {
	page, size, err := in.validate()
	if err != nil {
		return UsersFound{}, err
	}
	text := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(in.Text), "@"))
	// Nothing is in every name, and nobody has a name that long.
	if text == "" || utf8.RuneCountInString(text) > maxName {
		return UsersFound{}, nil
	}
	found, err := c.Store.SearchCards(ctx, text)
	if err != nil {
		return UsersFound{}, err
	}
	from := int64(len(found))
	if page <= from/size {
		from = min(page*size, from)
	}
	to := min(from+size, int64(len(found)))
	return UsersFound{Users: found[from:to], Total: len(found), More: to < int64(len(found))}, nil
}

// FindUserInput names a person by username, with or without an @ in front (D14).
type FindUserInput struct {
	Username string
}

// FindUser returns who has a username (D14). It returns account.ErrNotFound when nobody has it, or nobody whom SearchUsers
// would find.
func (c *Core) FindUser(ctx context.Context, _ account.Caller, in FindUserInput) (account.Card, error) {
	username, fault := account.ReadUsername(in.Username)
	if fault != "" {
		return account.Card{}, account.ErrNotFound
	}
	return c.Store.CardOf(ctx, username)
}
