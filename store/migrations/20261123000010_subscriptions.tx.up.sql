-- A plan that was ever subscribed to keeps its price: a new price is a new plan, so several plans may share a code.
ALTER TABLE plans DROP CONSTRAINT plans_code_key;
ALTER TABLE plans
    ADD COLUMN family         text NOT NULL DEFAULT 'main',
    ADD COLUMN amount         bigint NOT NULL DEFAULT 0,
    ADD COLUMN currency       text NOT NULL DEFAULT 'usd',
    ADD COLUMN interval_unit  text NOT NULL DEFAULT 'month',
    ADD COLUMN interval_count int NOT NULL DEFAULT 1,
    ADD COLUMN trial_days     int NOT NULL DEFAULT 0,
    ADD COLUMN features       text[] NOT NULL DEFAULT '{}',
    ADD COLUMN retired_at     timestamptz,
    ADD CONSTRAINT plans_amount_known CHECK (amount >= 0 AND is_free = (amount = 0)) NOT VALID,
    ADD CONSTRAINT plans_currency_form CHECK (currency ~ '^[a-z]{3}$'),
    ADD CONSTRAINT plans_interval_known CHECK
        (interval_unit IN ('second', 'day', 'week', 'month', 'year') AND interval_count BETWEEN 1 AND 1000 AND trial_days BETWEEN 0 AND 730);
UPDATE plans SET amount = 900 WHERE id = 'price_1RG2s1CxLzg0ytJK5K3V7hz6';
UPDATE plans SET amount = 2900 WHERE id = 'premium_monthly';
ALTER TABLE plans VALIDATE CONSTRAINT plans_amount_known;

DROP INDEX subscriptions_live_key;
ALTER TABLE subscriptions
    ADD COLUMN family            text NOT NULL DEFAULT 'main',
    ADD COLUMN generation        int NOT NULL DEFAULT 1,
    ADD COLUMN version           bigint NOT NULL DEFAULT 1,
    ADD COLUMN method_id         text NOT NULL DEFAULT '',
    ADD COLUMN anchor            timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN trial_end         timestamptz,
    ADD COLUMN cancel_at_period_end boolean NOT NULL DEFAULT false,
    ADD COLUMN canceled_at       timestamptz,
    ADD COLUMN ended_at          timestamptz,
    ADD COLUMN paused_at         timestamptz,
    ADD COLUMN resumes_at        timestamptz,
    ADD COLUMN pause_reason      text NOT NULL DEFAULT '',
    ADD COLUMN next_plan_id      text REFERENCES plans,
    ADD COLUMN upgrade_plan_id   text REFERENCES plans,
    ADD COLUMN declines          int NOT NULL DEFAULT 0,
    ADD COLUMN first_decline_at  timestamptz,
    ADD COLUMN retry_at          timestamptz,
    ADD COLUMN updated_at        timestamptz NOT NULL DEFAULT now(),
    ADD CONSTRAINT subscriptions_period CHECK (period_end > period_start);
-- One live subscription of an account and family, whatever asks for it (PAY-01).
CREATE UNIQUE INDEX subscriptions_live_key ON subscriptions (account_id, family)
    WHERE status NOT IN ('canceled', 'incomplete_expired');
CREATE INDEX subscriptions_open_idx ON subscriptions (id) WHERE status NOT IN ('canceled', 'incomplete_expired');

-- An invoice is written before any charge and changes its status alone.
CREATE TABLE invoices (
    id              text PRIMARY KEY,
    subscription_id text NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
    account_id      uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    reason          text NOT NULL,
    plan_id         text NOT NULL REFERENCES plans,
    amount          bigint NOT NULL,
    currency        text NOT NULL,
    period_start    timestamptz NOT NULL,
    period_end      timestamptz NOT NULL,
    status          text NOT NULL,
    attempt         int NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL,
    paid_at         timestamptz,
    CONSTRAINT invoices_amount CHECK (amount >= 0),
    CONSTRAINT invoices_reason_known CHECK (reason IN ('subscription_create', 'subscription_cycle', 'subscription_update')),
    CONSTRAINT invoices_status_known CHECK (status IN ('open', 'paid', 'void', 'uncollectible')),
    CONSTRAINT invoices_paid CHECK ((status = 'paid') = (paid_at IS NOT NULL))
);
-- A period is billed once (I-09), and one invoice at a time is open.
CREATE UNIQUE INDEX invoices_period_key ON invoices (subscription_id, period_start) WHERE reason <> 'subscription_update';
CREATE UNIQUE INDEX invoices_open_key ON invoices (subscription_id) WHERE status = 'open';
CREATE INDEX invoices_account_idx ON invoices (account_id, created_at);

-- A charge as it was asked for: its row is there before the provider hears of it.
CREATE TABLE payment_attempts (
    invoice_id   text NOT NULL REFERENCES invoices ON DELETE CASCADE,
    attempt      int NOT NULL,
    key          text NOT NULL,
    provider     text NOT NULL,
    method_id    text NOT NULL,
    state        text NOT NULL DEFAULT 'pending',
    provider_id  text,
    decline_code text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    settled_at   timestamptz,
    PRIMARY KEY (invoice_id, attempt),
    CONSTRAINT payment_attempts_key UNIQUE (key),
    CONSTRAINT payment_attempts_state_known CHECK (state IN ('pending', 'succeeded', 'declined'))
);
CREATE UNIQUE INDEX payment_attempts_paid_key ON payment_attempts (invoice_id) WHERE state = 'succeeded';
CREATE INDEX payment_attempts_pending_idx ON payment_attempts (created_at) WHERE state = 'pending';

-- Every change of a subscription, in the order in which it happened (I-10). A key makes a change happen once.
CREATE TABLE subscription_events (
    subscription_id text NOT NULL REFERENCES subscriptions ON DELETE CASCADE,
    version         bigint NOT NULL,
    key             text NOT NULL,
    event           text NOT NULL,
    status          text NOT NULL,
    at              timestamptz NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subscription_id, version),
    CONSTRAINT subscription_events_once UNIQUE (subscription_id, key)
);

-- A payment method belongs to the account that showed it first (PAY-09).
CREATE TABLE payment_methods (
    provider    text NOT NULL,
    id          text NOT NULL,
    account_id  uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    customer    text NOT NULL,
    -- What the client named: providers may answer with an id of their own.
    shown       text NOT NULL DEFAULT '',
    fingerprint text NOT NULL DEFAULT '',
    brand       text NOT NULL DEFAULT '',
    last4       text NOT NULL DEFAULT '',
    expires_at  timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (provider, id)
);
CREATE INDEX payment_methods_account_idx ON payment_methods (account_id);
CREATE INDEX payment_methods_fingerprint_idx ON payment_methods (fingerprint) WHERE fingerprint <> '';
