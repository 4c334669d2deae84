-- Of the registrations that await their account only those of one address are asked for. It is built beside the traffic.
SET lock_timeout = 0;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS signup_attempts_registering_idx;
--bun:split
CREATE INDEX CONCURRENTLY signup_attempts_registering_idx ON signup_attempts (email) WHERE kind = 'register' AND closed_at IS NULL;
--bun:split
RESET lock_timeout;
