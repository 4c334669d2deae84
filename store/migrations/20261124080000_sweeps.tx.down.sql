CREATE INDEX devices_expiry_idx ON devices (expires_at);
DROP INDEX devices_over_idx, credit_holds_ended_idx, api_keys_revoked_idx, closures_undone_idx, username_history_age_idx;
