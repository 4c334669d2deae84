-- The sweep runs each minute on tables of any size: what it looks for has an index. Each is built beside the traffic; one that was
-- left half built by a failure is dropped first.
SET lock_timeout = 0;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS devices_over_idx;
--bun:split
CREATE INDEX CONCURRENTLY devices_over_idx ON devices (coalesce(revoked_at, expires_at));
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS credit_holds_ended_idx;
--bun:split
CREATE INDEX CONCURRENTLY credit_holds_ended_idx ON credit_holds (ended_at) WHERE ended_at IS NOT NULL;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS api_keys_revoked_idx;
--bun:split
CREATE INDEX CONCURRENTLY api_keys_revoked_idx ON api_keys (revoked_at) WHERE revoked_at IS NOT NULL;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS closures_undone_idx;
--bun:split
CREATE INDEX CONCURRENTLY closures_undone_idx ON closures (undone_at) WHERE undone_at IS NOT NULL;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS username_history_age_idx;
--bun:split
CREATE INDEX CONCURRENTLY username_history_age_idx ON username_history (changed_at);
--bun:split
-- Looked for every ten seconds: accounts that were closed or deactivated lately, however many were long ago.
DROP INDEX CONCURRENTLY IF EXISTS accounts_closing_idx;
--bun:split
CREATE INDEX CONCURRENTLY accounts_closing_idx ON accounts (deleted_at) WHERE deleted_at IS NOT NULL;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS accounts_deactivating_idx;
--bun:split
CREATE INDEX CONCURRENTLY accounts_deactivating_idx ON accounts (deactivated_at) WHERE deactivated_at IS NOT NULL;
--bun:split
-- What they take the place of.
DROP INDEX CONCURRENTLY IF EXISTS accounts_deleted_idx;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS accounts_deactivated_idx;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS devices_expiry_idx;
--bun:split
RESET lock_timeout;
