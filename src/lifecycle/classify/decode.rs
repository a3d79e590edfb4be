//! Decoding: parses the row images of a change.

use serde_json::Value;

use crate::capture::{Change, Op};
use crate::lifecycle::audit::Audit;
use crate::lifecycle::outcome::Undecodable;
use orw_model::{EntityKind, ObjectRow, Row, Store, parse_row, parse_row_beside};

/// A change with its parsed row images.
#[derive(Debug)]
pub struct Decoded {
    pub(crate) change: Change,
    pub(super) kind: DecodedKind,
}

#[derive(Debug)]
pub(super) enum DecodedKind {
    Object {
        old: Option<Row>,
        new: Option<Row>,
    },
    Plain {
        kind: EntityKind,
        old: Option<Row>,
        new: Option<Row>,
    },
    Audit(Box<Audit>),
    /// A change that cannot cause an event.
    Nothing,
}

impl Decoded {
    /// Parses the row images.
    ///
    /// # Errors
    /// If an image is missing, cannot be parsed, or does not identify its row. The change must be quarantined.
    pub fn read(change: Change) -> Result<Self, Box<Undecodable>> {
        Self::read_beside(change, None)
    }

    /// The same, quicker if `like` is a row of the same table.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn read_beside(change: Change, like: Option<&Row>) -> Result<Self, Box<Undecodable>> {
        match Self::read_kind(&change, like) {
            Ok(kind) => Ok(Self { change, kind }),
            Err(reason) => Err(Box::new(Undecodable { change, reason })),
        }
    }

    /// One of its rows.
    pub(crate) const fn row(&self) -> Option<&Row> {
        match &self.kind {
            DecodedKind::Object { old, new } | DecodedKind::Plain { old, new, .. } => match new {
                Some(new) => Some(new),
                None => old.as_ref(),
            },
            DecodedKind::Audit(_) | DecodedKind::Nothing => None,
        }
    }

    /// `like`: a row that is probably much like those of the change.
    fn read_kind(change: &Change, like: Option<&Row>) -> Result<DecodedKind, String> {
        let image = |text: &Option<String>, side: &str, wanted: bool, like: Option<&Row>| match text {
            Some(text) => like
                .map_or_else(|| parse_row(text), |like| parse_row_beside(text, like))
                .map(Some)
                .map_err(|error| format!("{side} row: {error}")),
            None if wanted => Err(format!("the {side} row image is missing")),
            None => Ok(None),
        };
        let has_old = matches!(change.op, Op::Update | Op::Delete);
        let old = image(&change.old, "old", has_old, like)?;
        let new = image(&change.new, "new", change.op != Op::Delete, old.as_ref().or(like))?;
        let either = new.as_ref().or(old.as_ref());
        match change.table.store() {
            Store::Magic { .. } | Store::Blob => {
                let uuid = either.and_then(|row| ObjectRow::new(&change.table, row).uuid());
                uuid.ok_or("the row has no uuid")?;
                Ok(DecodedKind::Object { old, new })
            }
            Store::Plain(kind) => {
                let id = either.and_then(|row| row.get("id")).and_then(Value::as_i64);
                id.ok_or("the row has no id")?;
                Ok(DecodedKind::Plain {
                    kind: *kind,
                    old,
                    new,
                })
            }
            Store::Audit if change.op == Op::Insert => {
                let audit = new.as_ref().and_then(Audit::from_row);
                let audit = audit.ok_or("the row has no id or no action")?;
                Ok(DecodedKind::Audit(Box::new(audit)))
            }
            Store::Audit => Ok(DecodedKind::Nothing),
        }
    }
}
