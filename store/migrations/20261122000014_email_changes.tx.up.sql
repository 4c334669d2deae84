-- Changes of email that wait for the new mailbox to prove itself, under the id of their challenge. The row goes once both
-- addresses have been told.
CREATE TABLE email_changes (
    id         uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    old_email  text NOT NULL,
    new_email  text NOT NULL,
    -- The new address belongs to somebody: nothing can prove it, and nobody but its owner is told (hidden enumeration mode).
    taken      boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    closed_at  timestamptz
);
CREATE UNIQUE INDEX email_changes_open_key ON email_changes (account_id) WHERE closed_at IS NULL;
CREATE INDEX email_changes_account_idx ON email_changes (account_id);
CREATE INDEX email_changes_expiry_idx ON email_changes (expires_at);
