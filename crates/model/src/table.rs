//! Which table holds which kind of entity.

use std::sync::Arc;

use super::EntityKind;

/// What a captured table holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Store {
    /// `openregister_table_{register}_{schema}` ("magic table"): each row is an object, each column a property.
    Magic { register: i64, schema: i64 },
    /// `openregister_objects`: each row is an object, with its properties in the JSON column `object`.
    Blob,
    /// The table of one of the other nine kinds.
    Plain(EntityKind),
    /// `openregister_audit_trails`: who did what to which object.
    Audit,
}

impl Store {
    /// The kind of entity whose subscriptions decide whether this table is captured.
    #[must_use]
    pub const fn kind(&self) -> EntityKind {
        match self {
            Self::Magic { .. } | Self::Blob | Self::Audit => EntityKind::Object,
            Self::Plain(kind) => *kind,
        }
    }
}

/// A table of OpenRegister that is captured: its name without Nextcloud's table prefix, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    name: Arc<str>,
    store: Store,
}

/// The fixed tables, without prefix. Views are in one of two tables, depending on the generation; both may exist.
const FIXED: [(&str, Store); 12] = [
    ("openregister_objects", Store::Blob),
    ("openregister_audit_trails", Store::Audit),
    ("openregister_registers", Store::Plain(EntityKind::Register)),
    ("openregister_schemas", Store::Plain(EntityKind::Schema)),
    ("openregister_applications", Store::Plain(EntityKind::Application)),
    ("openregister_agents", Store::Plain(EntityKind::Agent)),
    ("openregister_sources", Store::Plain(EntityKind::Source)),
    (
        "openregister_configurations",
        Store::Plain(EntityKind::Configuration),
    ),
    ("openregister_view", Store::Plain(EntityKind::View)),
    ("openregister_views", Store::Plain(EntityKind::View)),
    (
        "openregister_conversations",
        Store::Plain(EntityKind::Conversation),
    ),
    (
        "openregister_organisations",
        Store::Plain(EntityKind::Organisation),
    ),
];

impl TableName {
    /// Reads a full table name, which begins with Nextcloud's table `prefix`. `None` if the table is not captured.
    #[must_use]
    pub fn parse(full: &str, prefix: &str) -> Option<Self> {
        let name = full.strip_prefix(prefix)?;
        if let Some(rest) = name.strip_prefix("openregister_table_") {
            let (register, schema) = rest.split_once('_')?;
            let number = |s: &str| {
                let plain = !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
                plain.then(|| s.parse::<i64>().ok()).flatten()
            };
            let store = Store::Magic {
                register: number(register)?,
                schema: number(schema)?,
            };
            return Some(Self {
                name: name.into(),
                store,
            });
        }
        let (_, store) = FIXED.iter().find(|(fixed, _)| *fixed == name)?;
        Some(Self {
            name: name.into(),
            store: store.clone(),
        })
    }

    /// The name without the prefix.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_strictly() {
        let store = |n| TableName::parse(n, "oc_").map(|t| t.store);
        assert_eq!(
            store("oc_openregister_table_2_14"),
            Some(Store::Magic {
                register: 2,
                schema: 14
            })
        );
        assert_eq!(store("oc_openregister_objects"), Some(Store::Blob));
        assert_eq!(
            store("oc_openregister_views"),
            Some(Store::Plain(EntityKind::View))
        );
        for no in [
            "openregister_objects",
            "oc_openregister_table_2",
            "oc_openregister_table_2_x",
            "oc_openregister_table_2_3_4",
            "oc_openregister_table_+2_3",
            "oc_openregister_webhooks",
            "oc_users",
        ] {
            assert_eq!(store(no), None, "{no}");
        }
    }
}
