DROP INDEX subscriptions_held_idx;
DROP INDEX accounts_deactivated_idx;
DROP INDEX accounts_deleted_idx;
DROP INDEX invoices_paid_idx;
DROP INDEX invoices_open_idx;
ALTER TABLE payment_attempts DROP COLUMN confirmed_at;
DROP TABLE billing_findings;
DROP TABLE reconciliations;
