-- The index of open closures finds no other ones: to erase or to delete an account, all closures were read. It is built beside the traffic.
SET lock_timeout = 0;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS closures_account_idx;
--bun:split
CREATE INDEX CONCURRENTLY closures_account_idx ON closures (account_id);
--bun:split
RESET lock_timeout;
