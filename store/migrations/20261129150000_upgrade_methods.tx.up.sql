-- What a dearer plan is paid with that was asked for with another payment method: it takes the place of method_id once it is paid.
ALTER TABLE subscriptions ADD COLUMN upgrade_method_id text;
