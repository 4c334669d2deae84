-- A change of email may also link an address to an account that has none, and take the address away: then one side is empty.
ALTER TABLE email_changes ALTER COLUMN old_email DROP NOT NULL, ALTER COLUMN new_email DROP NOT NULL;
-- Asked for by the routes that link (D23): proven by a code from within the account, and not by a link.
ALTER TABLE email_changes ADD COLUMN linking boolean NOT NULL DEFAULT false;
-- When the account got another address than it was made with: that one resets no password for a while.
ALTER TABLE accounts ADD COLUMN email_changed_at timestamptz;
