-- The invoices of a subscription are listed, and the newest is named in mails: invoices_period_key leaves out those of plan changes.
CREATE INDEX invoices_subscription_idx ON invoices (subscription_id, created_at);
