-- The audit log: one row per change, written with it. It names accounts without a foreign key, because it outlives them.
-- The zero id is the installation itself.
CREATE TABLE audit_heads (
    account_id   uuid PRIMARY KEY,
    last         bigint NOT NULL,
    -- What was removed for its age, and when what is left began.
    pruned_to    bigint NOT NULL DEFAULT 0,
    pruned_until timestamptz
) WITH (fillfactor = 70);

CREATE TABLE audit_events (
    account_id uuid NOT NULL,
    sequence   bigint NOT NULL,
    id         uuid NOT NULL,
    name       text NOT NULL,
    -- The beginning of the transaction, which the changed rows carry, too.
    at         timestamptz NOT NULL DEFAULT now(),
    actor_kind text NOT NULL,
    actor_id   text,
    network    text,
    request_id text,
    details    jsonb NOT NULL,
    PRIMARY KEY (account_id, sequence),
    CONSTRAINT audit_events_id_key UNIQUE (id)
);
CREATE INDEX audit_events_age_idx ON audit_events USING brin (at);

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('gatehouse.audit_retention', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the audit log only grows' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();

INSERT INTO audit_heads (account_id, last) VALUES ('00000000-0000-0000-0000-000000000000', 1);
INSERT INTO audit_events (account_id, sequence, id, name, actor_kind, details)
    VALUES ('00000000-0000-0000-0000-000000000000', 1, gen_random_uuid(), 'audit.began', 'system', '{}');
