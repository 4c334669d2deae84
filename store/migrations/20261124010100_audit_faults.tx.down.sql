DROP FUNCTION audit_faults;
