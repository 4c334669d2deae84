-- For operators who are told a number and look for its account. It is built beside the traffic: a build waits for the
-- transactions of others, for as long as they take.
SET lock_timeout = 0;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS accounts_phone_idx;
--bun:split
CREATE INDEX CONCURRENTLY accounts_phone_idx ON accounts (phone_number) WHERE phone_number IS NOT NULL;
--bun:split
RESET lock_timeout;
