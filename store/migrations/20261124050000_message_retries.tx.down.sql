DROP INDEX messages_unsent_idx, messages_account_idx;
ALTER TABLE messages DROP COLUMN account_id, DROP COLUMN next_retry_at, DROP COLUMN recipe;
