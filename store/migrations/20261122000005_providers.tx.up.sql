-- The outside accounts that open an account. One of each provider per account, and no outside account opens two.
CREATE TABLE linked_providers (
    account_id          uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    provider            text NOT NULL,
    provider_account_id text NOT NULL,
    type                text NOT NULL DEFAULT 'oauth',
    provider_email      text,
    display_name        text,
    avatar_url          text,
    scope               text,
    token_expires_at    timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT linked_providers_pkey PRIMARY KEY (account_id, provider),
    CONSTRAINT linked_providers_identity_key UNIQUE (provider, provider_account_id),
    CONSTRAINT linked_providers_known CHECK (provider IN ('google', 'github', 'apple'))
);
