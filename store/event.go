package store

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"

	"gatehouse/account"
)

// record writes a change into the audit log, in the transaction of the change and once per change: whoever makes it says so
// here, after it was made and only if it was. It comes last, because it holds up the other changes of the account until the
// transaction ends: that is why sequences have no gap. A code that was consumed in the transaction says who acts; else the
// context does.
func (s *Store) record(ctx context.Context, accountID uuid.UUID, name account.EventName, details map[string]any) error {
	by := account.ActingIn(ctx)
	if s.prover != nil {
		by = *s.prover
	}
	if details == nil {
		details = map[string]any{}
	}
	text, err := json.Marshal(details)
	if err != nil {
		return err
	}
	_, err = s.db.NewRaw(`
		WITH head AS (
			INSERT INTO audit_heads AS h (account_id, last) VALUES (?0, 1)
			ON CONFLICT (account_id) DO UPDATE SET last = h.last + 1 RETURNING last)
		INSERT INTO audit_events (account_id, sequence, id, name, actor_kind, actor_id, network, request_id, details)
		SELECT ?0, last, ?1, ?2, ?3, ?4, ?5, ?6, ?7::jsonb FROM head`,
		accountID, uuid.New(), name, by.Kind, nullable(by.ID), nullable(by.Network), nullable(by.RequestID), string(text)).Exec(ctx)
	return translate(err)
}
