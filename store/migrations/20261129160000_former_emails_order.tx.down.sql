ALTER TABLE former_emails DROP COLUMN first_lost_at;
