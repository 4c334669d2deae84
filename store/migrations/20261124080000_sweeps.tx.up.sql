-- The sweep runs each minute on tables of any size: what it looks for has an index, and what has lost its point has an end.
CREATE INDEX devices_over_idx ON devices (coalesce(revoked_at, expires_at));
CREATE INDEX credit_holds_ended_idx ON credit_holds (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX api_keys_revoked_idx ON api_keys (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX closures_undone_idx ON closures (undone_at) WHERE undone_at IS NOT NULL;
CREATE INDEX username_history_age_idx ON username_history (changed_at);
-- Nothing searches for devices by their end alone.
DROP INDEX devices_expiry_idx;

-- Looked for every ten seconds: accounts that were closed or deactivated lately, however many were long ago.
DROP INDEX accounts_deleted_idx, accounts_deactivated_idx;
CREATE INDEX accounts_deleted_idx ON accounts (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX accounts_deactivated_idx ON accounts (deactivated_at) WHERE deactivated_at IS NOT NULL;
