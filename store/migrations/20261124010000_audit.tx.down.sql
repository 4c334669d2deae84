DROP TABLE audit_events, audit_heads;
DROP FUNCTION audit_refuse;
