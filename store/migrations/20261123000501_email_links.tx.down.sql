ALTER TABLE accounts DROP COLUMN email_changed_at;
DELETE FROM email_changes WHERE old_email IS NULL OR new_email IS NULL OR linking;
ALTER TABLE email_changes DROP COLUMN linking;
ALTER TABLE email_changes ALTER COLUMN old_email SET NOT NULL, ALTER COLUMN new_email SET NOT NULL;
