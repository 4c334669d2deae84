package store

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/account"
)

const settingsColumns = `timezone, odds_format, notify_email, notify_push, notify_sms, theme, language`

func settingsTargets(s *account.Settings) []any {
	return []any{&s.Timezone, &s.OddsFormat, &s.NotifyEmail, &s.NotifyPush, &s.NotifySMS, &s.Theme, &s.Language}
}

// Settings returns the preferences of an account, or account.ErrNotFound.
func (s *Store) Settings(ctx context.Context, accountID uuid.UUID) (account.Settings, error) {
	var out account.Settings
	err := s.db.NewRaw(`SELECT `+settingsColumns+` FROM settings WHERE account_id = ?`, accountID).Scan(ctx, settingsTargets(&out)...)
	return out, translate(err)
}

// ChangeSettings changes what is given of an account's preferences, column by column, and returns all of them. It returns
// account.ErrNotFound when the account is gone.
func (s *Store) ChangeSettings(ctx context.Context, accountID uuid.UUID, ch account.SettingsChange) (account.Settings, error) {
	var out account.Settings
	err := s.db.NewRaw(`
		UPDATE settings SET
			timezone = coalesce(?1, timezone), odds_format = coalesce(?2, odds_format), notify_email = coalesce(?3, notify_email),
			notify_push = coalesce(?4, notify_push), notify_sms = coalesce(?5, notify_sms), theme = coalesce(?6, theme),
			language = coalesce(?7, language)
		WHERE account_id = ?0 AND EXISTS (SELECT 1 FROM accounts WHERE id = ?0 AND deleted_at IS NULL)
		RETURNING `+settingsColumns,
		accountID, ch.Timezone, ch.OddsFormat, ch.NotifyEmail, ch.NotifyPush, ch.NotifySMS, ch.Theme, ch.Language,
	).Scan(ctx, settingsTargets(&out)...)
	return out, translate(err)
}

// DataProviders returns the sources of data of an account, by name.
func (s *Store) DataProviders(ctx context.Context, accountID uuid.UUID) ([]account.DataProvider, error) {
	var rows []account.DataProvider
	err := s.db.NewRaw(`SELECT name, enabled FROM data_providers WHERE account_id = ? ORDER BY name COLLATE "C"`, accountID).
		Scan(ctx, &rows)
	return rows, translate(err)
}

// ChangeDataProviders adds or switches sources of data of an account in one transaction, and returns all of them. It
// returns account.ErrInvalid when the account would have more than limit, and account.ErrNotFound when it is gone.
func (s *Store) ChangeDataProviders(
	ctx context.Context, accountID uuid.UUID, change []account.DataProvider, limit int,
) ([]account.DataProvider, error) {
	var all []account.DataProvider
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		// Changes of one account wait for each other: the limit is exact, and no two lock rows in different orders.
		var id uuid.UUID
		err := tx.db.NewRaw(`SELECT id FROM accounts WHERE id = ? AND deleted_at IS NULL FOR NO KEY UPDATE`, accountID).Scan(ctx, &id)
		if err != nil {
			return err
		}
		for _, p := range change {
			_, err := tx.db.NewRaw(`
				INSERT INTO data_providers (account_id, name, enabled) VALUES (?, ?, ?)
				ON CONFLICT (account_id, name) DO UPDATE SET enabled = excluded.enabled, updated_at = now()`,
				accountID, p.Name, p.Enabled).Exec(ctx)
			if err != nil {
				return err
			}
		}
		if all, err = tx.DataProviders(ctx, accountID); err != nil {
			return err
		}
		if len(all) > limit {
			return account.ErrInvalid.On("data_providers", "are too many")
		}
		return nil
	})
	return all, translate(err)
}
