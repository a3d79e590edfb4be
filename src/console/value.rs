//! Tables as the console answers them: columns with PostgreSQL's types, and rows.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use pgwire::api::Type;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo};
use pgwire::error::PgWireError;
use pgwire::messages::data::{DataRow, RowDescription};

use crate::terminal::Line;

/// A column: its name and its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int8,
    Float8,
    Text,
    Time,
}

impl Kind {
    pub(super) const fn of_postgres(self) -> Type {
        match self {
            Self::Bool => Type::BOOL,
            Self::Int8 => Type::INT8,
            Self::Float8 => Type::FLOAT8,
            Self::Text => Type::TEXT,
            Self::Time => Type::TIMESTAMPTZ,
        }
    }

    /// The bytes of a value, as `pg_type.typlen` has them.
    const fn size(self) -> i16 {
        match self {
            Self::Bool => 1,
            Self::Int8 | Self::Float8 | Self::Time => 8,
            Self::Text => -1,
        }
    }
}

/// A value; its kind is that of its column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int8(i64),
    Float8(f64),
    Text(String),
    Time(DateTime<Utc>),
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int8(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int8(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int8(value.into())
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int8(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float8(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<DateTime<Utc>> for Value {
    fn from(value: DateTime<Utc>) -> Self {
        Self::Time(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Rows of the same columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Vec<Value>>,
}

/// Text or binary, for each column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Formats(Vec<FieldFormat>);

impl Formats {
    /// Text in each of so many columns.
    pub(super) fn text(columns: usize) -> Self {
        Self(vec![FieldFormat::Text; columns])
    }

    /// As a client asks for them: none stands for text, one for all columns; `None` if the codes do not fit the columns.
    pub(super) fn asked(codes: &[i16], columns: usize) -> Option<Self> {
        let format = |code: &i16| match code {
            0 => Some(FieldFormat::Text),
            1 => Some(FieldFormat::Binary),
            _ => None,
        };
        let formats: Option<Vec<_>> = codes.iter().map(format).collect();
        let formats = formats?;
        match formats.as_slice() {
            [] => Some(Self::text(columns)),
            [one] => Some(Self(vec![*one; columns])),
            all if all.len() == columns => Some(Self(formats)),
            _ => None,
        }
    }
}

/// The columns as pgwire takes them.
pub(super) fn fields(columns: &[Column], formats: &Formats) -> Arc<Vec<FieldInfo>> {
    let field = |(column, format): (&Column, &FieldFormat)| {
        FieldInfo::new(
            column.name.to_owned(),
            None,
            None,
            column.kind.of_postgres(),
            *format,
        )
        .with_type_size(column.kind.size())
    };
    Arc::new(columns.iter().zip(&formats.0).map(field).collect())
}

pub(super) fn description(fields: &[FieldInfo]) -> RowDescription {
    RowDescription::new(fields.iter().map(Into::into).collect())
}

/// One row, as it is sent.
pub(super) fn row(fields: &Arc<Vec<FieldInfo>>, values: &[Value]) -> Result<DataRow, PgWireError> {
    let mut encoder = DataRowEncoder::new(Arc::clone(fields));
    // A row has a value for each column; what were missing would be NULL.
    for at in 0..fields.len() {
        match values.get(at).unwrap_or(&Value::Null) {
            Value::Null => encoder.encode_field(&None::<String>)?,
            Value::Bool(value) => encoder.encode_field(value)?,
            Value::Int8(value) => encoder.encode_field(value)?,
            Value::Float8(value) => encoder.encode_field(value)?,
            // Text of strangers must not act on the terminal of whoever reads it.
            Value::Text(value) => encoder.encode_field(&Line(value).to_string())?,
            Value::Time(value) => encoder.encode_field(value)?,
        }
    }
    Ok(encoder.take_row())
}
