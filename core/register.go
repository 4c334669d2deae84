package core

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/store"
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
	resumed := err == nil
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		return Registered{}, err
	}
	if resumed && c.hidden() && c.Clock.Now().Sub(attempt.CreatedAt) > resumedFor {
		// Of a registration that made none, no row tells that its key was ever used.
		id, resumed = uuid.New(), false
	}
	switch {
	case !resumed:
		instead, err := c.beginRegistration(ctx, by, in, id, email, username)
		if err != nil {
			return Registered{}, err
		}
		if instead != nil {
			return *instead, nil
		}
	case attempt.Email != email:
		return Registered{}, account.ErrIdempotencyKeyReused
	case attempt.AccountID != nil:
		by.Begin(c.signupOperationID(id))
		return c.registered(ctx, email, username, *attempt.SessionID)
	}
	return c.openRegistration(ctx, by, in, id, email, username)
}

// beginRegistration parks a registration, or returns what is answered instead where none can come of it.
func (c *Core) beginRegistration(
	ctx context.Context, by account.Caller, in RegisterInput, id uuid.UUID, email string, username *string,
) (*Registered, error) {
	instead, err := c.refuseRegistration(ctx, by, in, email, username)
	if instead != nil || err != nil {
		return instead, err
	}
	err = c.parkRegistration(ctx, by, in, id, email, username)
	if errors.Is(err, account.ErrTooManyRequests) && c.hidden() {
		by.Begin(c.blindOperation(account.FlowSignup))
		late, err := c.lateRegistration(ctx, in, id, email, username) // of a taken address the owner is not told again either
		return &late, err
	}
	return nil, err
}

// resumedFor is how long a registration under an Idempotency-Key is gone on with: less than the key's answer is kept, so that no
// repetition is answered otherwise than by what was kept.
const resumedFor = account.IdempotencyLife - time.Hour

// openRegistration has the flow make the account of a parked registration.
func (c *Core) openRegistration(
	ctx context.Context, by account.Caller, in RegisterInput, id uuid.UUID, email string, username *string,
) (Registered, error) {
	operation := c.signupOperationID(id)
	by.Begin(operation)
	opened, err := c.openFlow(ctx, account.SignupByRegister, email, workflows.SignupRequest{AttemptID: id, ChallengeID: id})
	if errors.Is(err, account.ErrIdentityAlreadyUsed) && c.hidden() {
		return c.lateRegistration(ctx, in, id, email, username)
	}
	if err != nil {
		return Registered{}, pending(again(err), operation)
	}
	return c.registered(ctx, email, username, opened.SessionID)
}

// lateRegistration is the answer in hidden mode to a registration that another one was quicker than. Its password, which comes to
// nothing, contests the other one's first.
func (c *Core) lateRegistration(ctx context.Context, in RegisterInput, id uuid.UUID, email string, username *string) (Registered, error) {
	if _, err := c.contest(ctx, email, in.Password, id); err != nil {
		return Registered{}, err
	}
	return c.seemsRegistered(email, username)
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
	contested := false
	if c.hidden() {
		if contested, err = c.contest(ctx, email, in.Password, id); err != nil {
			return err
		}
	}
	err = c.Store.InTx(ctx, func(ctx context.Context, tx *store.Store) error {
		// Only now, so that a registration refused before costs its owner nothing; and in the transaction that parks it, so that
		// whoever is refused because this one was counted finds it, and contests it.
		if _, err := c.chargeSendIn(ctx, tx, by, account.PurposeEmail, email); err != nil {
			return err
		}
		_, _, err := tx.OpenSignup(ctx, account.SignupAttempt{
			ID: id, Kind: account.SignupByRegister, Email: email, Username: username, PasswordHash: hash,
			MarketingOptIn: in.MarketingOptIn, Origin: origin(by, nil, nil, nil),
		}, c.Policy.SignupTTL)
		if err == nil && contested {
			err = tx.Contest(ctx, id)
		}
		return err
	})
	if !errors.Is(err, account.ErrTooManyRequests) || c.hidden() {
		return err
	}
	// Whoever comes too late because another registration of the address has just succeeded is told that, and not to wait.
	if _, unknown := c.Store.OwnerOf(ctx, email); unknown == nil {
		return account.ErrIdentityAlreadyUsed
	}
	return err
}

// contest compares the password of a registration with those that others of its address were begun with, and marks all of them
// when one differs: whoever proves the address gets an account that neither opens (security.md PRE-06). It reports whether they
// are contested. Own is the one that asks.
func (c *Core) contest(ctx context.Context, email, password string, own uuid.UUID) (bool, error) {
	rivals, err := c.Store.Rivals(ctx, email, own)
	if err != nil {
		return false, err
	}
	contested := false
	ids := make([]uuid.UUID, len(rivals))
	for i, r := range rivals {
		same := false
		// One that is known to be contested is compared as well: the time must not tell.
		if !contested {
			if same, err = c.Hasher.Verify(ctx, r.PasswordHash, password, nil); err != nil {
				return false, err
			}
		}
		ids[i], contested = r.Attempt, contested || !same || r.Contested
	}
	if !contested {
		return false, nil
	}
	return true, c.Store.Contest(ctx, ids...)
}

// refuseRegistration is the cheap look before a flow is started; the unique indexes decide. In hidden mode a taken email
// gets the answer of a success, with a token of no session, and its owner is told; one that nobody has proven yet is sent its code
// again, since only that can tell whose it is.
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
	if owner.Verified {
		if _, err = c.Hasher.Hash(ctx, in.Password); err == nil {
			err = c.tellOwner(ctx, by, account.PurposeEmail, email, owner.AccountID)
		}
	} else {
		if _, err = c.contest(ctx, email, in.Password, uuid.Nil); err == nil {
			err = c.sendAgain(ctx, by, email, owner.AccountID)
		}
	}
	if err != nil {
		return nil, err
	}
	fake, err := c.seemsRegistered(email, username)
	return &fake, err
}

// sendAgain has the code and link of an unverified account sent anew, as often as codes go out.
func (c *Core) sendAgain(ctx context.Context, by account.Caller, email string, owner uuid.UUID) error {
	operation := c.blindOperation(account.FlowSignup)
	by.Begin(operation)
	_, err := c.chargeSend(ctx, by, account.PurposeEmail, email)
	if errors.Is(err, account.ErrTooManyRequests) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = c.openFlow(ctx, account.SignupByRegister, email, workflows.SignupRequest{ChallengeID: challengeID(by), AccountID: owner})
	return pending(expired(err), operation)
}
