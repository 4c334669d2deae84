-- What its owner calls the device; without it the user agent says. The implicit session of an API key names its key.
ALTER TABLE sessions
    ADD COLUMN device_info text,
    ADD COLUMN api_key_id  uuid REFERENCES api_keys ON DELETE CASCADE;
CREATE UNIQUE INDEX sessions_api_key_live_key ON sessions (api_key_id) WHERE api_key_id IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX sessions_api_key_idx ON sessions (api_key_id) WHERE api_key_id IS NOT NULL;

-- The refresh tokens of a session are one family: a rotated token has a successor, and one of them is not rotated yet.
ALTER TABLE refresh_tokens ADD COLUMN rotated_at timestamptz;
CREATE UNIQUE INDEX refresh_tokens_leaf_key ON refresh_tokens (session_id) WHERE rotated_at IS NULL;
CREATE INDEX refresh_tokens_expiry_idx ON refresh_tokens (expires_at);

CREATE TABLE login_history (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    method     text NOT NULL,
    outcome    text NOT NULL,
    ip_address text,
    user_agent text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT login_history_outcome_known CHECK (outcome IN ('succeeded', 'wrong_password', 'throttled'))
);
CREATE INDEX login_history_account_idx ON login_history (account_id, created_at DESC);
CREATE INDEX login_history_age_idx ON login_history (created_at);
