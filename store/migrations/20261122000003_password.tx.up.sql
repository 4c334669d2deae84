-- Wrong passwords within one session: they first cost it the right to change sign-in methods, then end it.
ALTER TABLE sessions ADD COLUMN failed_guesses int NOT NULL DEFAULT 0;
