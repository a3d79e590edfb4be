//! The numbered migrations of the schema, in order. A released migration is never edited; a correction is a new one.

/// A numbered migration, applied once.
pub(super) struct Migration {
    pub(super) version: i32,
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

/// All migrations. `sql/install.sql` lists the same files.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "capture",
        sql: include_str!("../../../sql/migrations/0001_capture.sql"),
    },
    Migration {
        version: 2,
        name: "event",
        sql: include_str!("../../../sql/migrations/0002_event.sql"),
    },
    Migration {
        version: 3,
        name: "registry",
        sql: include_str!("../../../sql/migrations/0003_registry.sql"),
    },
    Migration {
        version: 4,
        name: "delivery",
        sql: include_str!("../../../sql/migrations/0004_delivery.sql"),
    },
    Migration {
        version: 5,
        name: "work",
        sql: include_str!("../../../sql/migrations/0005_work.sql"),
    },
    Migration {
        version: 6,
        name: "erased",
        sql: include_str!("../../../sql/migrations/0006_erased.sql"),
    },
    Migration {
        version: 7,
        name: "losses",
        sql: include_str!("../../../sql/migrations/0007_losses.sql"),
    },
    Migration {
        version: 8,
        name: "client_certificate",
        sql: include_str!("../../../sql/migrations/0008_client_certificate.sql"),
    },
    Migration {
        version: 9,
        name: "outbox_limit",
        sql: include_str!("../../../sql/migrations/0009_outbox_limit.sql"),
    },
    Migration {
        version: 10,
        name: "gap_events",
        sql: include_str!("../../../sql/migrations/0010_gap_events.sql"),
    },
    Migration {
        version: 11,
        name: "lane_index",
        sql: include_str!("../../../sql/migrations/0011_lane_index.sql"),
    },
    Migration {
        version: 12,
        name: "attempt_headers",
        sql: include_str!("../../../sql/migrations/0012_attempt_headers.sql"),
    },
    Migration {
        version: 13,
        name: "quarantine_gap",
        sql: include_str!("../../../sql/migrations/0013_quarantine_gap.sql"),
    },
    Migration {
        version: 14,
        name: "object_lock",
        sql: include_str!("../../../sql/migrations/0014_object_lock.sql"),
    },
    Migration {
        version: 15,
        name: "health_revision",
        sql: include_str!("../../../sql/migrations/0015_health_revision.sql"),
    },
    Migration {
        version: 16,
        name: "sealed_to_origin",
        sql: include_str!("../../../sql/migrations/0016_sealed_to_origin.sql"),
    },
    Migration {
        version: 17,
        name: "claims",
        sql: include_str!("../../../sql/migrations/0017_claims.sql"),
    },
    Migration {
        version: 18,
        name: "registry_state",
        sql: include_str!("../../../sql/migrations/0018_registry_state.sql"),
    },
    Migration {
        version: 19,
        name: "event_batch",
        sql: include_str!("../../../sql/migrations/0019_event_batch.sql"),
    },
    Migration {
        version: 20,
        name: "change_table_form",
        sql: include_str!("../../../sql/migrations/0020_change_table_form.sql"),
    },
    Migration {
        version: 21,
        name: "token_needed",
        sql: include_str!("../../../sql/migrations/0021_token_needed.sql"),
    },
    Migration {
        version: 22,
        name: "data_mode",
        sql: include_str!("../../../sql/migrations/0022_data_mode.sql"),
    },
    Migration {
        version: 23,
        name: "event_compression",
        sql: include_str!("../../../sql/migrations/0023_event_compression.sql"),
    },
    Migration {
        version: 24,
        name: "format_options",
        sql: include_str!("../../../sql/migrations/0024_format_options.sql"),
    },
    Migration {
        version: 25,
        name: "handshake",
        sql: include_str!("../../../sql/migrations/0025_handshake.sql"),
    },
    Migration {
        version: 26,
        name: "search",
        sql: include_str!("../../../sql/migrations/0026_search.sql"),
    },
    Migration {
        version: 27,
        name: "put_back",
        sql: include_str!("../../../sql/migrations/0027_put_back.sql"),
    },
];
