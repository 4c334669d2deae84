package store

import (
	"context"
	"errors"

	"github.com/google/uuid"
)

// takeTrial notes that the cards of an account have had the trial of a family, and reports whether it may have it: neither the
// account nor any of its cards has had one.
func (s *Store) takeTrial(ctx context.Context, accountID uuid.UUID, family string) (bool, error) {
	left, err := s.trialLeft(ctx, accountID, family)
	if err != nil || !left {
		return false, err
	}
	err = s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		// Accounts that share a card wait for each other at its row, and the second one has nothing left to write. In one order, or
		// they would wait in a circle.
		var all bool
		err := tx.db.NewRaw(`
			WITH cards AS (SELECT DISTINCT fingerprint FROM payment_methods WHERE account_id = ?0 AND fingerprint <> ''),
			taken AS (
				INSERT INTO card_trials (family, fingerprint) SELECT ?1, fingerprint FROM cards ORDER BY fingerprint
				ON CONFLICT DO NOTHING RETURNING fingerprint)
			SELECT (SELECT count(*) FROM taken) = (SELECT count(*) FROM cards)`, accountID, family).Scan(ctx, &all)
		if err == nil && !all {
			err = errCardHadTrial
		}
		return err
	})
	if errors.Is(err, errCardHadTrial) {
		return false, nil
	}
	return err == nil, err
}

// errCardHadTrial takes back what takeTrial has noted of other cards of the account.
var errCardHadTrial = errors.New("a card has had its trial this moment")

// trialLeft reports whether neither the account nor a card of its has had a trial of the family. The cards of accounts that had one
// count too, however late they came to them.
func (s *Store) trialLeft(ctx context.Context, accountID uuid.UUID, family string) (bool, error) {
	var left bool
	err := s.db.NewRaw(`
		SELECT NOT EXISTS (SELECT 1 FROM card_trials t JOIN payment_methods m ON m.fingerprint = t.fingerprint
				WHERE t.family = ?1 AND m.account_id = ?0)
			AND NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.family = ?1 AND s.trial_end IS NOT NULL AND s.account_id IN (
				SELECT ?0::uuid UNION SELECT other.account_id FROM payment_methods mine
				JOIN payment_methods other ON other.fingerprint = mine.fingerprint
				WHERE mine.account_id = ?0 AND mine.fingerprint <> '' AND other.fingerprint <> ''))`, accountID, family).Scan(ctx, &left)
	return left, translate(err)
}

// keepTrials notes, before an account forgets its cards, which of them came to it after its trial.
func (s *Store) keepTrials(ctx context.Context, accountID uuid.UUID) error {
	_, err := s.db.NewRaw(`
		INSERT INTO card_trials (family, fingerprint)
		SELECT DISTINCT s.family, m.fingerprint FROM subscriptions s JOIN payment_methods m ON m.account_id = s.account_id
		WHERE s.account_id = ? AND s.trial_end IS NOT NULL AND m.fingerprint <> '' ORDER BY 1, 2
		ON CONFLICT DO NOTHING`, accountID).Exec(ctx)
	return translate(err)
}
