//! Which parts of the engine's language a template may use.
//!
//! The engine's fuel bounds steps and the texts that are made. It does not bound what becomes of a list that holds another one many
//! times. So a template can make no list, map or tuple of its own, nor call a function: it computes with parts of the data, with texts
//! and numbers, and with what the filters named here make of them. What is not named is refused, so a newer engine brings in nothing by
//! itself. The text is read by the engine's own tokenizer: both see the same tokens.

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;

use super::error::{Place, TemplateError};

const TAGS: [&str; 7] = ["if", "elif", "else", "endif", "for", "endfor", "set"];
/// Words between the operands of an expression.
const OPERATORS: [&str; 6] = ["and", "or", "not", "in", "if", "else"];
pub(super) const FILTERS: [&str; 34] = [
    "abs",
    "bool",
    "capitalize",
    "count",
    "d",
    "default",
    "dictsort",
    "first",
    "float",
    "int",
    "items",
    "join",
    "last",
    "length",
    "lines",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "sort",
    "split",
    "title",
    "trim",
    "unique",
    "upper",
    "urlencode",
];
pub(super) const TESTS: [&str; 17] = [
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "even",
    "false",
    "in",
    "integer",
    "iterable",
    "mapping",
    "number",
    "odd",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
];
/// How deep blocks may nest; every `elif` and `else` counts as a block.
const DEEPEST: usize = 50;
/// The most parts of one tag: the engine recurses over them.
const MOST_PARTS: usize = 400;
const NO_LIST: &str = "a list or map cannot be written out here";

/// What the last token was, as far as the next one depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Before {
    /// The beginning, an operator, or what opens or separates.
    #[default]
    Nothing,
    /// A value, whose parts can be named.
    Operand,
    Dot,
    Pipe,
    Filter,
    Is,
    Test,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Arguments,
    Group,
    Index,
}

#[derive(Default)]
struct Reader {
    before: Before,
    open: Vec<Open>,
    /// The next word says what tag it is.
    begins: bool,
    /// A comma separates the names of a loop.
    in_names: bool,
    parts: usize,
    /// How much each open block counts.
    blocks: Vec<usize>,
}

/// Refuses a template that uses anything else.
pub(super) fn check(text: &str) -> Result<(), TemplateError> {
    let mut reader = Reader::default();
    for token in tokenize(text, false, SyntaxConfig::default()) {
        let (token, span) = token.map_err(|error| TemplateError::of_engine(text, &error))?;
        reader.read(&token).map_err(|reason| {
            let offset = usize::try_from(span.start_offset).unwrap_or(usize::MAX);
            TemplateError::wrong(Place::of(text, offset), &reason)
        })?;
    }
    Ok(())
}

impl Reader {
    fn read(&mut self, token: &Token<'_>) -> Result<(), String> {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(format!("this tag is too long: it may have {MOST_PARTS} parts"));
        }
        let begins = std::mem::take(&mut self.begins);
        self.before = match token {
            Token::TemplateData(_) | Token::VariableEnd | Token::BlockEnd => {
                self.parts = 0;
                Before::Nothing
            }
            Token::VariableStart | Token::BlockStart => {
                self.open.clear();
                self.in_names = false;
                self.begins = matches!(token, Token::BlockStart);
                Before::Nothing
            }
            Token::Ident(name) if begins => self.tag(name)?,
            Token::Ident(name) => self.word(name)?,
            Token::Str(_) | Token::String(_) | Token::Int(_) | Token::Int128(_) | Token::Float(_) => {
                Before::Operand
            }
            Token::Plus | Token::Mul | Token::Pow => {
                return Err("the operators +, * and ** are not available; ~ joins texts".to_owned());
            }
            Token::ParenOpen => self.parenthesis()?,
            Token::BracketOpen if self.before == Before::Operand => {
                self.open.push(Open::Index);
                Before::Nothing
            }
            Token::BracketOpen | Token::BraceOpen | Token::BraceClose => return Err(NO_LIST.to_owned()),
            Token::ParenClose | Token::BracketClose => {
                self.open.pop();
                Before::Operand
            }
            Token::Comma => match self.open.last() {
                Some(Open::Arguments) => Before::Nothing,
                None if self.in_names => Before::Nothing,
                _ => return Err(NO_LIST.to_owned()),
            },
            Token::Dot if matches!(self.before, Before::Filter | Before::Test) => {
                return Err("put the filter and its value in parentheses: (list | first).name".to_owned());
            }
            Token::Dot => Before::Dot,
            Token::Pipe => Before::Pipe,
            Token::Minus
            | Token::Div
            | Token::FloorDiv
            | Token::Mod
            | Token::Colon
            | Token::Tilde
            | Token::Assign
            | Token::Eq
            | Token::Ne
            | Token::Gt
            | Token::Gte
            | Token::Lt
            | Token::Lte => Before::Nothing,
        };
        Ok(())
    }

    fn parenthesis(&mut self) -> Result<Before, String> {
        self.open.push(match self.before {
            Before::Filter | Before::Test => Open::Arguments,
            Before::Operand => return Err("functions are not available".to_owned()),
            _ => Open::Group,
        });
        Ok(Before::Nothing)
    }

    fn tag(&mut self, name: &str) -> Result<Before, String> {
        if !TAGS.contains(&name) {
            return Err(format!("{name} is not available; there are {}", TAGS.join(", ")));
        }
        match name {
            "if" | "for" => self.blocks.push(1),
            "elif" | "else" => {
                if let Some(count) = self.blocks.last_mut() {
                    *count += 1;
                }
            }
            "endif" | "endfor" => {
                self.blocks.pop();
            }
            _ => {}
        }
        if self.blocks.iter().sum::<usize>() > DEEPEST {
            return Err(format!(
                "there are more than {DEEPEST} blocks within each other, or branches of one"
            ));
        }
        self.in_names = name == "for";
        Ok(Before::Nothing)
    }

    fn word(&mut self, name: &str) -> Result<Before, String> {
        match self.before {
            Before::Dot => Ok(Before::Operand),
            Before::Pipe if FILTERS.contains(&name) => Ok(Before::Filter),
            Before::Pipe if matches!(name, "tojson" | "safe" | "escape" | "e") => Err(format!(
                "{name} is not available, and not needed: {{{{ … }}}} writes a value as JSON"
            )),
            Before::Pipe => Err(format!(
                "the filter {name} is unknown here; there are {}",
                FILTERS.join(", ")
            )),
            Before::Is if name == "not" => Ok(Before::Is),
            Before::Is if TESTS.contains(&name) => Ok(Before::Test),
            Before::Is if name == "none" => Err("null counts as not there: write `is undefined`".to_owned()),
            Before::Is => Err(format!(
                "the test {name} is unknown here; there are {}",
                TESTS.join(", ")
            )),
            _ if matches!(name, "none" | "None" | "null") => {
                Err("null counts as not there: write `is defined` or `is undefined`".to_owned())
            }
            _ if name == "is" => Ok(Before::Is),
            _ if OPERATORS.contains(&name) => {
                self.in_names &= name != "in";
                Ok(Before::Nothing)
            }
            _ => Ok(Before::Operand),
        }
    }
}
