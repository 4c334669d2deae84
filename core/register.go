package core

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/workflows"
)

// RegisterInput makes an unverified account at once (B02).
type RegisterInput struct {
	Username       string
	Email          string
	Password       string
	MarketingOptIn bool
}

// Registered is the answer to RegisterInput. In hidden enumeration mode it may describe an account that does not exist.
type Registered struct {
	AccountID uuid.UUID
	Username  string
	Email     string
	Token     string
}

func (in RegisterInput) validate() (email string, username *string, err error) {
	invalid := account.ErrInvalid
	email, fault := account.ParseEmail(in.Email)
	if fault != "" {
		invalid = invalid.On("email", fault)
	}
	// The document's own clients send the email as the username: that is none (contract X09).
	if strings.TrimSpace(in.Username) == "" || account.NormalizeEmail(in.Username) != email {
		name, fault := account.ParseUsername(in.Username)
		if fault != "" {
			invalid = invalid.On("username", fault)
		}
		username = &name
	}
	own := []string{email}
	if username != nil {
		own = append(own, *username)
	}
	if fault := account.PasswordFault(in.Password, own...); fault != "" {
		invalid = invalid.On("password", fault)
	}
	return email, username, faults(invalid)
}

// Register makes an account at once, unverified, with a first session, and has a code and a link sent to its address
// (B02, design D5). It returns account.ErrIdentityAlreadyUsed when the username or, in documented enumeration mode, the
// email is taken, account.ErrTooManyRequests when the address got too many codes, and account.ErrPending when the flow
// does not answer in time but goes on. In hidden mode the token opens nothing, and the account has no username, before the address
// is proven: either would tell that the address was free.
func (c *Core) Register(ctx context.Context, by account.Caller, in RegisterInput) (Registered, error) {
	email, username, err := in.validate()
	if err != nil {
		return Registered{}, err
	}
	defer c.padHidden(&c.pads.signup)()
	id := challengeID(by)
	attempt, err := c.Store.Signup(ctx, id)
	if err == nil && c.hidden() && c.Clock.Now().Sub(attempt.CreatedAt) > resumedFor {
		// Of a registration that made none, no row tells that its key was ever used.
		id, err = uuid.New(), account.ErrNotFound
	}
	switch {
	case err == nil && attempt.Email != email:
		return Registered{}, account.ErrIdempotencyKeyReused
	case err == nil && attempt.AccountID != nil:
		by.Begin(c.signupOperationID(id))
		return c.registered(ctx, email, username, *attempt.SessionID)
	case errors.Is(err, account.ErrNotFound):
		fake, err := c.refuseRegistration(ctx, by, in, email, username)
		if err != nil {
			return Registered{}, err
		}
		if fake != nil {
			return *fake, nil
		}
		err = c.parkRegistration(ctx, by, in, id, email, username)
		if errors.Is(err, account.ErrTooManyRequests) && c.hidden() {
			by.Begin(c.blindOperation(account.FlowSignup))
			return c.seemsRegistered(email, username) // as for a taken address, whose owner is not told again either
		}
		if err != nil {
			return Registered{}, err
		}
	case err != nil:
		return Registered{}, err
	}
	return c.openRegistration(ctx, by, id, email, username)
}

// resumedFor is how long a registration under an Idempotency-Key is gone on with: less than the key's answer is kept, so that no
// repetition is answered otherwise than by what was kept.
const resumedFor = account.IdempotencyLife - time.Hour

// openRegistration has the flow make the account of a parked registration.
func (c *Core) openRegistration(ctx context.Context, by account.Caller, id uuid.UUID, email string, username *string) (Registered, error) {
	operation := c.signupOperationID(id)
	by.Begin(operation)
	opened, err := c.openFlow(ctx, account.SignupByRegister, email, workflows.SignupRequest{AttemptID: id, ChallengeID: id})
	if errors.Is(err, account.ErrIdentityAlreadyUsed) && c.hidden() {
		return c.seemsRegistered(email, username) // somebody has just proven the address
	}
	if err != nil {
		return Registered{}, pending(again(err), operation)
	}
	return c.registered(ctx, email, username, opened.SessionID)
}

// registered tells of the account that was made. It may be gone again, when somebody else has proven its address in the same
// moment.
func (c *Core) registered(ctx context.Context, email string, username *string, session uuid.UUID) (Registered, error) {
	s, err := c.signInOr(ctx, session, account.ErrIdentityAlreadyUsed)
	if errors.Is(err, account.ErrIdentityAlreadyUsed) && c.hidden() {
		return c.seemsRegistered(email, username)
	}
	if err != nil {
		return Registered{}, err
	}
	a := s.Principal.Account
	if c.hidden() {
		return c.registeredHidden(email, username, a.ID, session)
	}
	return Registered{AccountID: a.ID, Username: a.DisplayUsername(), Email: *a.Email, Token: s.AccessToken}, nil
}

func (c *Core) parkRegistration(ctx context.Context, by account.Caller, in RegisterInput, id uuid.UUID, email string, username *string) error {
	hash, err := c.Hasher.Hash(ctx, in.Password)
	if err != nil {
		return err
	}
	// Only now, so that a registration refused before costs its owner nothing.
	if err := c.chargeRegistration(ctx, by, email); err != nil {
		return err
	}
	_, _, err = c.Store.OpenSignup(ctx, account.SignupAttempt{
		ID: id, Kind: account.SignupByRegister, Email: email, Username: username, PasswordHash: hash,
		MarketingOptIn: in.MarketingOptIn, Origin: origin(by, nil, nil, nil),
	}, c.Policy.SignupTTL)
	return err
}

// chargeRegistration counts the mail that a registration sends. Whoever comes too late because another registration of
// the address has just succeeded is told that, and not to wait.
func (c *Core) chargeRegistration(ctx context.Context, by account.Caller, email string) error {
	_, err := c.chargeSend(ctx, by, account.PurposeEmail, email)
	if !errors.Is(err, account.ErrTooManyRequests) || c.hidden() {
		return err
	}
	if _, unknown := c.Store.OwnerOf(ctx, email); unknown == nil {
		return account.ErrIdentityAlreadyUsed
	}
	return err
}

// refuseRegistration is the cheap look before a flow is started; the unique indexes decide. In hidden mode a taken email
// gets the answer of a success, with a token of no session, and its owner is told.
func (c *Core) refuseRegistration(ctx context.Context, by account.Caller, in RegisterInput, email string, username *string) (*Registered, error) {
	if username != nil {
		taken, err := c.Store.UsernameTaken(ctx, *username)
		if err != nil {
			return nil, err
		}
		if taken {
			return nil, account.ErrIdentityAlreadyUsed
		}
	}
	owner, err := c.Store.OwnerOf(ctx, email)
	switch {
	case errors.Is(err, account.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case c.Policy.Enumeration == account.EnumerationDocumented:
		return nil, account.ErrIdentityAlreadyUsed
	}
	if _, err := c.Hasher.Hash(ctx, in.Password); err != nil {
		return nil, err
	}
	if err := c.tellOwner(ctx, by, account.PurposeEmail, email, owner.AccountID); err != nil {
		return nil, err
	}
	fake, err := c.seemsRegistered(email, username)
	return &fake, err
}
