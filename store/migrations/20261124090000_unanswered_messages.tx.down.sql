ALTER TABLE messages DROP COLUMN unanswered;
