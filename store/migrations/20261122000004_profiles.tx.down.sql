ALTER TABLE accounts
    DROP CONSTRAINT accounts_phone_verified,
    DROP CONSTRAINT accounts_phone_form;
DROP TABLE onboarding_events;
