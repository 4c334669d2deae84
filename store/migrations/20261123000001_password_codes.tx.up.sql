-- A code that guards an account from within (D06) counts for the session that asked for it, and for no other.
ALTER TABLE challenges ADD COLUMN session_id uuid REFERENCES sessions ON DELETE CASCADE;
CREATE INDEX challenges_session_idx ON challenges (session_id) WHERE session_id IS NOT NULL;
