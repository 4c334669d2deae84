DELETE FROM login_history WHERE outcome = 'second_step';
ALTER TABLE login_history DROP CONSTRAINT login_history_outcome_known;
ALTER TABLE login_history ADD CONSTRAINT login_history_outcome_known
    CHECK (outcome IN ('succeeded', 'wrong_password', 'throttled'));
DELETE FROM sessions WHERE state = 'pending';
ALTER TABLE sessions DROP COLUMN factor_at, DROP COLUMN step_hash, DROP COLUMN platform, DROP COLUMN device_name,
    DROP COLUMN device_id;
DROP TABLE devices;
