-- The authenticator app of an account: pending until its first code, which makes it the second factor. Steps only rise.
CREATE TABLE totp_factors (
    account_id   uuid PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    -- Sealed with a key of the installation.
    secret       bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    -- Until when a pending one takes its first code.
    expires_at   timestamptz,
    confirmed_at timestamptz,
    last_step    bigint NOT NULL DEFAULT 0,
    failures     int NOT NULL DEFAULT 0,
    locked_until timestamptz,
    CONSTRAINT totp_factors_pending_or_not CHECK ((confirmed_at IS NULL) <> (expires_at IS NULL))
);
CREATE INDEX totp_factors_expiry_idx ON totp_factors (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE backup_codes (
    code_hash  bytea PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES totp_factors ON DELETE CASCADE,
    used_at    timestamptz
);
CREATE INDEX backup_codes_account_idx ON backup_codes (account_id);
