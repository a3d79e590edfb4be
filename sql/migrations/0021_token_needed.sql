-- Nextcloud 33 and later have the field `tokenNeeded` in a webhook; what is stored asks for no token.

ALTER TABLE openregister_webhooks.webhook
    ADD COLUMN token_needed text NOT NULL DEFAULT '[]';   -- JSON, as it was sent
