-- What ops and owners ask of a message: whose it is, when it is tried next, and how it is sent once more.
ALTER TABLE messages
    -- The account that it is about. No foreign key: the row outlives an account that was never proven.
    ADD COLUMN account_id    uuid,
    -- When the flow tries again; NULL while an attempt is under way, or when none will follow.
    ADD COLUMN next_retry_at timestamptz,
    -- The step that sends it, with its ids: no address, no code, no name.
    ADD COLUMN recipe        jsonb;
