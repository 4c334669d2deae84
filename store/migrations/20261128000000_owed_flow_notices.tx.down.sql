ALTER TABLE owed_notices
    DROP COLUMN challenge,
    DROP COLUMN channel;
