CREATE INDEX devices_expiry_idx ON devices (expires_at);
DROP INDEX devices_over_idx, credit_holds_ended_idx, api_keys_revoked_idx, closures_undone_idx, username_history_age_idx;
DROP INDEX accounts_deleted_idx, accounts_deactivated_idx;
CREATE INDEX accounts_deleted_idx ON accounts (id) WHERE deleted_at IS NOT NULL;
CREATE INDEX accounts_deactivated_idx ON accounts (id) WHERE deactivated_at IS NOT NULL;
