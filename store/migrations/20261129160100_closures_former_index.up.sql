-- For the sweep of addresses that an older build has left in a closure that is over. It is built beside the traffic.
SET lock_timeout = 0;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS closures_former_idx;
--bun:split
CREATE INDEX CONCURRENTLY closures_former_idx ON closures (id) WHERE former_emails IS NOT NULL;
--bun:split
RESET lock_timeout;
