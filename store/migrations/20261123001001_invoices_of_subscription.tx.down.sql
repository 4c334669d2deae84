DROP INDEX invoices_subscription_idx;
