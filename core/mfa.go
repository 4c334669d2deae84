package core

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/internal/secret"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// backupCodes is how many of them an authenticator app comes with.
const backupCodes = 10

// MFASetup is what an authenticator app needs, shown this once.
type MFASetup struct {
	// Secret is base32, URL the otpauth address of it.
	Secret      string
	URL         string
	BackupCodes []string
}

// SetupMFA begins to set up an authenticator app: it waits for its first code (VerifyMFA), and changes nothing before that
// (B10). A new one takes the place of one that waits. It returns account.ErrEmailNotVerified,
// account.ErrReauthenticationRequired, and account.ErrTwoFactorEnabled when the account has an app in use.
func (c *Core) SetupMFA(ctx context.Context, by account.Caller, _ None) (MFASetup, error) {
	if out, done, err := made[MFASetup](by); done {
		return out, err
	}
	if err := c.requireVerified(by); err != nil {
		return MFASetup{}, err
	}
	if err := c.requireFresh(by); err != nil {
		return MFASetup{}, err
	}
	a := by.Principal.Account
	// The email, as document B says, and the username only where there is none. An account may have neither.
	label := cmp.Or(a.DisplayUsername(), a.ID.String())
	if a.Email != nil {
		label = *a.Email
	}
	key, url, err := secret.NewTOTP(c.Policy.TOTPIssuer, label)
	if err != nil {
		return MFASetup{}, err
	}
	out := MFASetup{Secret: key, URL: url}
	n := store.NewFactor{AccountID: a.ID, Sealed: c.Keys.SealTOTP(a.ID, key), TTL: c.Policy.MFASetupTTL}
	for range backupCodes {
		code := secret.NewBackupCode()
		out.BackupCodes = append(out.BackupCodes, code)
		n.BackupHashes = append(n.BackupHashes, c.Keys.BackupCodeHash(a.ID, code))
	}
	out, err = commitOnce(ctx, c, by, func(ctx context.Context, tx *store.Store) (MFASetup, told, error) {
		if err := requireLive(ctx, tx, by); err != nil {
			return MFASetup{}, nil, err
		}
		return out, nil, tx.BeginFactor(ctx, n)
	})
	return out, unauthorized(err)
}

// VerifyMFAInput shows a code of the second factor (B11).
type VerifyMFAInput struct {
	// Code is of the authenticator app, or a backup code.
	Code           string
	RememberDevice bool
}

// MFAVerified is the answer to VerifyMFAInput.
type MFAVerified struct {
	Valid bool
	// DeviceToken and ExpiresAt are those of a remembered device.
	DeviceToken string
	ExpiresAt   *time.Time
}

// VerifyMFA takes a code of the authenticator app, or a backup code: the first code turns two-factor authentication on,
// every one lifts a pending session and counts as an authentication of it (B11). A wrong code is an answer, not a failure.
// It returns account.ErrTooManyRequests while the account waits after too many of them.
func (c *Core) VerifyMFA(ctx context.Context, by account.Caller, in VerifyMFAInput) (MFAVerified, error) {
	if out, done, err := made[MFAVerified](by); done {
		return out, err
	}
	if fault := blankFault(in.Code); fault != "" {
		return MFAVerified{}, account.ErrInvalid.On("code", fault)
	}
	owner, session, err := current(by)
	if err != nil {
		return MFAVerified{}, err
	}
	use := store.FactorUse{
		AccountID: owner, Session: session, SessionTTL: c.Policy.SessionTTL,
		Confirm: by.Principal.Session.State == account.SessionActive,
	}
	var token string
	if in.RememberDevice {
		var trust store.Trust
		trust, token = c.newTrust(owner, by.Principal.Session.Client)
		use.Trust = &trust
	}
	out, err := c.showFactor(ctx, by, use, in.Code, token)
	if errors.Is(err, account.ErrInvalidCode) {
		return MFAVerified{}, nil
	}
	return out, err
}

// showFactor compares a code and uses it up. token is that of the device to remember, if there is one. It returns
// account.ErrInvalidCode for a wrong code.
func (c *Core) showFactor(ctx context.Context, by account.Caller, use store.FactorUse, code, token string) (MFAVerified, error) {
	use, err := c.compareFactor(ctx, use, strings.TrimSpace(code))
	if err != nil {
		return MFAVerified{}, err
	}
	out, err := commitOnce(ctx, c, by, func(ctx context.Context, tx *store.Store) (out MFAVerified, owed told, err error) {
		shown, err := tx.ShowFactor(ctx, use)
		if err != nil {
			return out, nil, err
		}
		out.Valid = true
		switch {
		case shown.Enabled:
			owed = append(owed, c.notice(use.AccountID, templates.TwoFactorEnabled, uuid.NewString()))
		case use.BackupHash != nil:
			owed = append(owed, c.notice(use.AccountID, templates.BackupCodeUsed, uuid.NewString()))
		}
		if use.Trust != nil {
			owed = append(owed, c.notice(use.AccountID, templates.DeviceAdded, shown.Device.ID.String()))
			out.DeviceToken, out.ExpiresAt = token, &shown.Device.ExpiresAt
		}
		return out, owed, nil
	})
	return out, unauthorized(err)
}

// compareFactor finds out what code is. Which of many right and wrong ones at the same moment counts, the store decides
// when it uses one up or counts it: until then nothing is told about any of them.
func (c *Core) compareFactor(ctx context.Context, use store.FactorUse, code string) (store.FactorUse, error) {
	use, matches, err := c.compareStep(ctx, use, code)
	if errors.Is(err, account.ErrNotFound) {
		return use, account.ErrInvalidCode.Because(err)
	}
	if err != nil || matches {
		return use, err
	}
	hash := c.Keys.BackupCodeHash(use.AccountID, code)
	found, err := c.Store.HasBackupCode(ctx, use.AccountID, hash)
	if err != nil {
		return use, err
	}
	if found {
		use.BackupHash = hash
		return use, nil
	}
	return use, c.factorFailed(ctx, use.AccountID)
}

// compareStep finds out whether code is one of the authenticator app. It returns account.ErrNotFound when there is none that
// use may be of, and account.ErrTooManyRequests while it waits.
func (c *Core) compareStep(ctx context.Context, use store.FactorUse, code string) (store.FactorUse, bool, error) {
	factor, err := c.Store.FactorOf(ctx, use.AccountID)
	if err == nil && !factor.Confirmed && !use.Confirm {
		err = account.ErrNotFound
	}
	if err != nil {
		return use, false, err
	}
	key, err := c.Keys.OpenTOTP(use.AccountID, factor.Sealed)
	if err != nil {
		return use, false, err
	}
	step, matches := secret.TOTPStep(key, code, c.Clock.Now())
	if matches {
		use.Sealed, use.Step = factor.Sealed, step
	}
	return use, matches, nil
}

// factorFailed counts a wrong code and returns account.ErrInvalidCode. An owner whose app waits after too many is told: who
// comes that far knows the password.
func (c *Core) factorFailed(ctx context.Context, accountID uuid.UUID) error {
	err := c.commit(ctx, func(ctx context.Context, tx *store.Store) (told, error) {
		locked, err := tx.FactorFailed(ctx, accountID, c.Policy.MFATries, c.Policy.MFALock)
		if err != nil || !locked {
			return nil, err
		}
		return told{c.notice(accountID, templates.TwoFactorLocked, uuid.NewString())}, nil
	})
	if err != nil {
		return err
	}
	return account.ErrInvalidCode
}

// byApp uses up a code of the authenticator app in use. Where code is none of it, or there is no app, other may take it: a
// code that is wrong for both is counted as a wrong one of both. It returns account.ErrInvalidOTP for a used code, and
// account.ErrTooManyRequests for one that other refused while the app waits after wrong codes.
func (c *Core) byApp(ctx context.Context, by account.Caller, use store.FactorUse, code string, other func() error) error {
	use, matches, err := c.compareStep(ctx, use, code)
	if matches {
		_, err := once(ctx, c, by, func(ctx context.Context, tx *store.Store) (None, error) {
			_, err := tx.ShowFactor(ctx, use)
			return None{}, err
		})
		if errors.Is(err, account.ErrInvalidCode) {
			return account.ErrInvalidOTP.Because(err)
		}
		return unauthorized(err)
	}
	none, waits := errors.Is(err, account.ErrNotFound), errors.Is(err, account.ErrTooManyRequests)
	if err != nil && !none && !waits {
		return err
	}
	refused := other()
	switch {
	case none || !errors.Is(refused, account.ErrInvalidOTP):
		return refused
	case waits:
		return err
	}
	if err := c.factorFailed(ctx, use.AccountID); !errors.Is(err, account.ErrInvalidCode) {
		return err
	}
	return refused
}

// TwoFactorInput confirms a change of two-factor authentication by the account's password (D02, D03).
type TwoFactorInput struct {
	Password string
}

func (in TwoFactorInput) validate() error {
	if fault := blankFault(in.Password); fault != "" {
		return account.ErrInvalid.On("password", fault)
	}
	return nil
}

// EnableTwoFactor turns two-factor authentication on: codes to the proven email are the second factor until an
// authenticator app is set up (D02, contract X14). It returns account.ErrEmailNotVerified, account.ErrInvalidPassword,
// account.ErrTwoFactorEnabled, and account.ErrNoSecondFactor for an account without an email.
func (c *Core) EnableTwoFactor(ctx context.Context, by account.Caller, in TwoFactorInput) (None, error) {
	if out, done, err := made[None](by); done {
		return out, err
	}
	if err := in.validate(); err != nil {
		return None{}, err
	}
	owner, session, err := current(by)
	if err != nil {
		return None{}, err
	}
	if err := c.requireVerified(by); err != nil {
		return None{}, err
	}
	if _, err := c.provePassword(ctx, by, in.Password); err != nil {
		return None{}, err
	}
	out, err := commitOnce(ctx, c, by, func(ctx context.Context, tx *store.Store) (None, told, error) {
		return None{}, told{c.notice(owner, templates.TwoFactorEnabled, uuid.NewString())}, tx.EnableTwoFactor(ctx, owner, session)
	})
	return out, unauthorized(err)
}

// DisableTwoFactor turns two-factor authentication off and forgets the authenticator app, its backup codes and every
// remembered device (D03). It returns account.ErrInvalidPassword, account.ErrTwoFactorNotEnabled, and
// account.ErrReauthenticationRequired when the session has not shown the second factor within Policy.StepUpAge.
func (c *Core) DisableTwoFactor(ctx context.Context, by account.Caller, in TwoFactorInput) (None, error) {
	if out, done, err := made[None](by); done {
		return out, err
	}
	if err := in.validate(); err != nil {
		return None{}, err
	}
	owner, _, err := current(by)
	if err != nil {
		return None{}, err
	}
	if _, err := c.provePassword(ctx, by, in.Password); err != nil {
		return None{}, err
	}
	if !by.Principal.Account.TwoFactor {
		return None{}, account.ErrTwoFactorNotEnabled
	}
	if err := c.requireFactor(by); err != nil {
		return None{}, err
	}
	out, err := commitOnce(ctx, c, by, func(ctx context.Context, tx *store.Store) (None, told, error) {
		if err := requireLive(ctx, tx, by); err != nil {
			return None{}, nil, err
		}
		return None{}, told{c.notice(owner, templates.TwoFactorDisabled, uuid.NewString())}, tx.DisableTwoFactor(ctx, owner)
	})
	return out, unauthorized(err)
}

// DropFactor turns two-factor authentication off, for operators: its owner has lost the factor, or somebody else has put theirs
// there. Every session ends, and the owner is told. It returns account.ErrNotFound when there is no such account in use, and
// account.ErrTwoFactorNotEnabled.
func (c *Core) DropFactor(ctx context.Context, accountID uuid.UUID) error {
	return c.commit(ctx, func(ctx context.Context, tx *store.Store) (told, error) {
		return told{c.notice(accountID, templates.TwoFactorDisabled, uuid.NewString())}, tx.DropFactor(ctx, accountID)
	})
}
