-- Accounts that their owners have locked; an operator opens them again.
ALTER TABLE accounts ADD COLUMN deactivated_at timestamptz, ADD COLUMN deactivation_reason text;
