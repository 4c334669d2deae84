DROP INDEX IF EXISTS accounts_phone_idx;
