package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// PendingLogin is a session that awaits the code of its challenge, which has its id.
type PendingLogin struct {
	SessionID uuid.UUID
	AccountID uuid.UUID
}

// LoginByStep returns the login that a token names, while its code may still finish it, or has done so under proofKey. It
// returns account.ErrNotFound when there is none.
func (s *Store) LoginByStep(ctx context.Context, stepHash []byte, proofKey string) (PendingLogin, error) {
	var p PendingLogin
	err := s.only(ctx, `
		SELECT s.id, s.account_id FROM sessions s JOIN accounts a ON a.id = s.account_id
		JOIN challenges ch ON ch.id = s.id AND ch.purpose = $2 AND ch.superseded_at IS NULL AND ch.code_expires_at > now()
		WHERE s.step_hash = $1 AND `+sessionLive+` AND `+accountUsable+`
			AND (s.state = 'pending' AND ch.consumed_at IS NULL OR ch.consumed_at IS NOT NULL AND ch.proof_key = $3::text)`,
		[]any{stepHash, string(account.PurposeDevice), nullable(proofKey)}, &p.SessionID, &p.AccountID)
	return p, err
}

// VerifiedDevice is what finishes a login by code.
type VerifiedDevice struct {
	// DeviceID is the id of the device to trust, TokenHash the hash of its token.
	DeviceID  uuid.UUID
	TokenHash []byte
	// DeviceTTL is how long it is trusted, Most how many devices the account may have.
	DeviceTTL time.Duration
	Most      int
	// RefreshHash is the hash of the refresh token that the session gets, in place of any other. It waits RefreshIdle.
	RefreshHash []byte
	RefreshIdle time.Duration
	SessionTTL  time.Duration
	// Told is the notice to the owner, owed with the change; its account is the login's.
	Told account.Notice
}

var errNoLogin = errors.New("the login is not pending any more")

// VerifyDevice consumes a proven challenge, makes the session of its login a full one with a refresh token, and trusts the
// device that was named with the proof, in one transaction. Repeating it returns the same result. It returns
// account.ErrInvalidCode when the challenge is not proven, or the login has ended.
func (s *Store) VerifyDevice(ctx context.Context, challenge uuid.UUID, v VerifiedDevice) (ChallengeResult, error) {
	var out ChallengeResult
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		row, done, err := tx.consume(ctx, challenge)
		if err != nil {
			return err
		}
		if done != nil {
			out = *done
			return nil
		}
		proof, err := row.proof()
		if err != nil {
			return err
		}
		if row.AccountID == nil || account.Purpose(row.Purpose) != account.PurposeDevice {
			return account.ErrInvalidCode.Because(errNoLogin)
		}
		out = ChallengeResult{AccountID: *row.AccountID, SessionID: challenge, DeviceID: v.DeviceID}
		lift := Lift{AccountID: out.AccountID, SessionID: out.SessionID, Method: "device_otp", TTL: v.SessionTTL}
		if err := tx.requirePending(ctx, lift); err != nil {
			return err
		}
		trust := Trust{
			ID: v.DeviceID, AccountID: out.AccountID, TokenHash: v.TokenHash, Client: proof.Device, TTL: v.DeviceTTL, Most: v.Most,
		}
		kept, err := out.kept(challenge)
		if err != nil {
			return err
		}
		trusted, err := tx.recording(ctx, out.AccountID, account.EventDeviceTrusted, trust.details())
		if err != nil {
			return err
		}
		steps := slices.Concat([]*step{lift.step()}, v.tokens(out.SessionID, proof.Device), trust.steps(), []*step{kept, trusted.step, oweStep(out.AccountID, v.Told)})
		if err := tx.atOnce(ctx, steps...); err != nil {
			return err
		}
		return tx.recorded(ctx, trusted)
	})
	return out, translate(err)
}

// requirePending locks an account and a session of it that still awaits its code, or returns account.ErrInvalidCode. An
// authenticator app that was set up meanwhile is the stronger step, and the one that is due; whoever sets one up at this moment
// comes before or after all of the transaction. A session that was made a full one meanwhile has a refresh token in use, which is
// not taken from under it.
func (s *Store) requirePending(ctx context.Context, l Lift) error {
	var pending, factor bool
	locked, read := usableLocked(l.AccountID), l.read(&pending)
	err := s.atOnce(ctx, locked, read, &step{
		query: `SELECT EXISTS (SELECT 1 FROM totp_factors WHERE account_id = $1 AND confirmed_at IS NOT NULL)`,
		args:  []any{l.AccountID}, into: []any{&factor},
	})
	if err == nil && (!locked.found || !read.found || !pending || factor) {
		err = account.ErrInvalidCode.Because(errNoLogin)
	}
	return err
}

// tokens give a session its only refresh token, and the name of its device.
func (v VerifiedDevice) tokens(session uuid.UUID, client account.ClientDevice) []*step {
	return []*step{
		{query: `DELETE FROM refresh_tokens WHERE session_id = $1`, args: []any{session}},
		{
			query: `INSERT INTO refresh_tokens (token_hash, session_id, expires_at)
				SELECT $2::bytea, id, least(expires_at, now() + $3::float8 * interval '1 second') FROM sessions WHERE id = $1`,
			args: []any{session, v.RefreshHash, seconds(v.RefreshIdle)},
		},
		{
			query: `UPDATE sessions SET device_id = $2, device_name = $3, platform = $4 WHERE id = $1`,
			args:  []any{session, client.ID, client.Name, client.Platform},
		},
	}
}
