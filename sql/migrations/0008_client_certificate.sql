-- What a receiver may demand besides a signature: a certificate, and the header of OpenRegister's own webhooks.

ALTER TABLE openregister_webhooks.webhook
    ADD COLUMN client_certificate bytea,                          -- chain and key, encrypted like the other secrets
    ADD COLUMN legacy_signature   boolean NOT NULL DEFAULT false; -- X-Webhook-Signature too
