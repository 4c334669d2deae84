DROP TABLE login_throttles, refresh_tokens, sessions, api_keys, subscriptions, plans, welcomes, credit_moves, credits,
    settings, accounts;
DROP EXTENSION pg_trgm;
