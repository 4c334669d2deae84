DROP INDEX IF EXISTS signup_attempts_registering_idx;
