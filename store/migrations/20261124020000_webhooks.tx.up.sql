-- Receivers of events.
CREATE TABLE webhook_endpoints (
    id              uuid PRIMARY KEY,
    url             text NOT NULL,
    description     text NOT NULL DEFAULT '',
    events          text[] NOT NULL,
    secret          bytea NOT NULL, -- sealed
    former_secret   bytea,
    former_until    timestamptz,
    failing_since   timestamptz,
    disabled_at     timestamptz,
    disabled_reason text NOT NULL DEFAULT '' CHECK (disabled_reason IN ('', 'failing', 'gone', 'operator')),
    created_at      timestamptz NOT NULL DEFAULT now(),
    CHECK ((disabled_at IS NULL) = (disabled_reason = ''))
);
-- What receivers are told, written in the transaction of what has happened. It outlives the account.
CREATE TABLE webhook_events (
    id          uuid PRIMARY KEY,
    type        text NOT NULL,
    account_id  uuid,
    data        jsonb NOT NULL,
    occurred_at timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX webhook_events_created_idx ON webhook_events (created_at);
-- One event to one receiver. The receiver is not referenced: its removal must fail nobody who writes an event meanwhile.
CREATE TABLE webhook_deliveries (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    event_id     uuid NOT NULL REFERENCES webhook_events ON DELETE CASCADE,
    endpoint_id  uuid NOT NULL,
    state        text NOT NULL DEFAULT 'owed' CHECK (state IN ('owed', 'sending', 'waiting', 'delivered', 'dead')),
    -- Whoever starts what is owed takes it for a while.
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    tries        integer NOT NULL DEFAULT 0, -- since it was owed
    attempts     integer NOT NULL DEFAULT 0, -- ever
    next_try_at  timestamptz,
    last_status  integer,
    last_error   text,
    delivered_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (event_id, endpoint_id)
);
CREATE INDEX webhook_deliveries_endpoint_idx ON webhook_deliveries (endpoint_id, created_at);
CREATE INDEX webhook_deliveries_owed_idx ON webhook_deliveries (endpoint_id, created_at) WHERE state = 'owed';
CREATE INDEX webhook_deliveries_open_idx ON webhook_deliveries (endpoint_id, updated_at) WHERE state IN ('sending', 'waiting');
