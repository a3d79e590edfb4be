-- The tables of Nextcloud 32 and OpenRegister 0.2.13 that this project reads or captures, as a fresh installation has
-- them on PostgreSQL. Objects live in one table per register and schema; the blob table exists and stays empty.
-- For the demo and the tests; run it as the role that owns Nextcloud's tables.

CREATE TABLE oc_accounts (
    uid varchar(64) DEFAULT '' PRIMARY KEY, data text DEFAULT '' NOT NULL
);

CREATE TABLE oc_activity (
    activity_id bigserial PRIMARY KEY, timestamp integer DEFAULT 0 NOT NULL, priority integer DEFAULT 0 NOT NULL,
    type varchar(255), "user" varchar(64), affecteduser varchar(64) NOT NULL, app varchar(32) NOT NULL,
    subject varchar(255) NOT NULL, subjectparams text NOT NULL, message varchar(255), messageparams text,
    file varchar(4000), link varchar(4000), object_type varchar(255), object_id bigint DEFAULT 0 NOT NULL
);
CREATE INDEX activity_object ON oc_activity (object_type, object_id);

CREATE TABLE oc_appconfig (
    appid varchar(32) DEFAULT '' NOT NULL, configkey varchar(64) DEFAULT '' NOT NULL, configvalue text,
    type integer DEFAULT 2 NOT NULL, lazy smallint DEFAULT 0 NOT NULL, PRIMARY KEY (appid, configkey)
);

CREATE TABLE oc_group_user (
    gid varchar(64) DEFAULT '' NOT NULL, uid varchar(64) DEFAULT '' NOT NULL, PRIMARY KEY (gid, uid)
);
CREATE INDEX gu_uid_index ON oc_group_user (uid);

CREATE TABLE oc_groups (
    gid varchar(64) DEFAULT '' PRIMARY KEY, displayname varchar(255) DEFAULT 'name' NOT NULL
);

CREATE TABLE oc_users (
    uid varchar(64) DEFAULT '' PRIMARY KEY, displayname varchar(64), password varchar(255) DEFAULT '' NOT NULL,
    uid_lower varchar(64) DEFAULT ''
);

CREATE TABLE oc_openregister_agents (
    id bigserial PRIMARY KEY, uuid varchar(255) NOT NULL, name varchar(255) NOT NULL, description text,
    type varchar(50) DEFAULT 'chat', provider varchar(50), model varchar(255), prompt text,
    temperature double precision DEFAULT 0.7, max_tokens integer, configuration json, organisation varchar(36),
    owner varchar(255), active boolean DEFAULT true NOT NULL, enable_rag boolean DEFAULT false NOT NULL,
    rag_search_mode varchar(20) DEFAULT 'hybrid', rag_num_sources integer DEFAULT 5,
    rag_include_files boolean DEFAULT false NOT NULL, rag_include_objects boolean DEFAULT false NOT NULL,
    request_quota integer, token_quota integer, groups json, created timestamp(0) NOT NULL,
    updated timestamp(0) NOT NULL, views text, search_files boolean DEFAULT true,
    search_objects boolean DEFAULT true, is_private boolean DEFAULT true, invited_users text, tools text,
    "user" varchar(255)
);
CREATE UNIQUE INDEX agents_uuid_index ON oc_openregister_agents (uuid);

CREATE TABLE oc_openregister_applications (
    id bigserial PRIMARY KEY, uuid varchar(255) NOT NULL, name varchar(255) NOT NULL, description text,
    version varchar(64), organisation varchar(36), active boolean DEFAULT true NOT NULL, configurations json,
    registers json, schemas json, storage_quota bigint, bandwidth_quota bigint, request_quota integer,
    owner varchar(255), created timestamp(0) NOT NULL, updated timestamp(0) NOT NULL, groups json,
    "authorization" text
);

CREATE TABLE oc_openregister_audit_trails (
    id serial PRIMARY KEY, uuid varchar(255), schema integer, object integer NOT NULL,
    action varchar(255) DEFAULT 'update' NOT NULL, changed json NOT NULL, "user" varchar(255) NOT NULL,
    user_name varchar(255) NOT NULL, session varchar(255) NOT NULL, request varchar(255),
    ip_address varchar(255), version varchar(255), created timestamp(0) NOT NULL, register integer,
    object_uuid varchar(255), register_uuid varchar(255), schema_uuid varchar(255),
    organisation_id varchar(255), organisation_id_type varchar(50), processing_activity_id varchar(255),
    processing_activity_url varchar(255), processing_id varchar(255), confidentiality varchar(255),
    retention_period varchar(255), size integer, expires timestamp(0), hash varchar(64),
    previous_hash varchar(64)
);
CREATE INDEX idx_audit_hash ON oc_openregister_audit_trails (hash);
CREATE INDEX idx_audit_proc_act ON oc_openregister_audit_trails (processing_activity_id);
CREATE INDEX openregister_logs_user_index ON oc_openregister_audit_trails ("user");
CREATE INDEX openregister_logs_uuid_index ON oc_openregister_audit_trails (uuid);

CREATE TABLE oc_openregister_configurations (
    id serial PRIMARY KEY, title varchar(255) NOT NULL, description text DEFAULT '',
    type varchar(64) DEFAULT 'default' NOT NULL, registers json, version varchar(255) DEFAULT '0.0.1',
    owner varchar(64), created timestamp(0) NOT NULL, updated timestamp(0) NOT NULL, app varchar(64),
    schemas json, objects json, source_type varchar(64) DEFAULT 'manual', source_url text,
    local_version varchar(255), remote_version varchar(255), last_checked timestamp(0),
    auto_update boolean DEFAULT false, notification_groups text, github_repo varchar(255),
    github_branch varchar(255) DEFAULT 'main', github_path varchar(500), uuid varchar(36),
    organisation varchar(36), views json, agents json, sources json, applications json,
    is_local boolean DEFAULT true NOT NULL, sync_enabled boolean DEFAULT false NOT NULL,
    sync_interval integer DEFAULT 24 NOT NULL, last_sync_date timestamp(0),
    sync_status varchar(20) DEFAULT 'never' NOT NULL, openregister varchar(100), mappings text
);

CREATE TABLE oc_openregister_conversations (
    id bigserial PRIMARY KEY, uuid varchar(36) NOT NULL, title varchar(255), user_id varchar(64) NOT NULL,
    organisation varchar(36), agent_id bigint, metadata text, deleted_at timestamp(0),
    created timestamp(0) NOT NULL, updated timestamp(0) NOT NULL
);
CREATE UNIQUE INDEX conversations_uuid_index ON oc_openregister_conversations (uuid);

CREATE TABLE oc_openregister_objects (
    id bigserial PRIMARY KEY, uuid varchar(255) NOT NULL, version varchar(255) DEFAULT '0.0.1' NOT NULL,
    register varchar(255) NOT NULL, schema varchar(255) NOT NULL, object json,
    updated timestamp(0) DEFAULT CURRENT_TIMESTAMP NOT NULL,
    created timestamp(0) DEFAULT CURRENT_TIMESTAMP NOT NULL, uri varchar(255) DEFAULT '' NOT NULL,
    files json DEFAULT '{}', relations json DEFAULT '{}', locked json, owner varchar(64) DEFAULT '',
    "authorization" text, folder varchar(4000) DEFAULT '', organisation varchar(255), application varchar(255),
    validation json, deleted json, geo json, retention json, size integer, groups json, name varchar(255),
    description text, slug varchar(255), image text, schema_version varchar(255), expires timestamp(0),
    summary text, tmlo text
);
CREATE INDEX object_entity_register ON oc_openregister_objects (register);
CREATE INDEX object_entity_schema ON oc_openregister_objects (schema);
CREATE UNIQUE INDEX unique_uuid ON oc_openregister_objects (uuid);

CREATE TABLE oc_openregister_organisations (
    id serial PRIMARY KEY, uuid varchar(255) NOT NULL, name varchar(255) NOT NULL, description text,
    created timestamp(0), updated timestamp(0), users json DEFAULT '[]', owner varchar(255), slug varchar(255),
    "authorization" text, parent varchar(255), active boolean DEFAULT true NOT NULL,
    status varchar(20) DEFAULT 'active' NOT NULL, environment varchar(20) DEFAULT 'production' NOT NULL,
    provisioned_at timestamp(0), suspended_at timestamp(0), deprovisioned_at timestamp(0), _mail json,
    _contacts json, _notes json, _todos json, _calendar json, _talk json, _deck json
);
CREATE UNIQUE INDEX organisations_slug_unique ON oc_openregister_organisations (slug);
CREATE UNIQUE INDEX organisations_uuid_unique ON oc_openregister_organisations (uuid);

CREATE TABLE oc_openregister_registers (
    id bigserial PRIMARY KEY, uuid varchar(255) NOT NULL, version varchar(255) DEFAULT '0.0.1' NOT NULL,
    title varchar(255) NOT NULL, description text, schemas json, source varchar(64) DEFAULT 'internal',
    table_prefix varchar(64) DEFAULT '', updated timestamp(0) DEFAULT CURRENT_TIMESTAMP NOT NULL,
    created timestamp(0) DEFAULT CURRENT_TIMESTAMP NOT NULL, folder varchar(4000) DEFAULT '', slug varchar(255),
    owner varchar(255), application varchar(255), organisation varchar(255), "authorization" json,
    deleted timestamp(0), groups json, published timestamp(0), depublished timestamp(0), configuration text,
    languages text, _mail json, _contacts json, _notes json, _todos json, _calendar json, _talk json, _deck json
);
CREATE UNIQUE INDEX registers_organisation_slug_unique ON oc_openregister_registers (organisation, slug);

CREATE TABLE oc_openregister_schemas (
    id bigserial PRIMARY KEY, uuid varchar(255) NOT NULL, version varchar(255) DEFAULT '0.0.1' NOT NULL,
    title varchar(255) NOT NULL, description text, summary text, required json, properties json,
    updated timestamp(0) DEFAULT CURRENT_TIMESTAMP NOT NULL,
    created timestamp(0) DEFAULT CURRENT_TIMESTAMP NOT NULL, hard_validation boolean DEFAULT false NOT NULL,
    archive json DEFAULT '{}', source varchar(255) DEFAULT 'internal', max_depth integer DEFAULT 0 NOT NULL,
    slug varchar(255), owner varchar(255), application varchar(255), organisation varchar(255),
    "authorization" json, deleted timestamp(0), icon varchar(255), groups json,
    immutable boolean DEFAULT false NOT NULL, configuration json, facets json,
    searchable boolean DEFAULT true NOT NULL, all_of text, one_of text, any_of text, published timestamp(0),
    depublished timestamp(0), hooks text, _mail json, _contacts json, _notes json, _todos json, _calendar json,
    _talk json, _deck json
);
CREATE UNIQUE INDEX schemas_organisation_slug_unique ON oc_openregister_schemas (organisation, slug);

CREATE TABLE oc_openregister_sources (
    id bigserial PRIMARY KEY, uuid varchar(255) NOT NULL, title varchar(255) NOT NULL, description text,
    version varchar(255) DEFAULT '0.0.1' NOT NULL, database_url varchar(255) NOT NULL,
    type varchar(64) NOT NULL, updated timestamp(0) DEFAULT CURRENT_TIMESTAMP NOT NULL,
    created timestamp(0) DEFAULT CURRENT_TIMESTAMP NOT NULL, organisation varchar(255)
);

CREATE TABLE oc_openregister_table_1_1 (
    _id bigserial PRIMARY KEY, _uuid varchar(40) NOT NULL UNIQUE, _slug varchar(255), _uri text,
    _version varchar(50), _register varchar(255) NOT NULL, _schema varchar(255) NOT NULL, _owner varchar(64),
    _organisation varchar(36), _application varchar(255), _folder varchar(255), _name varchar(255),
    _description text, _summary text, _image text, _size varchar(50), _schema_version varchar(50),
    _created timestamp, _updated timestamp, _expires timestamp, _files jsonb, _relations jsonb, _locked jsonb,
    _authorization jsonb, _validation jsonb, _deleted jsonb, _geo jsonb, _retention jsonb, _groups jsonb,
    _tmlo jsonb, name text, first_name text, age integer, score numeric(10,2), active boolean, born timestamp,
    seen timestamp, email varchar(320), tags jsonb, address jsonb, "when" text, nickname text
);
CREATE INDEX openregister_table_1_1_register_schema_idx ON oc_openregister_table_1_1 (_register, _schema);
CREATE INDEX openregister_table_1_1_relations_gin_idx ON oc_openregister_table_1_1 USING gin (_relations);
CREATE UNIQUE INDEX openregister_table_1_1_uuid_idx ON oc_openregister_table_1_1 (_uuid);

CREATE TABLE oc_openregister_view (
    id serial PRIMARY KEY, uuid varchar(255), name varchar(255) NOT NULL, description text,
    owner varchar(64) NOT NULL, is_public boolean DEFAULT false NOT NULL,
    is_default boolean DEFAULT false NOT NULL, query json NOT NULL, favored_by json,
    created timestamp(0) NOT NULL, updated timestamp(0) NOT NULL, organisation varchar(255)
);

CREATE TABLE oc_openregister_views (
    id serial PRIMARY KEY, uuid varchar(255), name varchar(255) NOT NULL, description text,
    owner varchar(64) NOT NULL, is_public boolean DEFAULT false NOT NULL,
    is_default boolean DEFAULT false NOT NULL, query json NOT NULL, favored_by json,
    created timestamp(0) NOT NULL, updated timestamp(0) NOT NULL, organisation varchar(36)
);
