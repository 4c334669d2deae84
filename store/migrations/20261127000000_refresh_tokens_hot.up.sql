-- The successor of a token is derived from it, so the primary key already keeps a token from having two. The index of unused
-- tokens said the same once more, and kept the update that uses a token from staying on its page (HOT): all other indexes were
-- written for it. The room in the pages is for that.
SET lock_timeout = 0;
--bun:split
DROP INDEX CONCURRENTLY IF EXISTS refresh_tokens_leaf_key;
--bun:split
ALTER TABLE refresh_tokens SET (fillfactor = 80);
--bun:split
RESET lock_timeout;
