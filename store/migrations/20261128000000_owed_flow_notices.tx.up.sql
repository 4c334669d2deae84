-- Changes that a flow makes owe their notices, too: the flow may never learn that its change was committed.
ALTER TABLE owed_notices
    ADD COLUMN challenge uuid,
    ADD COLUMN channel text;
