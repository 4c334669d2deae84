-- Devices that skip the second step of a login. The token is the trust; what a device is called is for people.
CREATE TABLE devices (
    id           uuid PRIMARY KEY,
    account_id   uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    token_hash   bytea NOT NULL,
    device_id    text NOT NULL,
    device_name  text,
    platform     text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    CONSTRAINT devices_token_key UNIQUE (token_hash)
);
-- One trust for what a client calls one device.
CREATE UNIQUE INDEX devices_live_key ON devices (account_id, device_id) WHERE revoked_at IS NULL;
CREATE INDEX devices_account_idx ON devices (account_id);
CREATE INDEX devices_expiry_idx ON devices (expires_at);

ALTER TABLE sessions
    ADD COLUMN device_id   text,
    ADD COLUMN device_name text,
    ADD COLUMN platform    text,
    -- The token that names a pending session to whoever finishes its second step by code.
    ADD COLUMN step_hash   bytea,
    -- When the session last showed the second factor of its account.
    ADD COLUMN factor_at   timestamptz;
CREATE UNIQUE INDEX sessions_step_key ON sessions (step_hash) WHERE step_hash IS NOT NULL;

ALTER TABLE login_history DROP CONSTRAINT login_history_outcome_known;
ALTER TABLE login_history ADD CONSTRAINT login_history_outcome_known
    CHECK (outcome IN ('succeeded', 'wrong_password', 'throttled', 'second_step'));
