-- For operators who are told a number and look for its account.
CREATE INDEX accounts_phone_idx ON accounts (phone_number) WHERE phone_number IS NOT NULL;
