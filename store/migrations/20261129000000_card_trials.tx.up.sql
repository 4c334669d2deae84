-- Which cards had a trial, and of which family of plans. A row outlives the accounts whose card it is, or their erasure would bring
-- the next trial (PAY-07). It names nobody, and has no moment by which the ledger would say whose it was.
CREATE TABLE card_trials (
    family      text NOT NULL,
    fingerprint text NOT NULL,
    PRIMARY KEY (family, fingerprint)
);
INSERT INTO card_trials (family, fingerprint)
SELECT DISTINCT s.family, m.fingerprint FROM subscriptions s JOIN payment_methods m ON m.account_id = s.account_id
WHERE s.trial_end IS NOT NULL AND m.fingerprint <> '';
