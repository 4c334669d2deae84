-- Why the provider is not asked for a charge, decided when the attempt is written. An attempt that says nothing may have been asked
-- for: whoever finds it then cannot tell by the account, which may have been closed since.
ALTER TABLE payment_attempts ADD COLUMN refused text;
