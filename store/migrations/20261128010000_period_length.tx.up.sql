-- A pause moves the end of a period, and with it what its length could be told from: 0 means as the anchor makes it.
ALTER TABLE subscriptions ADD COLUMN period_length bigint NOT NULL DEFAULT 0; -- seconds
