//! Understands the words of a command.

use super::parameters::PARAMETERS;
use super::token::Token;
use super::{Change, Deliveries, Replay, Session, Show, Statement};
use crate::console::error::{ConsoleError, code};
use crate::console::value::Kind;
use crate::delivery::queue::Field;

/// What can stand for a placeholder while its value is not known.
const NO_NUMBER: i64 = 0;
/// Columns, and what a placeholder needs, as they are known without values.
pub(crate) type Shape = Vec<Option<Kind>>;

/// A command, and the kind of each placeholder in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) statement: Statement,
    pub(crate) placeholders: Shape,
}

/// Understands the words of one command.
pub(crate) fn parse(tokens: &[Token]) -> Result<Parsed, ConsoleError> {
    let mut words = Words {
        rest: tokens,
        placeholders: Shape::new(),
    };
    let statement = words.statement()?;
    if let Some(more) = words.rest.first() {
        return Err(words.unexpected(Some(more)));
    }
    Ok(Parsed {
        statement,
        placeholders: words.placeholders,
    })
}

struct Words<'a> {
    rest: &'a [Token],
    placeholders: Shape,
}

impl Words<'_> {
    fn statement(&mut self) -> Result<Statement, ConsoleError> {
        let word = self.keyword()?;
        Ok(match word.as_str() {
            "SHOW" => Statement::Show(self.show()?),
            "SELECT" => Statement::Show(self.select()?),
            "LISTEN" => {
                self.channel(false)?;
                Statement::Listen
            }
            "UNLISTEN" => {
                self.channel(true)?;
                Statement::Unlisten
            }
            "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SET" | "RESET" | "DEALLOCATE"
            | "DISCARD" => Statement::Session(self.session(&word)?),
            _ => Statement::Change(self.change(&word)?),
        })
    }

    fn show(&mut self) -> Result<Show, ConsoleError> {
        let what = self.keyword()?;
        Ok(match what.as_str() {
            "WEBHOOKS" => Show::Webhooks,
            "DELIVERIES" => Show::Deliveries(self.deliveries()?),
            "ATTEMPTS" => Show::Attempts(self.number("the number of a delivery")?),
            "LAG" => Show::Lag,
            "STATS" => Show::Stats(if self.rest.is_empty() {
                None
            } else {
                Some(self.number("the id of a webhook")?)
            }),
            "TABLES" => Show::Tables,
            "WORKERS" => Show::Workers,
            "GAPS" => Show::Gaps,
            "JOBS" => Show::Jobs,
            "CONFIG" => Show::Config,
            "VERSION" => Show::Version,
            "HELP" => Show::Help,
            "TRANSACTION" => {
                self.expect("ISOLATION")?;
                self.expect("LEVEL")?;
                self.parameter("transaction_isolation")?
            }
            _ => self.parameter(&what.to_lowercase())?,
        })
    }

    fn parameter(&self, name: &str) -> Result<Show, ConsoleError> {
        let known = PARAMETERS
            .iter()
            .find(|parameter| parameter.columns[0].name == name);
        known.copied().map(Show::Parameter).ok_or_else(|| {
            ConsoleError::new(
                code::SYNTAX,
                format!("there is nothing to show that is called {name:?}"),
            )
            .with_hint("SHOW HELP lists every command")
        })
    }

    /// What pools and drivers ask to see whether a connection works.
    fn select(&mut self) -> Result<Show, ConsoleError> {
        match self.rest {
            [Token::Number(1)] => {
                self.rest = &[];
                Ok(Show::One)
            }
            _ => Err(ConsoleError::new(code::SYNTAX, "the console knows no SELECT").with_hint(
                "SHOW HELP lists every command; for SQL there are the views openregister_webhooks.show_… in Nextcloud's database",
            )),
        }
    }

    fn deliveries(&mut self) -> Result<Deliveries, ConsoleError> {
        let mut wanted = Deliveries::default();
        while !self.rest.is_empty() {
            match self.keyword()?.as_str() {
                "BEFORE" => wanted.before = Some(self.number("the number of a delivery")?),
                "LIMIT" => wanted.limit = Some(self.number("a number of rows")?),
                other => {
                    let (field, text) = self.filter(other)?;
                    wanted.filter.push((field, text));
                }
            }
        }
        Ok(wanted)
    }

    /// A part of a filter, after its keyword.
    fn filter(&mut self, keyword: &str) -> Result<(Field, String), ConsoleError> {
        const KEYWORDS: &str =
            "WEBHOOK, STATE, CLASS, OBJECT, EVENT, STATUS, CAUSE, SINCE, UNTIL, BEFORE or LIMIT";
        Ok(match keyword {
            "WEBHOOK" => (Field::Webhook, self.number("the id of a webhook")?.to_string()),
            "STATE" => (Field::State, self.text("a state, or several in quotes")?),
            "CLASS" => (Field::Class, self.text("an event class")?),
            "OBJECT" => (Field::Object, self.text("the uuid of an object")?),
            "EVENT" => (Field::EventId, self.text("a webhook-id")?),
            "STATUS" => (
                Field::Status,
                self.number_or_text("an HTTP status, such as 503 or 5xx")?,
            ),
            "CAUSE" => (Field::Cause, self.text("a cause")?),
            "SINCE" => (Field::Since, self.text("a time or an age")?),
            "UNTIL" => (Field::Until, self.text("a time or an age")?),
            other => return Err(self.unknown(other, KEYWORDS)),
        })
    }

    fn change(&mut self, word: &str) -> Result<Change, ConsoleError> {
        const WEBHOOK: &str = "the id of a webhook";
        Ok(match word {
            "PAUSE" => Change::Pause(self.number(WEBHOOK)?),
            "RESUME" => Change::Resume(self.number(WEBHOOK)?),
            "ENABLE" => Change::Enable(self.number(WEBHOOK)?),
            "DISABLE" => Change::Disable {
                webhook: self.number(WEBHOOK)?,
                reason: self.optional("a reason")?,
            },
            "TEST" => Change::Test {
                webhook: self.number(WEBHOOK)?,
                class: self.optional("an event class")?,
            },
            "RETRY" if self.skip("WEBHOOK") => Change::RetryWebhook(self.number(WEBHOOK)?),
            "RETRY" => Change::Retry(self.number("the number of a delivery, or WEBHOOK and an id")?),
            "REPLAY" => Change::Replay(self.replay()?),
            "CANCEL" => {
                self.expect("JOB")?;
                Change::CancelJob(self.number("the number of a job")?)
            }
            other => return Err(self.unknown(other, "a command")),
        })
    }

    fn replay(&mut self) -> Result<Replay, ConsoleError> {
        let webhook = self.number("the id of a webhook")?;
        self.expect("SINCE")?;
        let mut replay = Replay {
            webhook,
            since: self.text("a time or an age")?,
            class: None,
            object: None,
        };
        while !self.rest.is_empty() {
            match self.keyword()?.as_str() {
                "CLASS" => replay.class = Some(self.text("an event class")?),
                "OBJECT" => replay.object = Some(self.text("the uuid of an object")?),
                other => return Err(self.unknown(other, "CLASS or OBJECT")),
            }
        }
        Ok(replay)
    }

    /// The only channel that there is.
    fn channel(&mut self, or_all: bool) -> Result<(), ConsoleError> {
        let name = self.text("the channel events")?;
        if name == "events" || name.eq_ignore_ascii_case("events") || (or_all && name == "*") {
            return Ok(());
        }
        Err(
            ConsoleError::new(code::UNDEFINED, format!("there is no channel {name:?}"))
                .with_hint("the only one is events: LISTEN events"),
        )
    }

    fn session(&mut self, word: &str) -> Result<Session, ConsoleError> {
        let done = match word {
            "BEGIN" | "START" => Session::Begin,
            "COMMIT" | "END" => Session::Commit,
            "ROLLBACK" | "ABORT" => Session::Rollback,
            "SET" => Session::Set,
            "RESET" => Session::Reset,
            "DISCARD" => Session::Discard,
            _ => {
                self.skip("PREPARE");
                let name = self.text("the name of a prepared statement, or ALL")?;
                Session::Deallocate((!name.eq_ignore_ascii_case("ALL")).then_some(name))
            }
        };
        // What follows says how, which makes no difference here.
        self.rest = &[];
        Ok(done)
    }

    /// The next word in capitals.
    fn keyword(&mut self) -> Result<String, ConsoleError> {
        match self.rest {
            [Token::Word(word), rest @ ..] => {
                self.rest = rest;
                Ok(word.to_uppercase())
            }
            other => Err(self.unexpected(other.first())),
        }
    }

    fn skip(&mut self, keyword: &str) -> bool {
        match self.rest {
            [Token::Word(word), rest @ ..] if word.eq_ignore_ascii_case(keyword) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, keyword: &str) -> Result<(), ConsoleError> {
        if self.skip(keyword) {
            return Ok(());
        }
        Err(self.unexpected(self.rest.first()).with_hint(format!(
            "{keyword} is expected here; SHOW HELP shows how a command is written"
        )))
    }

    fn number(&mut self, what: &str) -> Result<i64, ConsoleError> {
        match self.rest {
            [Token::Number(number), rest @ ..] => {
                self.rest = rest;
                Ok(*number)
            }
            [Token::Placeholder(at), rest @ ..] => {
                self.rest = rest;
                self.placeholder(*at, Kind::Int8)?;
                Ok(NO_NUMBER)
            }
            other => Err(self
                .unexpected(other.first())
                .with_hint(format!("{what} is expected here"))),
        }
    }

    fn text(&mut self, what: &str) -> Result<String, ConsoleError> {
        match self.rest {
            [
                Token::Word(text) | Token::Text(text) | Token::Quoted(text),
                rest @ ..,
            ] => {
                self.rest = rest;
                Ok(text.clone())
            }
            [Token::Placeholder(at), rest @ ..] => {
                self.rest = rest;
                self.placeholder(*at, Kind::Text)?;
                Ok(String::new())
            }
            other => Err(self
                .unexpected(other.first())
                .with_hint(format!("{what} is expected here"))),
        }
    }

    fn number_or_text(&mut self, what: &str) -> Result<String, ConsoleError> {
        match self.rest {
            [Token::Number(number), rest @ ..] => {
                self.rest = rest;
                Ok(number.to_string())
            }
            _ => self.text(what),
        }
    }

    fn optional(&mut self, what: &str) -> Result<Option<String>, ConsoleError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.text(what).map(Some)
    }

    fn placeholder(&mut self, at: u16, kind: Kind) -> Result<(), ConsoleError> {
        let at = usize::from(at);
        if self.placeholders.len() <= at {
            self.placeholders.resize(at + 1, None);
        }
        match self.placeholders[at].replace(kind) {
            Some(other) if other != kind => Err(ConsoleError::new(
                code::SYNTAX,
                format!(
                    "${} stands for a number in one place and for a text in another",
                    at + 1
                ),
            )),
            _ => Ok(()),
        }
    }

    fn unknown(&self, word: &str, expected: &str) -> ConsoleError {
        ConsoleError::new(code::SYNTAX, format!("syntax error at or near {word:?}")).with_hint(format!(
            "{expected} is expected here; SHOW HELP lists every command"
        ))
    }

    fn unexpected(&self, token: Option<&Token>) -> ConsoleError {
        let message = match token {
            None => "syntax error at the end of the command".to_owned(),
            Some(Token::Word(text) | Token::Text(text) | Token::Quoted(text)) => {
                format!("syntax error at or near {text:?}")
            }
            Some(Token::Number(number)) => format!("syntax error at or near \"{number}\""),
            Some(Token::Placeholder(at)) => format!("syntax error at or near \"${}\"", at + 1),
            Some(Token::Other(other)) => format!("syntax error at or near {:?}", other.to_string()),
        };
        ConsoleError::new(code::SYNTAX, message).with_hint("SHOW HELP lists every command")
    }
}

#[cfg(test)]
mod tests;
