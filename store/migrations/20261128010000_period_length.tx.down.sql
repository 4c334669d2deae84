ALTER TABLE subscriptions DROP COLUMN period_length;
