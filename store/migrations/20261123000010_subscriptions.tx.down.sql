DROP TABLE payment_methods;
DROP TABLE subscription_events;
DROP TABLE payment_attempts;
DROP TABLE invoices;
-- Before this there were no plans of other families and no incomplete subscriptions.
DELETE FROM subscriptions WHERE family <> 'main' OR status = 'incomplete';
DROP INDEX subscriptions_open_idx;
DROP INDEX subscriptions_live_key;
ALTER TABLE subscriptions
    DROP CONSTRAINT subscriptions_period,
    DROP COLUMN family, DROP COLUMN generation, DROP COLUMN version, DROP COLUMN method_id, DROP COLUMN anchor,
    DROP COLUMN trial_end, DROP COLUMN cancel_at_period_end, DROP COLUMN canceled_at, DROP COLUMN ended_at,
    DROP COLUMN paused_at, DROP COLUMN resumes_at, DROP COLUMN pause_reason, DROP COLUMN next_plan_id,
    DROP COLUMN upgrade_plan_id, DROP COLUMN declines, DROP COLUMN first_decline_at, DROP COLUMN retry_at, DROP COLUMN updated_at;
CREATE UNIQUE INDEX subscriptions_live_key ON subscriptions (account_id)
    WHERE status IN ('trialing', 'active', 'past_due', 'paused', 'unpaid');
UPDATE plans p SET code = p.id WHERE p.id <> (SELECT min(id) FROM plans o WHERE o.code = p.code);
ALTER TABLE plans
    DROP CONSTRAINT plans_amount_known, DROP CONSTRAINT plans_currency_form, DROP CONSTRAINT plans_interval_known,
    DROP COLUMN family, DROP COLUMN amount, DROP COLUMN currency, DROP COLUMN interval_unit, DROP COLUMN interval_count,
    DROP COLUMN trial_days, DROP COLUMN features, DROP COLUMN retired_at,
    ADD CONSTRAINT plans_code_key UNIQUE (code);
