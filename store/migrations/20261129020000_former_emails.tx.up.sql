-- Addresses that were an account's until lately. Whoever takes one away, or puts another in its place, and closes the account then
-- is not to be the only one who hears of it: the undo of the closure is mailed there, too.
CREATE TABLE former_emails (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    email      text NOT NULL,
    -- A term of grace after the account lost it.
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, email)
);
CREATE INDEX former_emails_expiry_idx ON former_emails (expires_at);
-- Those that a closure may be undone from, while it may be.
ALTER TABLE closures ADD COLUMN former_emails text[];
