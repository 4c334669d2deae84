package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// What a ledger answers beside faults. They are no account errors: what they mean is for the operation to say.
var (
	// ErrTooFewCredits means that the balance does not hold what was to be taken.
	ErrTooFewCredits = errors.New("store: too few credits")
	// ErrHoldEnded means that a hold is over in another way than was asked, or never was.
	ErrHoldEnded = errors.New("store: the hold has ended")
	// ErrHoldDiffers means that the key of a hold was used for another amount.
	ErrHoldDiffers = errors.New("store: the key of the hold was used for another amount")
)

// CreditMove is one line of an account's ledger. The same Key happens once.
type CreditMove struct {
	AccountID uuid.UUID
	Kind, Key string
	// Amount is what the balance gains, or loses.
	Amount int64
}

// MoveCredits writes a line of the ledger and changes the balance by it, in one statement: the sum of all lines is always the
// balance. It reports whether the line is new. It returns ErrTooFewCredits when the balance would fall below zero, and
// account.ErrNotFound when there is no such account.
func (s *Store) MoveCredits(ctx context.Context, m CreditMove) (moved bool, err error) {
	line := m.step()
	line.into = []any{&moved}
	err = s.atOnce(ctx, line)
	if told, ok := errors.AsType[*databaseError](err); ok && told.constraint == "credits_not_negative" {
		return false, ErrTooFewCredits
	}
	if err == nil && !line.found {
		return false, errNoRows
	}
	return moved, err
}

// step is MoveCredits as a step among others, for an amount that is not taken.
func (m CreditMove) step() *step {
	return &step{
		query: `
		WITH move AS (
			INSERT INTO credit_moves (account_id, kind, key, amount)
			SELECT account_id, $2::text, $3::text, $4::bigint FROM credits WHERE account_id = $1
			ON CONFLICT (account_id, key) DO NOTHING RETURNING amount)
		UPDATE credits SET balance = balance + coalesce((SELECT amount FROM move), 0) WHERE account_id = $1
		RETURNING EXISTS (SELECT 1 FROM move)`,
		args: []any{m.AccountID, m.Kind, m.Key, m.Amount},
	}
}

// NewHold sets credits aside. The same Key holds once, and TTL is when the hold ends by itself, at the earliest.
type NewHold struct {
	AccountID uuid.UUID
	Key       string
	Amount    int64
	TTL       time.Duration
}

// Hold are credits set aside: they have left the balance, and what is not used comes back.
type Hold struct {
	ID        uuid.UUID
	AccountID uuid.UUID
	Amount    int64
	ExpiresAt time.Time
	// Ended is set once the hold was captured, released or had expired, and then Used is what it has cost.
	Ended bool
	Used  int64
}

type holdRow struct {
	ID        uuid.UUID
	AccountID uuid.UUID
	Amount    int64
	Used      *int64
	ExpiresAt time.Time
}

func (r holdRow) hold() Hold {
	h := Hold{ID: r.ID, AccountID: r.AccountID, Amount: r.Amount, ExpiresAt: r.ExpiresAt, Ended: r.Used != nil}
	if h.Ended {
		h.Used = *r.Used
	}
	return h
}

const holdColumns = `id, account_id, amount, used, expires_at`

// HoldCredits sets credits aside, in one transaction. A repetition of the key returns the same hold, whatever has become of
// it. It returns ErrTooFewCredits, ErrHoldDiffers, and account.ErrNotFound when there is no such account.
func (s *Store) HoldCredits(ctx context.Context, n NewHold) (Hold, error) {
	var row holdRow
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		err := translate(tx.db.NewRaw(`
			INSERT INTO credit_holds (id, account_id, key, amount, expires_at)
			SELECT ?, account_id, ?, ?, now() + ? * interval '1 second' FROM credits WHERE account_id = ?
			ON CONFLICT (account_id, key) DO NOTHING RETURNING `+holdColumns,
			uuid.New(), n.Key, n.Amount, seconds(n.TTL), n.AccountID).Scan(ctx, &row))
		if errors.Is(err, account.ErrNotFound) {
			return tx.db.NewRaw(`SELECT `+holdColumns+` FROM credit_holds WHERE account_id = ? AND key = ?`, n.AccountID, n.Key).
				Scan(ctx, &row)
		}
		if err != nil {
			return err
		}
		_, err = tx.MoveCredits(ctx, CreditMove{AccountID: n.AccountID, Kind: "hold", Key: "hold/" + row.ID.String(), Amount: -n.Amount})
		return err
	})
	if err == nil && row.Amount != n.Amount {
		err = ErrHoldDiffers
	}
	return row.hold(), translate(err)
}

// CaptureHold ends a hold with what it has cost, and brings the rest back; 0 releases it whole. Repeating it changes nothing.
// It returns ErrHoldEnded when the account has no such hold, or it ended with another cost or held less.
func (s *Store) CaptureHold(ctx context.Context, accountID, id uuid.UUID, used int64) error {
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		var held int64
		err := translate(tx.db.NewRaw(`
			UPDATE credit_holds SET used = ?0, ended_at = now()
			WHERE id = ?1 AND account_id = ?2 AND ended_at IS NULL AND ?0 BETWEEN 0 AND amount RETURNING amount`, used, id, accountID).
			Scan(ctx, &held))
		if errors.Is(err, account.ErrNotFound) {
			return tx.requireEnded(ctx, accountID, id, used)
		}
		if err != nil {
			return err
		}
		if used > 0 {
			_, err := tx.db.NewRaw(`UPDATE credits SET total_used = total_used + ? WHERE account_id = ?`, used, accountID).Exec(ctx)
			if err != nil || used == held {
				return err
			}
		}
		_, err = tx.MoveCredits(ctx, CreditMove{
			AccountID: accountID, Kind: "hold_returned", Key: "hold/" + id.String() + "/returned", Amount: held - used,
		})
		return err
	})
	return translate(err)
}

func (s *Store) requireEnded(ctx context.Context, accountID, id uuid.UUID, used int64) error {
	var same bool
	err := translate(s.db.NewRaw(`SELECT ended_at IS NOT NULL AND used = ? FROM credit_holds WHERE id = ? AND account_id = ?`,
		used, id, accountID).Scan(ctx, &same))
	if err == nil && !same || errors.Is(err, account.ErrNotFound) {
		err = ErrHoldEnded
	}
	return err
}

// releaseExpired ends the holds that nobody has ended in time.
func (s *Store) releaseExpired(ctx context.Context) error {
	var expired []holdRow
	err := s.db.NewRaw(`SELECT `+holdColumns+` FROM credit_holds WHERE ended_at IS NULL AND expires_at <= now() ORDER BY expires_at LIMIT ?`,
		sweepBatch).Scan(ctx, &expired)
	errs := []error{translate(err)}
	for _, h := range expired {
		err := s.CaptureHold(ctx, h.AccountID, h.ID, 0)
		if !errors.Is(err, ErrHoldEnded) { // it was captured at this moment
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
