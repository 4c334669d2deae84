CREATE OR REPLACE FUNCTION audit_faults() RETURNS TABLE (account_id uuid, fault text) LANGUAGE sql STABLE AS $$
    WITH began AS (SELECT at FROM audit_events WHERE account_id = '00000000-0000-0000-0000-000000000000' AND name = 'audit.began'
        UNION ALL SELECT coalesce(pruned_until, '-infinity') FROM audit_heads WHERE account_id = '00000000-0000-0000-0000-000000000000'
        ORDER BY 1 DESC LIMIT 1),
    changes (owner, at, what, names) AS (
        SELECT id, created_at, 'account created', '{account.created}'::text[] FROM accounts
        UNION ALL SELECT id, email_verified_at, 'email verified', '{account.created,account.email_verified,account.email_changed,password.reset}' FROM accounts
        UNION ALL SELECT id, email_changed_at, 'email changed', '{account.email_changed}' FROM accounts
        UNION ALL SELECT id, password_changed_at, 'password changed',
            '{account.created,account.email_verified,password.added,password.changed,password.reset}' FROM accounts
        UNION ALL SELECT id, phone_verified_at, 'phone verified', '{account.phone_verified}' FROM accounts
        UNION ALL SELECT id, deactivated_at, 'deactivated', '{account.deactivated}' FROM accounts
        UNION ALL SELECT id, deleted_at, 'closed', '{account.closed}' FROM accounts
        UNION ALL SELECT c.account_id, c.undone_at, 'reopened', '{account.reopened}' FROM closures c
        UNION ALL SELECT c.account_id, c.erased_at, 'erased', '{account.erased}' FROM closures c
        UNION ALL SELECT u.account_id, u.changed_at, 'username changed', '{account.username_changed}' FROM username_history u
        UNION ALL SELECT f.account_id, f.confirmed_at, 'app confirmed', '{mfa.enabled}' FROM totp_factors f
        UNION ALL SELECT b.account_id, b.used_at, 'backup code used', '{mfa.backup_code_used}' FROM backup_codes b
        UNION ALL SELECT d.account_id, d.created_at, 'device trusted', '{device.trusted}' FROM devices d
        UNION ALL SELECT d.account_id, d.revoked_at, 'device ended', NULL FROM devices d
        UNION ALL SELECT s.account_id, s.revoked_at, 'session ended', NULL FROM sessions s
        UNION ALL SELECT coalesce(k.account_id, '00000000-0000-0000-0000-000000000000'), k.created_at, 'key created',
            '{api_key.created,service_key.created}' FROM api_keys k
        UNION ALL SELECT coalesce(k.account_id, '00000000-0000-0000-0000-000000000000'), k.revoked_at, 'key ended', NULL FROM api_keys k
        UNION ALL SELECT l.account_id, l.created_at, 'provider linked', '{account.created,provider.linked}' FROM linked_providers l)
    SELECT c.owner, c.what || ': ' || count(e.id) || ' events' FROM changes c
        JOIN accounts a ON a.id = c.owner LEFT JOIN audit_heads h ON h.account_id = c.owner
        LEFT JOIN audit_events e ON e.account_id = c.owner AND e.at = c.at AND (c.names IS NULL OR e.name = ANY (c.names))
        WHERE c.at >= (SELECT at FROM began) AND c.at >= coalesce(h.pruned_until, '-infinity')
        GROUP BY c.owner, c.what, c.at, c.names
        HAVING count(e.id) = 0 OR c.names IS NOT NULL AND count(DISTINCT e.sequence) <> 1
    UNION ALL
    SELECT coalesce(e.account_id, h.account_id), 'sequence: ' || count(e.id) || ' events up to ' || coalesce(h.last, 0) || ' since ' || coalesce(h.pruned_to, 0)
        FROM audit_events e FULL JOIN audit_heads h ON h.account_id = e.account_id
        GROUP BY coalesce(e.account_id, h.account_id), h.last, h.pruned_to
        HAVING h.last IS NULL OR count(e.id) <> h.last - h.pruned_to OR coalesce(max(e.sequence), h.last) <> h.last
            OR coalesce(min(e.sequence), h.pruned_to + 1) <> h.pruned_to + 1
$$;
