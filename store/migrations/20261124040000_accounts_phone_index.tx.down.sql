DROP INDEX accounts_phone_idx;
