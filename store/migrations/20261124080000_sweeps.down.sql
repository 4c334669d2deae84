SET lock_timeout = 0;
--bun:split
CREATE INDEX IF NOT EXISTS devices_expiry_idx ON devices (expires_at);
--bun:split
CREATE INDEX IF NOT EXISTS accounts_deleted_idx ON accounts (id) WHERE deleted_at IS NOT NULL;
--bun:split
CREATE INDEX IF NOT EXISTS accounts_deactivated_idx ON accounts (id) WHERE deactivated_at IS NOT NULL;
--bun:split
DROP INDEX IF EXISTS devices_over_idx, credit_holds_ended_idx, api_keys_revoked_idx, closures_undone_idx, username_history_age_idx,
    accounts_closing_idx, accounts_deactivating_idx;
--bun:split
RESET lock_timeout;
