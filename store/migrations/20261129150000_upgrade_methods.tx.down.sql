ALTER TABLE subscriptions DROP COLUMN upgrade_method_id;
