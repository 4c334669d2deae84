DROP TABLE login_history;
DROP INDEX refresh_tokens_expiry_idx, refresh_tokens_leaf_key;
-- Without the column a token that was used would be good again, and the session of an API key one of a person.
DELETE FROM refresh_tokens WHERE rotated_at IS NOT NULL;
ALTER TABLE refresh_tokens DROP COLUMN rotated_at;
DELETE FROM sessions WHERE api_key_id IS NOT NULL;
ALTER TABLE sessions DROP COLUMN api_key_id, DROP COLUMN device_info;
