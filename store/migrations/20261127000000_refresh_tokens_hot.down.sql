ALTER TABLE refresh_tokens RESET (fillfactor);
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS refresh_tokens_leaf_key;
--bun:split
CREATE UNIQUE INDEX CONCURRENTLY refresh_tokens_leaf_key ON refresh_tokens (session_id) WHERE rotated_at IS NULL;
