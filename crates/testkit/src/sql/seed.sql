-- Rows every generation starts with: two users, two groups, an organisation, and the register "people" with the schema
-- "person", whose objects the writer writes.

INSERT INTO oc_users (uid, displayname, uid_lower) VALUES ('admin', NULL, 'admin'), ('alice', 'Alice Adams', 'alice');
INSERT INTO oc_accounts (uid, data) VALUES
    ('admin', '{"displayname":{"value":"The Administrator","scope":"v2-federated","verified":"0"}}'),
    ('alice', '{"displayname":{"value":"Alice Adams","scope":"v2-federated","verified":"0"}}');
INSERT INTO oc_groups (gid, displayname) VALUES ('admin', 'admin'), ('editors', 'Editors');
INSERT INTO oc_group_user (gid, uid) VALUES ('admin', 'admin'), ('editors', 'alice');
INSERT INTO oc_appconfig (appid, configkey, configvalue) VALUES
    ('openregister', 'enabled', 'yes'),
    ('openregister', 'defaultOrganisation', '0f8fad5b-d9cb-469f-a165-70867728950e');
INSERT INTO oc_openregister_organisations (uuid, name, description, created, updated, users, owner, slug) VALUES
    ('0f8fad5b-d9cb-469f-a165-70867728950e', 'Default Organisation', 'Where everything starts',
     '2026-01-02 03:04:05', '2026-01-02 03:04:05', '["admin","alice"]', 'admin', 'default-organisation');
INSERT INTO oc_openregister_schemas (uuid, version, title, required, properties, updated, created, hard_validation,
                                     slug, organisation, configuration) VALUES
    ('6fa459ea-ee8a-4ca4-894e-db77e160355e', '0.0.1', 'Person', '["name"]',
     '{"name":{"type":"string"},"firstName":{"type":"string"},"age":{"type":"integer"},"score":{"type":"number"},'
     '"active":{"type":"boolean"},"born":{"type":"string","format":"date"},'
     '"seen":{"type":"string","format":"date-time"},"email":{"type":"string","format":"email"},'
     '"tags":{"type":"array","items":{"type":"string"}},'
     '"address":{"type":"object","properties":{"street":{"type":"string"},"no":{"type":"integer"}}},'
     '"when":{"type":"string"},"nickname":{"type":"string"}}',
     '2026-01-02 03:04:05', '2026-01-02 03:04:05', true, 'person', '0f8fad5b-d9cb-469f-a165-70867728950e',
     '{"objectNameField":"name"}');
INSERT INTO oc_openregister_registers (uuid, version, title, description, schemas, updated, created, slug,
                                       organisation) VALUES
    ('16fd2706-8baf-433b-82eb-8c7fada847da', '0.0.1', 'People', 'Who is who', '[1]',
     '2026-01-02 03:04:05', '2026-01-02 03:04:05', 'people', '0f8fad5b-d9cb-469f-a165-70867728950e');
