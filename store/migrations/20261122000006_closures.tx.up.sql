-- Closed accounts in their term of grace, and what remains of them: nothing that names anybody. The account's row keeps
-- email and username for the undo; its unique indexes have let go of them.
CREATE TABLE closures (
    id         uuid PRIMARY KEY,
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    -- The undo link, while it works.
    token_hash bytea,
    -- The links to outside accounts, kept for the undo.
    providers  jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    erase_at   timestamptz NOT NULL,
    undone_at  timestamptz,
    erased_at  timestamptz,
    CONSTRAINT closures_token_key UNIQUE (token_hash),
    CONSTRAINT closures_one_end CHECK (undone_at IS NULL OR erased_at IS NULL)
);
CREATE UNIQUE INDEX closures_open_key ON closures (account_id) WHERE undone_at IS NULL;
CREATE INDEX closures_due_idx ON closures (erase_at) WHERE undone_at IS NULL AND erased_at IS NULL;
