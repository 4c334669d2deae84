ALTER TABLE sessions DROP COLUMN factor_at;
DROP TABLE backup_codes, totp_factors;
