ALTER TABLE closures DROP COLUMN former_emails;
DROP TABLE former_emails;
