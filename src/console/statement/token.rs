//! The words of a text, by SQL's rules: comments, quoted texts, quoted names, placeholders.

/// The longest list of words in one command; the longest that does something has fewer.
const MOST: usize = 64;

/// A part of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A keyword or a name, as it was written; also a time or an age.
    Word(String),
    Number(i64),
    /// A text in single quotes, without them.
    Text(String),
    /// A name in double quotes, without them.
    Quoted(String),
    /// `$1` is 0.
    Placeholder(u16),
    /// Everything else, one character at a time.
    Other(char),
}

/// Why a text cannot be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadText {
    #[error("a quoted text does not end")]
    OpenQuote,
    #[error("a comment does not end")]
    OpenComment,
    #[error("a number is too large")]
    LargeNumber,
    #[error("a placeholder must be $1 to $32")]
    Placeholder,
    #[error("a command has at most {MOST} words")]
    TooLong,
}

/// The commands of a text, which are separated by semicolons; those without a word are left out.
pub(crate) fn commands(text: &str) -> Result<Vec<Vec<Token>>, BadText> {
    let mut all = Vec::new();
    let mut current = Vec::new();
    let mut rest = text;
    while let Some(token) = next(&mut rest)? {
        match token {
            Token::Other(';') => {
                if !current.is_empty() {
                    all.push(std::mem::take(&mut current));
                }
            }
            token if current.len() < MOST => current.push(token),
            _ => return Err(BadText::TooLong),
        }
    }
    if !current.is_empty() {
        all.push(current);
    }
    Ok(all)
}

/// Takes the next token off; `None` at the end.
fn next(rest: &mut &str) -> Result<Option<Token>, BadText> {
    skip(rest)?;
    let Some(first) = rest.chars().next() else {
        return Ok(None);
    };
    Ok(Some(match first {
        '\'' => Token::Text(quoted(rest, '\'')?),
        '"' => Token::Quoted(quoted(rest, '"')?),
        '$' => placeholder(rest)?,
        first if is_word(first) => word(rest)?,
        other => {
            *rest = &rest[other.len_utf8()..];
            Token::Other(other)
        }
    }))
}

/// Skips white space and comments; those between `/*` and `*/` nest, as in PostgreSQL.
fn skip(rest: &mut &str) -> Result<(), BadText> {
    loop {
        *rest = rest.trim_start();
        if rest.starts_with("--") {
            *rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(inside) = rest.strip_prefix("/*") {
            *rest = after_comment(inside).ok_or(BadText::OpenComment)?;
        } else {
            return Ok(());
        }
    }
}

fn after_comment(mut inside: &str) -> Option<&str> {
    let mut depth = 1_u32;
    while depth > 0 {
        let (open, close) = (inside.find("/*"), inside.find("*/")?);
        if let Some(open) = open.filter(|open| *open < close) {
            depth = depth.checked_add(1)?;
            inside = &inside[open + 2..];
        } else {
            depth -= 1;
            inside = &inside[close + 2..];
        }
    }
    Some(inside)
}

/// A quoted text; the quote itself is written twice.
fn quoted(rest: &mut &str, quote: char) -> Result<String, BadText> {
    let mut text = String::new();
    let mut inside = &rest[1..];
    loop {
        let at = inside.find(quote).ok_or(BadText::OpenQuote)?;
        text.push_str(&inside[..at]);
        inside = &inside[at + 1..];
        match inside.strip_prefix(quote) {
            Some(after) => {
                text.push(quote);
                inside = after;
            }
            None => {
                *rest = inside;
                return Ok(text);
            }
        }
    }
}

fn placeholder(rest: &mut &str) -> Result<Token, BadText> {
    let digits = &rest[1..];
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let number: u16 = digits[..end].parse().map_err(|_| BadText::Placeholder)?;
    if !(1..=32).contains(&number) {
        return Err(BadText::Placeholder);
    }
    *rest = &digits[end..];
    Ok(Token::Placeholder(number - 1))
}

/// Names, numbers, classes (`OCA\OpenRegister\…`), times and ages; a time with a space needs quotes.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | ':' | '\\' | '-' | '+' | '*')
}

fn word(rest: &mut &str) -> Result<Token, BadText> {
    let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
    // A comment may follow without a space.
    let end = rest[..end].find("--").filter(|at| *at > 0).unwrap_or(end);
    let (text, after) = rest.split_at(end);
    *rest = after;
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Token::Number).map_err(|_| BadText::LargeNumber);
    }
    Ok(Token::Word(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Token {
        Token::Word(text.to_owned())
    }

    #[test]
    fn commands_are_split_as_sql_is() {
        let text =
            "show /* a /* b */ ; */ lag; -- ; nothing\n ;; DISABLE 7 'it''s; off';REPLAY $2 SINCE 12h--x";
        let expected = vec![
            vec![word("show"), word("lag")],
            vec![
                word("DISABLE"),
                Token::Number(7),
                Token::Text("it's; off".to_owned()),
            ],
            vec![word("REPLAY"), Token::Placeholder(1), word("SINCE"), word("12h")],
        ];
        assert_eq!(commands(text), Ok(expected));
        let one = commands(r#"a\b "x""y" ü(-5)"#).unwrap();
        let expected = [
            word(r"a\b"),
            Token::Quoted("x\"y".to_owned()),
            word("ü"),
            Token::Other('('),
            Token::Number(-5),
            Token::Other(')'),
        ];
        assert_eq!(one, [expected]);
        assert_eq!(commands(" ; "), Ok(Vec::new()));
    }

    #[test]
    fn what_does_not_end_is_refused() {
        assert_eq!(commands("SHOW 'x"), Err(BadText::OpenQuote));
        assert_eq!(commands("SHOW /* /* */"), Err(BadText::OpenComment));
        assert_eq!(commands("PAUSE 99999999999999999999"), Err(BadText::LargeNumber));
        assert_eq!(commands("PAUSE $0"), Err(BadText::Placeholder));
        assert_eq!(commands("PAUSE $"), Err(BadText::Placeholder));
        assert_eq!(commands(&"x ".repeat(65)), Err(BadText::TooLong));
    }
}
