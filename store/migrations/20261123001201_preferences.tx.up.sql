-- Nothing has written settings yet, so every row still holds the former defaults: they become the documented ones.
ALTER TABLE settings ALTER COLUMN odds_format SET DEFAULT 'american', ALTER COLUMN theme SET DEFAULT 'dark';
UPDATE settings SET odds_format = DEFAULT, theme = DEFAULT;

CREATE TABLE data_providers (
    account_id uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    name       text NOT NULL,
    enabled    boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, name)
);

-- Written by operators. Strangers see the public ones.
CREATE TABLE memberships (
    account_id   uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    organization text NOT NULL,
    role         text NOT NULL,
    is_public    boolean NOT NULL DEFAULT false,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, organization)
);
