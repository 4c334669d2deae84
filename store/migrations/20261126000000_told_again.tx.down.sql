ALTER TABLE closures DROP COLUMN undone_by;
ALTER TABLE idempotency_keys DROP COLUMN holder;
ALTER TABLE idempotency_keys DROP COLUMN made;
