-- What a change has made, sealed, in the transaction of that change, for as long as no answer is kept.
ALTER TABLE idempotency_keys ADD COLUMN made bytea;
-- Whoever holds the key: a request that has lost it to another one can neither commit nor answer.
ALTER TABLE idempotency_keys ADD COLUMN holder uuid;

-- The request that has undone a closure, a keyed hash, so that its repetition is told the same.
ALTER TABLE closures ADD COLUMN undone_by bytea;
