package store

import (
	"context"
	"errors"
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
		// Whoever sets up an authenticator app at this moment comes before or after all of it.
		if err := tx.lockUsable(ctx, *row.AccountID); err != nil && !errors.Is(err, account.ErrNotFound) {
			return err
		}
		// An authenticator app that was set up meanwhile is the stronger step, and the one that is due. A session that was made a full
		// one meanwhile has a refresh token in use, which is not taken from under it.
		var over bool
		err = tx.only(ctx, `SELECT EXISTS (SELECT 1 FROM totp_factors WHERE account_id = $1 AND confirmed_at IS NOT NULL)
			OR EXISTS (SELECT 1 FROM sessions WHERE id = $2 AND state <> 'pending')`, []any{*row.AccountID, challenge}, &over)
		if err != nil {
			return err
		}
		if over {
			return account.ErrInvalidCode.Because(errNoLogin)
		}
		out = ChallengeResult{AccountID: *row.AccountID, SessionID: challenge, DeviceID: v.DeviceID}
		err = tx.LiftSession(ctx, Lift{AccountID: out.AccountID, SessionID: out.SessionID, Method: "device_otp", TTL: v.SessionTTL})
		if errors.Is(err, account.ErrNotFound) {
			return account.ErrInvalidCode.Because(errNoLogin)
		}
		if err != nil {
			return err
		}
		if err := tx.renewTokens(ctx, out.SessionID, v, proof.Device); err != nil {
			return err
		}
		_, err = tx.TrustDevice(ctx, Trust{
			ID: v.DeviceID, AccountID: out.AccountID, TokenHash: v.TokenHash, Client: proof.Device, TTL: v.DeviceTTL, Most: v.Most,
		})
		if err != nil {
			return err
		}
		return tx.keepResult(ctx, challenge, out)
	})
	return out, translate(err)
}

// renewTokens gives a session its only refresh token, and the name of its device.
func (s *Store) renewTokens(ctx context.Context, session uuid.UUID, v VerifiedDevice, client account.ClientDevice) error {
	return s.atOnce(ctx,
		&step{query: `DELETE FROM refresh_tokens WHERE session_id = $1`, args: []any{session}},
		&step{
			query: `INSERT INTO refresh_tokens (token_hash, session_id, expires_at)
				SELECT $2::bytea, id, least(expires_at, now() + $3::float8 * interval '1 second') FROM sessions WHERE id = $1`,
			args: []any{session, v.RefreshHash, seconds(v.RefreshIdle)},
		},
		&step{
			query: `UPDATE sessions SET device_id = $2, device_name = $3, platform = $4 WHERE id = $1`,
			args:  []any{session, client.ID, client.Name, client.Platform},
		})
}
