package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"gatehouse/account"
)

const keyColumns = `k.id, k.account_id, k.name, k.scopes, k.is_service, k.created_at, k.last_used_at`

const keyPrincipalQuery = `
	SELECT ` + keyColumns + `, ` + principalColumns + `
	FROM api_keys k JOIN accounts a ON a.id = k.account_id` + principalJoins + `
	WHERE k.key_hash = $1 AND k.revoked_at IS NULL AND ` + accountUsable

const serviceKeyQuery = `SELECT ` + keyColumns + ` FROM api_keys k WHERE k.key_hash = $1 AND k.revoked_at IS NULL AND k.is_service`

func keyTargets(k *account.APIKey) []any {
	return []any{&k.ID, &k.AccountID, &k.Name, &k.Scopes, &k.Service, &k.CreatedAt, &k.LastUsedAt}
}

// PrincipalByKey returns who an API key belongs to; a service key belongs to nobody and carries an empty account. It
// returns account.ErrNotFound when the key is unknown or revoked, or its account may not be used.
func (s *Store) PrincipalByKey(ctx context.Context, keyHash []byte, service bool) (account.Principal, error) {
	p := account.Principal{APIKey: &account.APIKey{}}
	if service {
		err := s.pool.QueryRow(ctx, serviceKeyQuery, pgx.QueryExecModeCacheStatement, keyHash).Scan(keyTargets(p.APIKey)...)
		return p, translate(err)
	}
	targets := append(keyTargets(p.APIKey), principalTargets(&p)...)
	err := s.pool.QueryRow(ctx, keyPrincipalQuery, pgx.QueryExecModeCacheStatement, keyHash).Scan(targets...)
	return p, translate(err)
}

// CreateAPIKey stores a new key by its hash.
func (s *Store) CreateAPIKey(ctx context.Context, k account.APIKey, keyHash []byte) error {
	scopes := make([]string, len(k.Scopes))
	for i, scope := range k.Scopes {
		scopes[i] = string(scope)
	}
	_, err := s.pool.Exec(ctx, `
		INSERT INTO api_keys (id, account_id, name, key_hash, scopes, is_service) VALUES ($1, $2, $3, $4, $5, $6)`,
		k.ID, k.AccountID, k.Name, keyHash, scopes, k.Service)
	return translate(err)
}
