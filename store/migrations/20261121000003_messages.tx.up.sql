-- Every outgoing message, once per step of a flow.
CREATE TABLE messages (
    id                 uuid PRIMARY KEY,
    flow               text NOT NULL,
    step               text NOT NULL,
    template           text NOT NULL,
    channel            text NOT NULL,
    masked_destination text NOT NULL,
    state              text NOT NULL DEFAULT 'queued',
    attempts           int NOT NULL DEFAULT 0,
    provider           text,
    provider_id        text,
    last_error         text,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    sent_at            timestamptz,
    CONSTRAINT messages_step_key UNIQUE (flow, step),
    CONSTRAINT messages_state_known CHECK (state IN ('queued', 'sent', 'dead', 'expired'))
);

CREATE INDEX messages_created_idx ON messages (created_at);
CREATE INDEX messages_queued_idx ON messages (updated_at) WHERE state = 'queued';

-- The development inbox: what would have gone out when no real provider is set.
CREATE TABLE dev_inbox (
    message_id uuid PRIMARY KEY,
    channel    text NOT NULL,
    recipient  text NOT NULL,
    subject    text NOT NULL,
    body       text NOT NULL,
    code       text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX dev_inbox_created_idx ON dev_inbox (created_at);
CREATE INDEX dev_inbox_recipient_idx ON dev_inbox (lower(recipient), created_at DESC);

CREATE TABLE idempotency_keys (
    key          text PRIMARY KEY,
    request_hash bytea NOT NULL,
    locked_until timestamptz,
    status       int,
    -- The answer, sealed: it may hold tokens.
    answer       bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL
);
CREATE INDEX idempotency_keys_expiry_idx ON idempotency_keys (expires_at);

-- Exact bounds per subject (an address, an account): the hits of the longest window.
CREATE TABLE quotas (
    key        bytea PRIMARY KEY,
    hits       timestamptz[] NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX quotas_expiry_idx ON quotas (expires_at);

-- Fixed windows per client address; losing them in a crash does no harm.
CREATE UNLOGGED TABLE rate_limits (
    key     bytea PRIMARY KEY,
    hits    int NOT NULL,
    ends_at timestamptz NOT NULL
);
CREATE INDEX rate_limits_expiry_idx ON rate_limits (ends_at);
