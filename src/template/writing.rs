//! How a value is written: always as JSON.
//!
//! Guarantees: no text breaks out of its string, whatever a filter says of it, and one value is at most [`LARGEST`] bytes.

use std::io::{self, Write};

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Output, State, Value};

use super::error::{LARGEST, NO_JSON};

/// The engine's formatter.
pub(super) fn write(output: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let mut bounded = Bounded {
        output,
        left: LARGEST,
    };
    json(value, &mut bounded).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => Error::from(ErrorKind::OutOfFuel),
        _ => Error::new(ErrorKind::WriteFailure, NO_JSON),
    })
}

struct Bounded<'a, 'o> {
    output: &'a mut Output<'o>,
    left: usize,
}

impl Write for Bounded<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len());
        self.left = left.ok_or(io::ErrorKind::FileTooLarge)?;
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.output.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Recurses as deep as the data is.
fn json(value: &Value, out: &mut Bounded<'_, '_>) -> io::Result<()> {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => out.write_all(b"null"),
        ValueKind::Bool if value.is_true() => out.write_all(b"true"),
        ValueKind::Bool => out.write_all(b"false"),
        ValueKind::Number if value.is_integer() => write!(out, "{value}"),
        ValueKind::Number => match f64::try_from(value.clone()).ok() {
            Some(number) => Ok(serde_json::to_writer(out, &number)?),
            None => out.write_all(b"null"),
        },
        ValueKind::String => Ok(serde_json::to_writer(out, value.as_str().unwrap_or_default())?),
        ValueKind::Seq | ValueKind::Iterable => {
            out.write_all(b"[")?;
            for (n, item) in value.try_iter().map_err(io::Error::other)?.enumerate() {
                if n > 0 {
                    out.write_all(b",")?;
                }
                json(&item, out)?;
            }
            out.write_all(b"]")
        }
        ValueKind::Map => {
            out.write_all(b"{")?;
            for (n, name) in value.try_iter().map_err(io::Error::other)?.enumerate() {
                if n > 0 {
                    out.write_all(b",")?;
                }
                let name_text = name.as_str().ok_or(io::ErrorKind::InvalidData)?;
                serde_json::to_writer(&mut *out, name_text)?;
                out.write_all(b":")?;
                json(&value.get_item(&name).map_err(io::Error::other)?, out)?;
            }
            out.write_all(b"}")
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
