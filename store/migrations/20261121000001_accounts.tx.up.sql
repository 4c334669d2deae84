CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE TABLE accounts (
    id                  uuid PRIMARY KEY,
    email               text,
    email_verified_at   timestamptz,
    username            text,
    password_hash       text,
    password_changed_at timestamptz,
    is_active           boolean NOT NULL DEFAULT true,
    is_locked           boolean NOT NULL DEFAULT false,
    roles               text[] NOT NULL DEFAULT '{user}',
    primary_provider    text NOT NULL DEFAULT 'email',
    two_factor_enabled  boolean NOT NULL DEFAULT false,
    phone_number        text,
    country_code        text,
    phone_verified_at   timestamptz,
    marketing_opt_in    boolean NOT NULL DEFAULT false,
    full_name           text,
    avatar_url          text,
    user_type           text,
    audio_usage         text,
    referral_source     text,
    onboarding_done     boolean NOT NULL DEFAULT false,
    anonymous_id        text,
    fingerprint         jsonb,
    fingerprint_hash    bytea,
    attribution         jsonb,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    deleted_at          timestamptz,
    CONSTRAINT accounts_email_form CHECK (email = lower(email) AND email <> ''),
    CONSTRAINT accounts_username_form CHECK (username ~ '^[a-z0-9_.]{3,30}$')
);
CREATE UNIQUE INDEX accounts_email_key ON accounts (email) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX accounts_username_key ON accounts (username) WHERE deleted_at IS NULL;
CREATE INDEX accounts_unverified_idx ON accounts (created_at) WHERE email_verified_at IS NULL;
CREATE INDEX accounts_fingerprint_idx ON accounts (fingerprint_hash) WHERE fingerprint_hash IS NOT NULL;

CREATE TABLE settings (
    account_id   uuid PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    timezone     text NOT NULL DEFAULT 'UTC',
    odds_format  text NOT NULL DEFAULT 'decimal',
    notify_email boolean NOT NULL DEFAULT true,
    notify_push  boolean NOT NULL DEFAULT true,
    notify_sms   boolean NOT NULL DEFAULT false,
    theme        text NOT NULL DEFAULT 'system',
    language     text NOT NULL DEFAULT 'en'
);

CREATE TABLE credits (
    account_id        uuid PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    balance           bigint NOT NULL DEFAULT 0,
    payg_balance      bigint NOT NULL DEFAULT 0,
    last_reset_at     timestamptz NOT NULL DEFAULT now(),
    next_reset_at     timestamptz NOT NULL DEFAULT now() + interval '1 month',
    total_used        bigint NOT NULL DEFAULT 0,
    total_purchased   bigint NOT NULL DEFAULT 0,
    discount_eligible boolean NOT NULL DEFAULT true,
    discount_active   boolean NOT NULL DEFAULT false,
    CONSTRAINT credits_not_negative CHECK (balance >= 0 AND payg_balance >= 0)
);

-- The ledger: the sum of an account's moves is its balance. A key makes a move happen once.
CREATE TABLE credit_moves (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    kind       text NOT NULL,
    key        text NOT NULL,
    amount     bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT credit_moves_once UNIQUE (account_id, key)
);

CREATE TABLE welcomes (
    account_id  uuid PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    full_bonus  bigint NOT NULL,
    received    bigint NOT NULL DEFAULT 0,
    reduced     boolean NOT NULL DEFAULT false,
    shown_at    timestamptz,
    unlocked_at timestamptz
);

CREATE TABLE plans (
    id                text PRIMARY KEY,
    code              text NOT NULL UNIQUE,
    name              text NOT NULL,
    is_free           boolean NOT NULL DEFAULT false,
    credits_per_month bigint NOT NULL DEFAULT 0,
    created_at        timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX plans_free_key ON plans (is_free) WHERE is_free;
INSERT INTO plans (id, code, name, is_free, credits_per_month) VALUES
    ('free', 'free', 'Free', true, 0),
    ('price_1RG2s1CxLzg0ytJK5K3V7hz6', 'starter', 'Starter', false, 2000),
    ('premium_monthly', 'premium', 'Premium', false, 10000);

CREATE TABLE subscriptions (
    id           text PRIMARY KEY,
    account_id   uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    plan_id      text NOT NULL REFERENCES plans,
    status       text NOT NULL,
    period_start timestamptz NOT NULL,
    period_end   timestamptz NOT NULL,
    cancel_at    timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT subscriptions_status_known CHECK (status IN
        ('incomplete', 'trialing', 'active', 'past_due', 'paused', 'canceled', 'unpaid', 'incomplete_expired'))
);
CREATE UNIQUE INDEX subscriptions_live_key ON subscriptions (account_id)
    WHERE status IN ('trialing', 'active', 'past_due', 'paused', 'unpaid');
CREATE INDEX subscriptions_account_idx ON subscriptions (account_id);

CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    account_id   uuid REFERENCES accounts ON DELETE CASCADE,
    name         text NOT NULL,
    key_hash     bytea NOT NULL,
    scopes       text[] NOT NULL,
    is_service   boolean NOT NULL DEFAULT false,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    revoked_at   timestamptz,
    CONSTRAINT api_keys_hash_key UNIQUE (key_hash),
    CONSTRAINT api_keys_owner CHECK (is_service = (account_id IS NULL))
);
CREATE INDEX api_keys_account_idx ON api_keys (account_id);

CREATE TABLE sessions (
    id             uuid PRIMARY KEY,
    account_id     uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    state          text NOT NULL DEFAULT 'active',
    method         text NOT NULL,
    ip_address     text,
    user_agent     text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    last_active_at timestamptz NOT NULL DEFAULT now(),
    auth_time      timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    revoked_at     timestamptz,
    revoke_reason  text,
    CONSTRAINT sessions_state_known CHECK (state IN ('active', 'pending'))
);
CREATE INDEX sessions_account_idx ON sessions (account_id);
CREATE INDEX sessions_expiry_idx ON sessions (expires_at);

CREATE TABLE refresh_tokens (
    token_hash bytea PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX refresh_tokens_session_idx ON refresh_tokens (session_id);

-- One row per submitted sign-in name, known or not: its wrong passwords slow down the next try.
CREATE TABLE login_throttles (
    key        bytea PRIMARY KEY,
    failures   int NOT NULL,
    not_before timestamptz NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX login_throttles_updated_idx ON login_throttles (updated_at);
