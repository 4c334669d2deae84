-- The devices that push messages go to. A token is bound to an account as long as the session that bound it lives; one that
-- is bound to nobody reaches nobody, and expires.
CREATE TABLE push_tokens (
    id         uuid PRIMARY KEY,
    token_hash bytea NOT NULL,
    -- The token itself, encrypted: whoever has it and the key of the push service can send to the device.
    sealed     bytea NOT NULL,
    os         text,
    settings   jsonb NOT NULL DEFAULT '{}',
    account_id uuid REFERENCES accounts ON DELETE CASCADE,
    session_id uuid REFERENCES sessions ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    CONSTRAINT push_tokens_hash_key UNIQUE (token_hash),
    CONSTRAINT push_tokens_binding CHECK
        ((account_id IS NULL) = (session_id IS NULL) AND (account_id IS NULL) = (expires_at IS NOT NULL))
);
CREATE INDEX push_tokens_account_idx ON push_tokens (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX push_tokens_session_idx ON push_tokens (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX push_tokens_expiry_idx ON push_tokens (expires_at) WHERE expires_at IS NOT NULL;
