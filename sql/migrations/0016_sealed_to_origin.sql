-- Stored secrets are bound to the origin (scheme, host, port) of their registration's "uri", too: a "uri" that somebody changes in
-- the table does not take them along.

-- The newest form of sealed secrets that a process reads: 1, those bound to webhook and column; 2, those bound to the origin, too.
-- Processes of versions before this one do not name it.
ALTER TABLE openregister_webhooks.worker ADD COLUMN sealing integer NOT NULL DEFAULT 1;

-- Whether every secret is sealed in form 2. Set once, when no process of an older version lives any more, and never taken back: from
-- then on nothing in form 1 is read or written. The runtime role cannot change it.
ALTER TABLE openregister_webhooks.settings ADD COLUMN sealed_to_origin boolean NOT NULL DEFAULT false;
