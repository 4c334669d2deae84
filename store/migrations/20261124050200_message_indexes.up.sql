-- What owners and operators look messages up by, built beside the traffic that sends them.
SET lock_timeout = 0;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS messages_account_idx;
--bun:split
CREATE INDEX CONCURRENTLY messages_account_idx ON messages (account_id, created_at) WHERE account_id IS NOT NULL;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS messages_unsent_idx;
--bun:split
CREATE INDEX CONCURRENTLY messages_unsent_idx ON messages (state, created_at) WHERE state IN ('dead', 'expired');
--bun:split
RESET lock_timeout;
