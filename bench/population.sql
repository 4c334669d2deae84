-- What an account and its year leave behind, one statement for each table; widths are those of the product's own rows.
INSERT INTO accounts (id, email, email_verified_at, username, password_hash, password_changed_at, full_name, user_type, fingerprint, fingerprint_hash, attribution, onboarding_done)
SELECT gen_random_uuid(), 'first.last' || i || '@example.com', now(), 'person' || i,
    '$argon2id$v=19$m=19456,t=2,p=1$' || substr(md5(i::text), 1, 22) || '$' || substr(md5(i::text) || md5((-i)::text), 1, 43),
    now(), initcap(substr(md5(i::text), 1, 6)) || ' ' || initcap(substr(md5(i::text), 8, 8)), 'personal',
    jsonb_build_object('canvas', md5(i::text), 'platform', 'MacIntel', 'timezone', 'Europe/Berlin'), sha256(int8send(i)),
    '{"utm_source": "newsletter", "utm_medium": "email", "utm_campaign": "spring"}', true
FROM generate_series(1, :accounts) i;
CREATE TABLE people AS SELECT id, row_number() OVER (ORDER BY id) AS n FROM accounts;
INSERT INTO settings (account_id) SELECT id FROM people;
INSERT INTO credits (account_id, balance) SELECT id, 100 FROM people;
INSERT INTO welcomes (account_id, full_bonus, received) SELECT id, 100, 100 FROM people;
INSERT INTO credit_moves (account_id, kind, key, amount) SELECT id, 'welcome', 'welcome', 100 FROM people ORDER BY random();
INSERT INTO sessions (id, account_id, method, ip_address, user_agent, expires_at, device_info)
SELECT gen_random_uuid(), id, 'password', '203.0.' || n % 256 || '.' || n / 256 % 256,
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36', now() + interval '30 days', NULL
FROM people, generate_series(1, 3) ORDER BY random();
INSERT INTO refresh_tokens (token_hash, session_id, expires_at)
SELECT sha256(decode(replace(id::text, '-', ''), 'hex')), id, now() + interval '14 days' FROM sessions ORDER BY random();
INSERT INTO login_history (account_id, method, outcome, ip_address, user_agent)
SELECT account_id, method, 'succeeded', ip_address, user_agent FROM sessions ORDER BY random();
INSERT INTO messages (id, flow, step, template, channel, masked_destination, account_id, recipe, state, attempts, provider, provider_id, sent_at)
SELECT gen_random_uuid(), 'notice/' || gen_random_uuid(), 'mail', 'new_device', 'email', 'f****@example.com', id, '{"k": "v"}', 'sent', 1, 'smtp', substr(md5(n::text), 1, 20), now()
FROM people, generate_series(1, 3) ORDER BY random();
INSERT INTO challenges (id, purpose, subject, account_id, channel, destination, code_hash, sent_at, send_by, code_expires_at, proven_at, proof_key, consumed_at, result)
SELECT gen_random_uuid(), 'device', sha256(decode(replace(id::text, '-', ''), 'hex')), id, 'email', 'first.last' || n || '@example.com', sha256(int8send(n)), now(), now(), now(), now(),
    md5(n::text), now(), jsonb_build_object('session_id', id) FROM people ORDER BY random();
INSERT INTO devices (id, account_id, token_hash, device_id, device_name, platform, expires_at)
SELECT gen_random_uuid(), id, sha256(int8send(n)), md5(n::text), 'Ann''s iPhone', 'ios', now() + interval '30 days' FROM people ORDER BY random();
INSERT INTO push_tokens (id, token_hash, sealed, os, account_id, session_id)
SELECT gen_random_uuid(), sha256(decode(replace(account_id::text, '-', ''), 'hex')), sha256('x') || sha256('y') || sha256('z') || sha256('x') || sha256('y') || sha256('z'), 'ios', account_id, id
FROM (SELECT DISTINCT ON (account_id) account_id, id FROM sessions) s ORDER BY random();
INSERT INTO linked_providers (account_id, provider, provider_account_id, provider_email, display_name)
SELECT id, 'google', lpad(n::text, 21, '0'), 'first.last' || n || '@example.com', 'First Last' FROM people ORDER BY random();
INSERT INTO username_history (account_id, new_username) SELECT id, 'person' || n FROM people ORDER BY random();
INSERT INTO api_keys (id, account_id, name, key_hash, scopes) SELECT gen_random_uuid(), id, 'ci', sha256(int8send(n)), '{account:read}' FROM people ORDER BY random();
INSERT INTO totp_factors (account_id, secret, confirmed_at) SELECT id, sha256('x') || sha256('y'), now() FROM people ORDER BY random();
INSERT INTO backup_codes (code_hash, account_id) SELECT sha256(int8send(n * 10 + i)), id FROM people, generate_series(1, 2) i ORDER BY random();
INSERT INTO idempotency_keys (key, request_hash, status, answer, expires_at)
SELECT encode(sha256(int8send(n)), 'hex'), sha256(int8send(n)), 200, decode(repeat(md5(n::text), 24), 'hex'), now() + interval '2 days' FROM people ORDER BY random();
INSERT INTO quotas (key, hits, expires_at) SELECT sha256(int8send(n)), ARRAY[now(), now()], now() + interval '1 day' FROM people ORDER BY random();
INSERT INTO login_throttles (key, failures, not_before) SELECT sha256(int8send(n)), 1, now() FROM people ORDER BY random();
INSERT INTO audit_heads (account_id, last) SELECT id, 4 FROM people;
INSERT INTO audit_events (account_id, sequence, id, name, actor_kind, actor_id, network, request_id, details)
SELECT id, i, gen_random_uuid(), 'session.created', 'owner', gen_random_uuid()::text, md5(n::text), gen_random_uuid()::text, jsonb_build_object('method', 'password', 'session_id', gen_random_uuid())
FROM people, generate_series(1, 4) i ORDER BY random();
INSERT INTO subscriptions (id, account_id, plan_id, status, period_start, period_end, method_id)
SELECT 'sub_' || substr(md5(n::text), 1, 24), id, 'premium_monthly', 'active', now(), now() + interval '1 month', 'pm_' || substr(md5(n::text), 1, 24) FROM people ORDER BY random();
INSERT INTO invoices (id, subscription_id, account_id, reason, plan_id, amount, currency, period_start, period_end, status, paid_at, created_at)
SELECT 'in_' || substr(md5(id), 1, 24), id, account_id, 'subscription_cycle', plan_id, 2900, 'usd', period_start, period_end, 'paid', now(), now() FROM subscriptions ORDER BY random();
INSERT INTO payment_attempts (invoice_id, attempt, key, provider, method_id, state, provider_id, settled_at, confirmed_at)
SELECT id, 1, id || '/1', 'stripe', 'pm_' || substr(md5(id), 1, 24), 'succeeded', 'pi_' || substr(md5(id), 1, 24), now(), now() FROM invoices ORDER BY random();
INSERT INTO subscription_events (subscription_id, version, key, event, status, at)
SELECT id, i, 'renew/' || i, 'renewed', 'active', now() FROM subscriptions, generate_series(1, 2) i ORDER BY random();
INSERT INTO payment_methods (provider, id, account_id, customer, shown, fingerprint, brand, last4)
SELECT 'stripe', 'pm_' || substr(md5(n::text), 1, 24), id, 'cus_' || substr(md5(n::text), 1, 14), 'pm_' || substr(md5(n::text), 1, 24), substr(md5(n::text), 1, 16), 'visa', '4242' FROM people ORDER BY random();
DROP TABLE people;
VACUUM (FREEZE, ANALYZE);
