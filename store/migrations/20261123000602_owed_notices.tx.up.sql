-- Notices to owners that are not known to be under way: written with the change that they tell of, gone once their flow is
-- started.
CREATE TABLE owed_notices (
    id           text PRIMARY KEY, -- that of the flow
    account_id   uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    template     text NOT NULL,
    email_change uuid,
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX owed_notices_created_idx ON owed_notices (created_at);
CREATE INDEX owed_notices_account_idx ON owed_notices (account_id);
