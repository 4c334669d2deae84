DROP TABLE memberships;
DROP TABLE data_providers;
ALTER TABLE settings ALTER COLUMN odds_format SET DEFAULT 'decimal', ALTER COLUMN theme SET DEFAULT 'system';
