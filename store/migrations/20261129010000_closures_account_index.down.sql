DROP INDEX IF EXISTS closures_account_idx;
