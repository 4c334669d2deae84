-- Comparisons of our books with the flows and with the payment provider's, and what they found amiss.
CREATE TABLE reconciliations (
    id            text PRIMARY KEY,
    since         timestamptz NOT NULL,
    until         timestamptz NOT NULL,
    started_at    timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    -- The next one begins where the last complete one has ended.
    complete      boolean NOT NULL DEFAULT false,
    subscriptions bigint NOT NULL DEFAULT 0,
    flows         bigint NOT NULL DEFAULT 0,
    charges       bigint NOT NULL DEFAULT 0,
    attempts      bigint NOT NULL DEFAULT 0
);
CREATE INDEX reconciliations_until_idx ON reconciliations (until) WHERE complete;
CREATE TABLE billing_findings (
    reconciliation_id text NOT NULL REFERENCES reconciliations ON DELETE CASCADE,
    kind              text NOT NULL,
    subject           text NOT NULL,
    detail            text NOT NULL DEFAULT '',
    repaired          boolean NOT NULL DEFAULT false,
    found_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (reconciliation_id, kind, subject)
);
-- A paid attempt is confirmed once it was seen in the provider's own list of charges.
ALTER TABLE payment_attempts ADD COLUMN confirmed_at timestamptz;
CREATE INDEX payment_attempts_unconfirmed_idx ON payment_attempts (key) WHERE state = 'succeeded' AND confirmed_at IS NULL;
CREATE INDEX invoices_open_idx ON invoices (id) WHERE status = 'open';
CREATE INDEX invoices_paid_idx ON invoices (paid_at) WHERE status = 'paid';
-- Accounts whose subscriptions may be out of line with them.
CREATE INDEX accounts_deleted_idx ON accounts (id) WHERE deleted_at IS NOT NULL;
CREATE INDEX accounts_deactivated_idx ON accounts (id) WHERE deactivated_at IS NOT NULL;
CREATE INDEX subscriptions_held_idx ON subscriptions (account_id) WHERE pause_reason = 'account_deactivated';
