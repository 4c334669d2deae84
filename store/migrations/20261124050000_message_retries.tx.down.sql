ALTER TABLE messages DROP COLUMN account_id, DROP COLUMN next_retry_at, DROP COLUMN recipe;
