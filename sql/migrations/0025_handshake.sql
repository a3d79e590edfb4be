-- What a receiver allowed when it was asked whether it wants requests.

ALTER TABLE openregister_webhooks.webhook
    ADD COLUMN handshake text;   -- JSON: origin, ratePerMinute, allowedRate, allowedAt
