ALTER TABLE messages
    -- How often it was handed to a provider that has not said what became of it. What is paid for is not tried on and on.
    ADD COLUMN unanswered int NOT NULL DEFAULT 0;
