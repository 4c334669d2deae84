DROP INDEX IF EXISTS messages_account_idx, messages_unsent_idx;
