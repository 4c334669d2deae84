-- What every account has been called, and how long its former names are kept for it.
CREATE TABLE username_history (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id   uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    -- NULL where there was none before: choosing the first is no change.
    old_username text,
    new_username text NOT NULL,
    changed_at   timestamptz NOT NULL DEFAULT now(),
    held_until   timestamptz,
    CONSTRAINT username_history_held CHECK ((old_username IS NULL) = (held_until IS NULL))
);
CREATE INDEX username_history_account_idx ON username_history (account_id, changed_at);
CREATE INDEX username_history_held_idx ON username_history (old_username, id) WHERE old_username IS NOT NULL;

-- Whom a search may show: the predicates are those of accountShown in store/username.go. The first two find what begins
-- with a text, the last one what holds it.
CREATE INDEX accounts_shown_username_idx ON accounts (username COLLATE "C")
    WHERE username IS NOT NULL AND onboarding_done AND is_active AND NOT is_locked AND deleted_at IS NULL;
CREATE INDEX accounts_shown_name_idx ON accounts (lower(full_name) COLLATE "C")
    WHERE username IS NOT NULL AND onboarding_done AND is_active AND NOT is_locked AND deleted_at IS NULL;
CREATE INDEX accounts_shown_words_idx ON accounts USING gin (username gin_trgm_ops, lower(full_name) gin_trgm_ops)
    WHERE username IS NOT NULL AND onboarding_done AND is_active AND NOT is_locked AND deleted_at IS NULL;
