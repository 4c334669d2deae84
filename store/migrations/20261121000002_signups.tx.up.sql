-- The write-ahead rows of sign-ups: what the client gave, parked before the flow starts. They expire and are swept.
CREATE TABLE signup_attempts (
    id               uuid PRIMARY KEY,
    kind             text NOT NULL,
    email            text NOT NULL,
    username         text,
    password_hash    text NOT NULL,
    name             text,
    marketing_opt_in boolean NOT NULL DEFAULT false,
    ip_address       text,
    user_agent       text,
    fingerprint      jsonb,
    attribution      jsonb,
    -- Another open attempt for the address knew another password (security.md PRE-06).
    contested        boolean NOT NULL DEFAULT false,
    account_id       uuid REFERENCES accounts ON DELETE CASCADE,
    session_id       uuid,
    created_at       timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz NOT NULL,
    closed_at        timestamptz,
    CONSTRAINT signup_attempts_kind_known CHECK (kind IN ('code', 'register'))
);
CREATE UNIQUE INDEX signup_attempts_open_key ON signup_attempts (email) WHERE kind = 'code' AND closed_at IS NULL;
CREATE INDEX signup_attempts_expiry_idx ON signup_attempts (expires_at) WHERE closed_at IS NULL;
CREATE INDEX signup_attempts_closed_idx ON signup_attempts (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX signup_attempts_account_idx ON signup_attempts (account_id) WHERE account_id IS NOT NULL;

CREATE TABLE challenges (
    id              uuid PRIMARY KEY,
    purpose         text NOT NULL,
    -- The keyed hash of the address, or the account id: whom the code is for.
    subject         bytea NOT NULL,
    account_id      uuid REFERENCES accounts ON DELETE CASCADE,
    channel         text NOT NULL,
    destination     text NOT NULL,
    code_hash       bytea,
    token_hash      bytea,
    attempts        int NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    send_by         timestamptz NOT NULL,
    sent_at         timestamptz,
    code_expires_at timestamptz NOT NULL,
    link_expires_at timestamptz,
    proven_at       timestamptz,
    -- Which Idempotency-Key proved the code, so that its retry may do so again.
    proof_key       text,
    proof           jsonb,
    consumed_at     timestamptz,
    superseded_at   timestamptz,
    result          jsonb
);
CREATE UNIQUE INDEX challenges_live_key ON challenges (purpose, subject)
    WHERE consumed_at IS NULL AND superseded_at IS NULL;
CREATE INDEX challenges_subject_idx ON challenges (purpose, subject, created_at);
CREATE UNIQUE INDEX challenges_token_key ON challenges (token_hash) WHERE token_hash IS NOT NULL;
CREATE INDEX challenges_account_idx ON challenges (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX challenges_created_idx ON challenges (created_at);
