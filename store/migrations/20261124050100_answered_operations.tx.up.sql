-- The operation that a kept answer named in its header.
ALTER TABLE idempotency_keys ADD COLUMN operation text;
