//! A row image: its columns in the order of the table, each read when it is first looked at.
//!
//! Guarantees: an image that [`Row::read`] accepts has only columns that can be read, and they have the values that reading the whole
//! text at once would give. The names of a table's columns are kept once for all of its rows ([`Layout`]), and no name is hashed.

mod beside;
mod known;
mod layout;
mod surrogates;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use layout::{Layout, MOST};
use surrogates::replace_lone_surrogates;

use crate::json;

/// Why a row image cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the row image is not a JSON object: {0}")]
pub struct RowError(#[from] serde_json::Error);

/// Reads a row image. A `json` column may contain an escaped surrogate without its other half, which no string can hold; it
/// becomes U+FFFD.
///
/// # Errors
/// If it is not a JSON object, or is nested deeper than [`json::DEEPEST`] levels.
pub fn parse_row(text: &str) -> Result<Row, RowError> {
    Row::read(text)
}

/// Reads a row image that is probably much like `other`, such as that of the same row before a change. The result is that of [`parse_row`].
///
/// # Errors
/// As [`parse_row`].
pub fn parse_row_beside(text: &str, other: &Row) -> Result<Row, RowError> {
    Row::read_beside(text, other).map_or_else(|| Row::read(text), Ok)
}

/// A row as `row_to_json` wrote it. Clones share it.
#[derive(Clone, Default)]
pub struct Row(Arc<Image>);

#[derive(Default)]
struct Image {
    text: Box<str>,
    layout: Arc<Layout>,
    /// As many as the layout has names.
    cells: Vec<Cell>,
}

/// The value of a column: where its text is, and what it says.
#[derive(Default)]
struct Cell {
    at: usize,
    /// 0: the value has no text of its own.
    length: usize,
    value: OnceLock<Box<Value>>,
}

/// The columns of an image: their names, and the texts of their values.
struct Columns<'t>(Vec<Cow<'t, str>>, Vec<&'t RawValue>);

impl<'t> Visitor<'t> for Columns<'t> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'t>>(mut self, mut entries: A) -> Result<Self, A::Error> {
        while let Some(Name(name)) = entries.next_key()? {
            self.0.push(name);
            self.1.push(entries.next_value()?);
        }
        Ok(self)
    }
}

/// A name, borrowed if it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'t>(#[serde(borrow)] Cow<'t, str>);

impl Row {
    /// Reads a row image.
    ///
    /// # Errors
    /// As [`crate::parse_row`].
    pub(crate) fn read(text: &str) -> Result<Self, RowError> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let columns = reader
            .deserialize_map(Columns(Vec::with_capacity(64), Vec::with_capacity(64)))
            .and_then(|columns| reader.end().map(|()| columns));
        let brackets = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
        let Columns(names, values) = match columns {
            Ok(columns) if brackets <= json::DEEPEST && columns.0.len() <= MOST => columns,
            // Nested very deeply, perhaps, or no row image.
            _ => return Ok(Self::from(whole(text)?)),
        };
        let layout = Layout::shared(&names);
        if layout.has_twins() {
            return Ok(Self::from(whole(text)?));
        }
        let mut row = Image {
            text: text.into(),
            layout,
            cells: Vec::with_capacity(values.len()),
        };
        for value in values {
            let value = value.get();
            row.cells.push(Cell {
                // The value is a part of the text.
                at: value.as_ptr() as usize - text.as_ptr() as usize,
                length: value.len(),
                value: OnceLock::new(),
            });
            // An escaped surrogate may lack its other half, the only thing in it that can still be wrong.
            if value.contains("\\u") {
                let cell = row.cells.len() - 1;
                let _ = row.cells[cell].value.set(Box::new(whole_value(value)?));
            }
        }
        Ok(Self(Arc::new(row)))
    }

    /// Reads an image that has the columns of another row.
    fn read_beside(text: &str, other: &Self) -> Option<Self> {
        let cells = &other.0.cells;
        let values = cells.iter().map(|cell| (cell.at, cell.length));
        let places = beside::places(text, &other.0.text, values)?;
        let cell = |(at, length)| Cell {
            at,
            length,
            value: OnceLock::new(),
        };
        Some(Self(Arc::new(Image {
            text: text.into(),
            layout: Arc::clone(&other.0.layout),
            cells: places.into_iter().map(cell).collect(),
        })))
    }

    /// The whole image; empty if the row was not read from one.
    pub(crate) fn text(&self) -> &str {
        &self.0.text
    }

    /// A column's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.layout.place(name).map(|place| self.value(place))
    }

    /// The value of the column whose name is `name` behind an underscore.
    pub(crate) fn get_underscored(&self, name: &str) -> Option<&Value> {
        self.0
            .layout
            .place_underscored(name)
            .map(|place| self.value(place))
    }

    /// The column of this name.
    pub(crate) fn column(&self, name: &str) -> Option<Column<'_>> {
        let (row, place) = (self, self.0.layout.place(name)?);
        let name = &self.0.layout.names[place];
        Some(Column { name, row, place })
    }

    /// The column whose name is `name` behind an underscore.
    pub(crate) fn column_underscored(&self, name: &str) -> Option<Column<'_>> {
        let (row, place) = (self, self.0.layout.place_underscored(name)?);
        let name = &self.0.layout.names[place];
        Some(Column { name, row, place })
    }

    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.0.layout.place(name).is_some()
    }

    /// The columns, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.columns().map(|column| (column.name, column.value()))
    }

    /// The same; a value is read when it is asked for.
    pub(crate) fn columns(&self) -> impl Iterator<Item = Column<'_>> {
        let names = self.0.layout.names.iter().enumerate();
        names.map(|(place, name)| Column {
            name,
            row: self,
            place,
        })
    }

    /// The names of the columns that differ. A missing column equals one that is null, because adding a column to a table changes no
    /// entity.
    pub fn changed<'r>(&'r self, old: &'r Self) -> impl Iterator<Item = &'r str> {
        let alike = self.0.layout == old.0.layout;
        let differ = self.columns().filter(move |new| {
            let place = if alike {
                Some(new.place)
            } else {
                old.0.layout.place(new.name)
            };
            match place {
                Some(place) => !self.0.cells[new.place].is_same(self, &old.0.cells[place], old),
                None => !new.value().is_null(),
            }
        });
        let dropped = old
            .columns()
            .filter(move |column| !alike && !self.contains_key(column.name) && !column.value().is_null());
        differ.chain(dropped).map(|column| column.name)
    }

    fn value(&self, place: usize) -> &Value {
        let cell = &self.0.cells[place];
        let text = cell.text(self).unwrap_or("null");
        if text == "null" && cell.value.get().is_none() {
            return &NULL;
        }
        cell.value.get_or_init(|| {
            if let Some(plain) = plain(text) {
                return Box::new(plain.into());
            }
            // It was checked when the row was read.
            Box::new(json::parse_deep(text, json::DEEPEST).unwrap_or_else(|_| text.into()))
        })
    }
}

impl Cell {
    fn text<'r>(&self, row: &'r Row) -> Option<&'r str> {
        (self.length > 0).then(|| &row.0.text[self.at..self.at + self.length])
    }

    fn is_same(&self, row: &Row, other: &Self, of: &Row) -> bool {
        match (self.text(row), other.text(of)) {
            (Some(one), Some(two)) if one == two => true,
            _ => self.read(row) == other.read(of),
        }
    }

    fn read<'r>(&'r self, row: &'r Row) -> Cow<'r, Value> {
        match self.value.get() {
            Some(value) => Cow::Borrowed(value),
            None => {
                let text = self.text(row).unwrap_or("null");
                Cow::Owned(json::parse_deep(text, json::DEEPEST).unwrap_or_else(|_| text.into()))
            }
        }
    }
}

static NULL: Value = Value::Null;

/// What a text of JSON says that is a string without escapes.
fn plain(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    (!inside.contains('\\')).then_some(inside)
}

/// A column of a row.
#[derive(Clone, Copy)]
pub(crate) struct Column<'r> {
    pub(crate) name: &'r str,
    row: &'r Row,
    place: usize,
}

impl<'r> Column<'r> {
    pub(crate) fn value(self) -> &'r Value {
        self.row.value(self.place)
    }

    /// Its value, if that is a string.
    pub(crate) fn as_str(self) -> Option<&'r str> {
        let cell = &self.row.0.cells[self.place];
        match cell.text(self.row).and_then(plain) {
            Some(plain) if cell.value.get().is_none() => Some(plain),
            _ => self.value().as_str(),
        }
    }

    /// Whether it is metadata, if the row is one of a magic table.
    pub(crate) fn is_metadata(self) -> bool {
        let metadata = self.row.0.layout.metadata.get(self.place);
        metadata.is_some_and(|is| *is)
    }

    /// Its text in the image.
    pub(crate) fn text(self) -> Option<&'r str> {
        self.row.0.cells[self.place].text(self.row)
    }
}

/// Reads the whole text at once.
fn whole(text: &str) -> Result<Map<String, Value>, RowError> {
    match json::parse_deep_object(text, json::DEEPEST) {
        Ok(row) => Ok(row),
        Err(error) => match replace_lone_surrogates(text) {
            Some(repaired) => Ok(json::parse_deep_object(&repaired, json::DEEPEST)?),
            None => Err(error.into()),
        },
    }
}

/// The same for one value.
fn whole_value(text: &str) -> Result<Value, RowError> {
    match json::parse_deep(text, json::DEEPEST) {
        Ok(value) => Ok(value),
        Err(error) => match replace_lone_surrogates(text) {
            Some(repaired) => Ok(json::parse_deep(&repaired, json::DEEPEST)?),
            None => Err(error.into()),
        },
    }
}

impl From<Map<String, Value>> for Row {
    fn from(columns: Map<String, Value>) -> Self {
        let names = columns.keys().map(|name| name.as_str().into()).collect();
        let cell = |value| Cell {
            value: OnceLock::from(Box::new(value)),
            ..Cell::default()
        };
        Self(Arc::new(Image {
            text: Box::default(),
            layout: Arc::new(Layout::of(names)),
            cells: columns.into_iter().map(|(_, value)| cell(value)).collect(),
        }))
    }
}

impl std::ops::Index<&str> for Row {
    type Output = Value;

    fn index(&self, name: &str) -> &Value {
        self.get(name).unwrap_or(&NULL)
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.0.cells.len() == other.0.cells.len()
            && self.iter().all(|(name, value)| other.get(name) == Some(value))
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests;
