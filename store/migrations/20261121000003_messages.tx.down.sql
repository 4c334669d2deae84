DROP TABLE rate_limits, quotas, idempotency_keys, dev_inbox, messages;
