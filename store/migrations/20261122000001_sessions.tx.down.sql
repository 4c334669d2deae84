DROP TABLE login_history;
DROP INDEX refresh_tokens_expiry_idx, refresh_tokens_leaf_key;
ALTER TABLE refresh_tokens DROP COLUMN rotated_at;
ALTER TABLE sessions DROP COLUMN api_key_id, DROP COLUMN device_info;
