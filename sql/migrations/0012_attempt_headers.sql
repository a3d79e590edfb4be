-- What a receiver answered, with its headers.

ALTER TABLE openregister_webhooks.attempt ADD COLUMN headers text;   -- a JSON object: name and value, secrets masked
