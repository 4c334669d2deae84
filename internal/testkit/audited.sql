-- Laid over every database of the tests: a transaction of Gatehouse that changes what protects an account, and leaves no
-- row of it in the audit log or more than one, cannot commit (security.md I-12). Whoever writes a change without its event
-- finds out by any test that makes it. What a test itself changes, through a connection without a name, is its own affair.
CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    row   jsonb;
    owner uuid;
    told  int;
BEGIN
    IF current_setting('application_name') = '' THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'DELETE' THEN row := to_jsonb(OLD); ELSE row := to_jsonb(NEW); END IF;
    owner := coalesce(row ->> TG_ARGV[0], '00000000-0000-0000-0000-000000000000')::uuid;
    -- Of two transactions that began in one microsecond, ours is the one that is still under way.
    SELECT count(*) INTO told FROM audit_events e
        WHERE e.account_id = owner AND e.at = now() AND pg_xact_status(e.xmin::text::xid8) = 'in progress' AND (TG_ARGV[1] = 'any' OR e.name = ANY (string_to_array(TG_ARGV[1], ' ')));
    IF told = 0 OR told > 1 AND TG_ARGV[1] <> 'any' THEN
        RAISE EXCEPTION '% of % (%) has % audit events', TG_OP, TG_TABLE_NAME, TG_NAME, told;
    END IF;
    RETURN NULL;
END $$;

DO $$
DECLARE
    rule record;
BEGIN
    FOR rule IN SELECT * FROM (VALUES
        ('accounts', 'id', 'INSERT', 'true', 'account.created'),
        ('accounts', 'id', 'DELETE', 'true', 'account.purged'),
        ('accounts', 'id', 'UPDATE', 'OLD.email IS DISTINCT FROM NEW.email', 'account.email_changed account.email_removed account.erased'),
        ('accounts', 'id', 'UPDATE', 'OLD.email_verified_at IS DISTINCT FROM NEW.email_verified_at',
            'account.email_verified account.email_changed password.reset'),
        ('accounts', 'id', 'UPDATE', 'OLD.password_changed_at IS DISTINCT FROM NEW.password_changed_at',
            'password.added password.changed password.reset account.email_verified account.erased'),
        ('accounts', 'id', 'UPDATE', 'OLD.two_factor_enabled <> NEW.two_factor_enabled', 'mfa.enabled mfa.disabled account.erased'),
        ('accounts', 'id', 'UPDATE', 'OLD.phone_number IS DISTINCT FROM NEW.phone_number OR OLD.phone_verified_at IS DISTINCT FROM NEW.phone_verified_at',
            'account.phone_verified account.phone_changed password.reset account.erased'),
        ('accounts', 'id', 'UPDATE', 'OLD.username IS DISTINCT FROM NEW.username', 'account.username_changed account.erased'),
        ('accounts', 'id', 'UPDATE', 'OLD.is_active <> NEW.is_active OR OLD.is_locked <> NEW.is_locked',
            'account.deactivated account.reactivated account.erased'),
        ('accounts', 'id', 'UPDATE', 'OLD.deleted_at IS DISTINCT FROM NEW.deleted_at', 'account.closed account.reopened'),
        ('accounts', 'id', 'UPDATE', 'OLD.roles <> NEW.roles', 'account.erased'),
        ('sessions', 'account_id', 'UPDATE', 'OLD.revoked_at IS DISTINCT FROM NEW.revoked_at', 'any'),
        ('api_keys', 'account_id', 'INSERT', 'true', 'api_key.created service_key.created'),
        ('api_keys', 'account_id', 'UPDATE', 'OLD.revoked_at IS DISTINCT FROM NEW.revoked_at OR OLD.scopes <> NEW.scopes', 'any'),
        ('devices', 'account_id', 'INSERT', 'true', 'device.trusted'),
        ('devices', 'account_id', 'UPDATE', 'OLD.revoked_at IS DISTINCT FROM NEW.revoked_at', 'any'),
        ('totp_factors', 'account_id', 'UPDATE', 'OLD.confirmed_at IS NULL AND NEW.confirmed_at IS NOT NULL', 'mfa.enabled'),
        ('totp_factors', 'account_id', 'UPDATE', 'NEW.confirmed_at IS NOT NULL AND NEW.locked_until > coalesce(OLD.locked_until, ''-infinity'')', 'mfa.locked'),
        ('totp_factors', 'account_id', 'DELETE', 'OLD.confirmed_at IS NOT NULL', 'mfa.disabled account.purged account.erased'),
        ('backup_codes', 'account_id', 'UPDATE', 'OLD.used_at IS DISTINCT FROM NEW.used_at', 'mfa.backup_code_used'),
        ('linked_providers', 'account_id', 'INSERT', 'true', 'provider.linked account.created account.reopened'),
        ('linked_providers', 'account_id', 'DELETE', 'true',
            'provider.unlinked account.closed account.purged account.erased password.reset'),
        ('memberships', 'account_id', 'INSERT', 'true', 'membership.set'),
        ('memberships', 'account_id', 'UPDATE', 'true', 'membership.set'),
        ('memberships', 'account_id', 'DELETE', 'true', 'membership.removed account.purged account.erased')
    ) AS r (what, owner, operation, condition, names) LOOP
        EXECUTE format('CREATE CONSTRAINT TRIGGER %I AFTER %s ON %I DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (%s) EXECUTE FUNCTION audited(%L, %L)',
            'audited_' || md5(rule::text), rule.operation, rule.what, rule.condition, rule.owner, rule.names);
    END LOOP;
END $$;
