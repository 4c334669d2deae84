-- For the repetition of a request that has undone a closure. It is built beside the traffic.
SET lock_timeout = 0;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS closures_undone_by_idx;
--bun:split
CREATE INDEX CONCURRENTLY closures_undone_by_idx ON closures (undone_by) WHERE undone_by IS NOT NULL;
--bun:split
RESET lock_timeout;
