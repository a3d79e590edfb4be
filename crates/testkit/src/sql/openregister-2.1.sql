-- What OpenRegister 2.1 (October 2026) adds to the tables of 0.2.13. Made from its migrations as they were read, not recorded: no
-- installation of it was seen, and migrations may be missing here. Run it after the tables of 0.2.13, as the same role.

ALTER TABLE oc_openregister_registers ADD type varchar(255);

ALTER TABLE oc_openregister_schemas
    ADD append_only boolean DEFAULT false, ADD smart_picker_enabled boolean DEFAULT false NOT NULL, ADD draft json;

ALTER TABLE oc_openregister_sources
    ADD sync_enabled boolean DEFAULT false NOT NULL, ADD sync_schedule varchar(64), ADD sync_interval integer,
    ADD last_sync_date timestamp(0), ADD last_sync_status varchar(16), ADD last_sync_token varchar(255),
    ADD auth_type varchar(32), ADD auth_config text, ADD mapping_id integer, ADD target_register varchar(255),
    ADD target_schema varchar(255), ADD conflict_strategy varchar(16), ADD delete_strategy varchar(16),
    ADD batch_size integer;

ALTER TABLE oc_openregister_views ADD presentation json;

ALTER TABLE oc_openregister_organisations
    ADD oin varchar(255), ADD tooi varchar(255), ADD is_local_tenant boolean, ADD remote_instance_url varchar(255),
    ADD contact_email varchar(255), ADD default_permission_level varchar(64), ADD quality_score integer,
    ADD quality_status varchar(64), ADD retained_at timestamp(0);

ALTER TABLE oc_openregister_audit_trails
    ALTER object DROP NOT NULL, ALTER user_name DROP NOT NULL, ALTER session DROP NOT NULL,
    ADD import_job_id varchar(255), ADD purged_at timestamp(0), ADD flow_run varchar(64), ADD flow_node varchar(255),
    ADD flow_step varchar(255), ADD purpose varchar(128), ADD tool_id varchar(255), ADD params_digest varchar(255),
    ADD result_summary json;
