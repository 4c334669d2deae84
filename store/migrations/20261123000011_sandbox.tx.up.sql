-- The sandbox (providers/payment): a payment provider that moves no money and keeps its own books. No row here refers to one of
-- ours, as no real provider's would.
CREATE TABLE sandbox_methods (
    id         text PRIMARY KEY,
    customer   text NOT NULL,
    -- The test id that it was made of, such as pm_card_visa.
    test_id    text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE sandbox_charges (
    id           text PRIMARY KEY,
    key          text NOT NULL,
    invoice_id   text NOT NULL,
    customer     text NOT NULL,
    method_id    text NOT NULL,
    amount       bigint NOT NULL,
    currency     text NOT NULL,
    -- Why it was refused, empty for a charge that succeeds.
    decline_code text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    -- Until then it is being processed; null for one that was settled at once.
    settles_at   timestamptz,
    -- A key is charged once, and remembered for ever.
    CONSTRAINT sandbox_charges_key UNIQUE (key),
    CONSTRAINT sandbox_charges_amount CHECK (amount > 0)
);
CREATE INDEX sandbox_charges_time_idx ON sandbox_charges (created_at, id);
-- What goes wrong with the next charges: the script of a test, or of a developer who wants to see it.
CREATE TABLE sandbox_faults (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       text NOT NULL,
    -- Which charges: those of one test id, and those whose key begins so. Empty means all.
    test_id    text NOT NULL DEFAULT '',
    key_prefix text NOT NULL DEFAULT '',
    code       text NOT NULL DEFAULT '',
    delay_ms   bigint NOT NULL DEFAULT 0,
    -- How many charges are still to go wrong.
    times      int NOT NULL DEFAULT 1,
    CONSTRAINT sandbox_faults_kind_known CHECK (kind IN ('down', 'wait', 'slow', 'lost', 'decline', 'processing'))
);
CREATE INDEX sandbox_faults_left_idx ON sandbox_faults (id) WHERE times > 0;
