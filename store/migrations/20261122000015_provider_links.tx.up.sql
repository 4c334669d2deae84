-- Links under way (C12): who began one, and what its callback said. The state itself is not stored.
CREATE TABLE provider_links (
    id                  uuid PRIMARY KEY,
    account_id          uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    -- The session or API key that began it.
    starter             uuid NOT NULL,
    provider            text NOT NULL,
    state_hash          bytea NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT now(),
    expires_at          timestamptz NOT NULL,
    claimed_at          timestamptz,
    -- Which Idempotency-Key claimed the state, so that its retry may do so again.
    claim_key           text,
    provider_account_id text,
    provider_email      text,
    display_name        text,
    avatar_url          text,
    linked_at           timestamptz,
    CONSTRAINT provider_links_state_key UNIQUE (state_hash)
);
CREATE INDEX provider_links_account_idx ON provider_links (account_id);
CREATE INDEX provider_links_expiry_idx ON provider_links (expires_at);
