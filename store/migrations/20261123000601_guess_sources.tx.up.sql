-- Whose codes a source (a client address, a network) has guessed wrong, and when last: one entry for each whom it guessed.
CREATE TABLE guess_sources (
    key        bytea PRIMARY KEY,
    subjects   bytea[] NOT NULL,
    guessed_at timestamptz[] NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT guess_sources_pairs CHECK (cardinality(subjects) = cardinality(guessed_at))
);
CREATE INDEX guess_sources_expiry_idx ON guess_sources (expires_at);
