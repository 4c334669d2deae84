-- Which of the former addresses is the owner's shows in who was lost first. When a row ends does not say that: an undo prolongs it,
-- and so does losing the address once more.
ALTER TABLE former_emails ADD COLUMN first_lost_at timestamptz NOT NULL DEFAULT now();
-- Those that are there keep the order that they had, before all to come.
UPDATE former_emails SET first_lost_at = now() - ((SELECT max(expires_at) FROM former_emails) - expires_at);
