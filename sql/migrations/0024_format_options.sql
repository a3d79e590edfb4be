-- What formats need to know besides their name: the text of a template, the place in an NRC, the attributes of a CloudEvent.

ALTER TABLE openregister_webhooks.webhook
    ADD COLUMN format_options text;   -- JSON; holds no secret
