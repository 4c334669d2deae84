-- What clients reported about a person's first steps: the first time, the last time, and where.
CREATE TABLE onboarding_events (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    event      text NOT NULL,
    at_step    int,
    times      int NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, event),
    CONSTRAINT onboarding_events_known CHECK (event IN ('completed', 'skipped'))
);

ALTER TABLE accounts
    ADD CONSTRAINT accounts_phone_form CHECK (phone_number ~ '^\+[1-9][0-9]{6,14}$'),
    ADD CONSTRAINT accounts_phone_verified CHECK (phone_verified_at IS NULL OR phone_number IS NOT NULL);
