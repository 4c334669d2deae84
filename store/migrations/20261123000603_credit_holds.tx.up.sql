-- Credits set aside for something that is under way. They have left the balance by a move; ending the hold brings back by
-- another what was not used.
CREATE TABLE credit_holds (
    id         uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    key        text NOT NULL,
    amount     bigint NOT NULL,
    used       bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz,
    CONSTRAINT credit_holds_once UNIQUE (account_id, key),
    CONSTRAINT credit_holds_positive CHECK (amount > 0),
    CONSTRAINT credit_holds_used CHECK ((ended_at IS NULL) = (used IS NULL) AND used BETWEEN 0 AND amount)
);
CREATE INDEX credit_holds_open_idx ON credit_holds (expires_at) WHERE ended_at IS NULL;
