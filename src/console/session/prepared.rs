//! Prepared statements and portals of one session.
//!
//! Guarantee: their number and the length of their names are bounded, so a session takes a bounded amount of memory.

use std::collections::HashMap;
use std::sync::Arc;

use pgwire::api::results::FieldInfo;

use crate::console::commands::{of_change, of_show};
use crate::console::error::{ConsoleError, code};
use crate::console::statement::token::{Token, commands};
use crate::console::statement::{Parsed, Statement, parse};
use crate::console::value::{Column, Formats, Kind, Value, fields};

/// Statements, and portals, of one session. Drivers keep about 100 statements.
const MOST: usize = 256;
/// The longest name, in bytes; PostgreSQL's have 63.
const LONGEST_NAME: usize = 128;
/// Bytes of a value that is bound.
const LONGEST_VALUE: usize = 4096;

/// A prepared statement.
#[derive(Debug)]
pub(super) struct Prepared {
    tokens: Vec<Token>,
    /// `None`: the text had no command in it.
    parsed: Option<Parsed>,
    /// The types of the values, as the client named them or as the command needs them.
    pub(super) types: Vec<u32>,
}

/// A statement with its values.
pub(super) struct Portal {
    /// `None`: the text had no command in it.
    pub(super) statement: Option<Statement>,
    pub(super) columns: Option<Arc<Vec<FieldInfo>>>,
    pub(super) state: PortalState,
}

/// How far a portal is.
pub(super) enum PortalState {
    New,
    /// What is left of its rows.
    Open(std::vec::IntoIter<Vec<Value>>),
    Done,
}

/// Things of a session that have names; the empty name is used again and again.
#[derive(Debug)]
pub(super) struct Named<T> {
    all: HashMap<String, T>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { all: HashMap::new() }
    }
}

impl<T> Named<T> {
    pub(super) fn put(&mut self, name: &str, thing: T) -> Result<(), ConsoleError> {
        if name.len() > LONGEST_NAME || self.all.len() >= MOST && !self.all.contains_key(name) {
            return Err(ConsoleError::new(
                code::LIMIT,
                format!(
                    "a session has at most {MOST} prepared statements and as many portals, with names of at most {LONGEST_NAME} bytes"
                ),
            ));
        }
        self.all.insert(name.to_owned(), thing);
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.all.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.all.get_mut(name)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.all.remove(name).is_some()
    }

    pub(super) fn clear(&mut self) {
        self.all = HashMap::new();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// The columns that a statement answers; `None` if it answers no rows.
pub(super) const fn columns(statement: &Statement) -> Option<&'static [Column]> {
    match statement {
        Statement::Show(show) => Some(of_show(show)),
        Statement::Change(change) => of_change(change),
        Statement::Listen | Statement::Unlisten | Statement::Session(_) => None,
    }
}

impl Prepared {
    /// Understands a text with at most one command; `types` are those that the client names, 0 where it names none.
    pub(super) fn new(text: &str, types: &[u32]) -> Result<Self, ConsoleError> {
        let mut all = split(text)?;
        if all.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(ConsoleError::new(code::SYNTAX, message));
        }
        let Some(tokens) = all.pop() else {
            return Ok(Self {
                tokens: Vec::new(),
                parsed: None,
                types: Vec::new(),
            });
        };
        let parsed = parse(&tokens)?;
        let needed = parsed.placeholders.iter().enumerate().map(|(at, kind)| {
            let named = types.get(at).copied().unwrap_or(0);
            match (kind, named) {
                (None, _) => Err(ConsoleError::new(
                    code::BAD_PARAMETER,
                    format!("could not determine data type of parameter ${}", at + 1),
                )),
                (Some(kind), 0) => Ok(kind.of_postgres().oid()),
                (Some(_), named) => Ok(named),
            }
        });
        Ok(Self {
            types: needed.collect::<Result<_, _>>()?,
            tokens,
            parsed: Some(parsed),
        })
    }

    /// The columns that it answers.
    pub(super) fn columns(&self) -> Option<&'static [Column]> {
        self.parsed.as_ref().and_then(|parsed| columns(&parsed.statement))
    }

    /// The statement with values for its placeholders. `formats` are the codes of the values, `results` those of the columns.
    pub(super) fn bind(
        &self,
        values: &[Option<bytes::Bytes>],
        formats: &[i16],
        results: &[i16],
    ) -> Result<Portal, ConsoleError> {
        let count = self.types.len();
        if values.len() != count || !(formats.len() <= 1 || formats.len() == count) {
            return Err(ConsoleError::new(
                code::PROTOCOL_VIOLATION,
                format!(
                    "the command has {count} placeholders, and {} values were sent",
                    values.len()
                ),
            ));
        }
        let fields = match self.columns() {
            None => None,
            Some(columns) => {
                let formats = Formats::asked(results, columns.len()).ok_or_else(|| {
                    ConsoleError::new(
                        code::PROTOCOL_VIOLATION,
                        "the formats that were asked for do not fit the columns",
                    )
                })?;
                Some(fields(columns, &formats))
            }
        };
        let statement = match &self.parsed {
            None => None,
            Some(parsed) if count == 0 => Some(parsed.statement.clone()),
            Some(parsed) => {
                let mut bound = Vec::with_capacity(count);
                for (at, value) in values.iter().enumerate() {
                    let format = formats.get(at).or_else(|| formats.first()).copied().unwrap_or(0);
                    let kind = parsed
                        .placeholders
                        .get(at)
                        .copied()
                        .flatten()
                        .unwrap_or(Kind::Text);
                    let value = value.as_deref().ok_or_else(|| wrong(at, "must not be NULL"))?;
                    bound.push(token(at, kind, value, format == 1)?);
                }
                Some(parse(&with_values(&self.tokens, &bound))?.statement)
            }
        };
        Ok(Portal {
            statement,
            columns: fields,
            state: PortalState::New,
        })
    }
}

/// The commands of a text.
pub(super) fn split(text: &str) -> Result<Vec<Vec<Token>>, ConsoleError> {
    // What is no UTF-8 was replaced when the message was decoded.
    if text.contains('\u{fffd}') {
        return Err(
            ConsoleError::new(code::BAD_ENCODING, "the command is not in UTF-8")
                .with_hint("SET client_encoding changes nothing: the console speaks UTF-8"),
        );
    }
    commands(text).map_err(|error| ConsoleError::new(code::SYNTAX, error.to_string()))
}

fn with_values(tokens: &[Token], values: &[Token]) -> Vec<Token> {
    let value = |token: &Token| match token {
        Token::Placeholder(at) => values
            .get(usize::from(*at))
            .cloned()
            .unwrap_or_else(|| token.clone()),
        other => other.clone(),
    };
    tokens.iter().map(value).collect()
}

/// A value as the word that it stands for.
fn token(at: usize, kind: Kind, value: &[u8], binary: bool) -> Result<Token, ConsoleError> {
    if value.len() > LONGEST_VALUE {
        return Err(wrong(at, &format!("has more than {LONGEST_VALUE} bytes")));
    }
    let text = || std::str::from_utf8(value).map_err(|_| wrong(at, "is not in UTF-8"));
    match (kind, binary) {
        (Kind::Int8, false) => {
            let number = text()?.trim().parse();
            number
                .map(Token::Number)
                .map_err(|_| wrong(at, "is not a whole number"))
        }
        // The sizes of int2, int4 and int8.
        (Kind::Int8, true) => match *value {
            [a, b] => Ok(Token::Number(i16::from_be_bytes([a, b]).into())),
            [a, b, c, d] => Ok(Token::Number(i32::from_be_bytes([a, b, c, d]).into())),
            [a, b, c, d, e, f, g, h] => Ok(Token::Number(i64::from_be_bytes([a, b, c, d, e, f, g, h]))),
            _ => Err(wrong(at, "is not a whole number")),
        },
        // A text is the same in both formats.
        _ => Ok(Token::Text(text()?.to_owned())),
    }
}

fn wrong(at: usize, reason: &str) -> ConsoleError {
    ConsoleError::new(code::BAD_TEXT, format!("the value of ${} {reason}", at + 1))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::console::statement::Change;

    #[test]
    fn values_are_bound_in_both_formats_and_counted() {
        let prepared = Prepared::new("DISABLE $1 $2;", &[0, 0]).unwrap();
        assert_eq!(prepared.types, [20, 25]);
        let reason = || Some(Bytes::from_static(b"it's off"));
        for (id, formats) in [
            (Bytes::from_static(b"7"), &[][..]),
            (Bytes::from_static(&[0, 0, 0, 7]), &[1, 0]),
            (Bytes::from_static(&[0, 7]), &[1]),
        ] {
            let portal = prepared.bind(&[Some(id), reason()], formats, &[]).unwrap();
            let expected = Statement::Change(Change::Disable {
                webhook: 7,
                reason: Some("it's off".to_owned()),
            });
            assert_eq!(portal.statement, Some(expected));
        }
        for (values, formats) in [
            (vec![None, reason()], &[][..]),
            (vec![reason(), reason()], &[]),
            (vec![reason()], &[]),
            (vec![Some(Bytes::from_static(b"7")), reason()], &[0, 0, 0]),
        ] {
            assert!(prepared.bind(&values, formats, &[]).is_err());
        }
        let shown = Prepared::new("SHOW WEBHOOKS", &[]).unwrap();
        assert!(shown.bind(&[], &[], &[1, 0]).is_err() && shown.bind(&[], &[], &[2]).is_err());
        assert!(Prepared::new("SHOW LAG; SHOW LAG", &[]).is_err() && Prepared::new("PAUSE $2", &[]).is_err());
        assert!(
            Prepared::new(" ; ", &[])
                .unwrap()
                .bind(&[], &[], &[])
                .unwrap()
                .statement
                .is_none()
        );
    }

    #[test]
    fn a_session_has_a_bounded_number_of_statements() {
        let mut named = Named::default();
        for at in 0..MOST {
            named.put(&at.to_string(), at).unwrap();
        }
        assert!(named.put("one more", 0).is_err() && named.put("7", 0).is_ok());
        assert!(named.remove("8") && named.put("one more", 0).is_ok());
        assert!(named.put(&"n".repeat(LONGEST_NAME + 1), 0).is_err());
    }
}
