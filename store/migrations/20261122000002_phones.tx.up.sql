-- What a code was asked for, parked before the flow starts under the id of its challenge. It is swept after a day.
CREATE TABLE phone_attempts (
    id         uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    number     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT phone_attempts_number_form CHECK (number ~ '^\+[1-9][0-9]{6,14}$')
);
CREATE INDEX phone_attempts_account_idx ON phone_attempts (account_id, number, created_at);
CREATE INDEX phone_attempts_created_idx ON phone_attempts (created_at);

-- What may still be spent in a window: fixed windows that outlive a crash, for bounds too large to keep every hit.
CREATE TABLE budgets (
    key     bytea PRIMARY KEY,
    used    int NOT NULL,
    ends_at timestamptz NOT NULL
);
CREATE INDEX budgets_expiry_idx ON budgets (ends_at);
