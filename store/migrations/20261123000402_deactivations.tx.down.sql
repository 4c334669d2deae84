ALTER TABLE accounts DROP COLUMN deactivated_at, DROP COLUMN deactivation_reason;
