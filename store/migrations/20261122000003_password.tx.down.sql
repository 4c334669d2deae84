ALTER TABLE sessions DROP COLUMN failed_guesses;
