//! Rust source as trees of tokens: enough to read imports and paths, without comments and without the inside of strings.

/// One token, or what stands between two brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tree {
    Name(String),
    /// `::`
    Separator,
    /// Any other sign.
    Sign(char),
    /// A string, without its quotes; of other literals nothing is kept.
    Text(String),
    /// The opening bracket, and what follows up to the closing one.
    Group(char, Vec<Self>),
}

impl Tree {
    pub(crate) fn is_name(&self, name: &str) -> bool {
        matches!(self, Self::Name(this) if this == name)
    }

    pub(crate) fn is_sign(&self, sign: char) -> bool {
        *self == Self::Sign(sign)
    }
}

/// Reads a whole source file.
pub(crate) fn read(source: &str) -> Vec<Tree> {
    let mut reader = Reader {
        left: source.chars().collect::<Vec<_>>(),
        at: 0,
    };
    reader.until_closed()
}

struct Reader {
    left: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.left.get(self.at + ahead).copied()
    }

    /// The trees up to the bracket that closes them, or up to the end.
    fn until_closed(&mut self) -> Vec<Tree> {
        let mut trees = Vec::new();
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                (')' | ']' | '}', _) => {
                    self.at += 1;
                    return trees;
                }
                ('(' | '[' | '{', _) => {
                    self.at += 1;
                    trees.push(Tree::Group(c, self.until_closed()));
                }
                ('/', Some('/')) => self.skip_while(|c| c != '\n'),
                ('/', Some('*')) => self.skip_comment(),
                ('"', _) => trees.push(self.text()),
                ('\'', _) => self.skip_character_or_lifetime(),
                (':', Some(':')) => {
                    self.at += 2;
                    trees.push(Tree::Separator);
                }
                (c, _) if c.is_ascii_digit() => self.skip_number(),
                (c, _) if c == '_' || c.is_alphabetic() => trees.extend(self.name()),
                (c, _) => {
                    self.at += 1;
                    if !c.is_whitespace() {
                        trees.push(Tree::Sign(c));
                    }
                }
            }
        }
        trees
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.at += 1;
        }
    }

    /// Comments of this kind nest.
    fn skip_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.left.len() {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    /// A string whose quotes may be escaped.
    fn text(&mut self) -> Tree {
        self.at += 1;
        let began = self.at;
        while let Some(c) = self.peek(0) {
            match c {
                '"' => break,
                '\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        let end = self.at.min(self.left.len());
        self.at += 1;
        Tree::Text(self.left[began..end].iter().collect())
    }

    /// A string that ends with a quote and as many `#` as it began with.
    fn raw_text(&mut self) -> Tree {
        let began = self.at;
        self.skip_while(|c| c == '#');
        let end: String = std::iter::once('"')
            .chain(std::iter::repeat_n('#', self.at - began))
            .collect();
        self.at += 1;
        let rest: String = self.left[self.at..].iter().collect();
        let text = rest.split(&end).next().unwrap_or_default().to_owned();
        self.at += text.chars().count() + end.len();
        Tree::Text(text)
    }

    fn skip_character_or_lifetime(&mut self) {
        self.at += 1;
        if self.peek(0) == Some('\\') {
            self.at += 2;
            self.skip_while(|c| c != '\'');
            self.at += 1;
        } else if self.peek(1) == Some('\'') {
            self.at += 2;
        } else {
            self.skip_while(|c| c == '_' || c.is_alphanumeric());
        }
    }

    fn skip_number(&mut self) {
        self.skip_while(|c| c == '_' || c.is_alphanumeric());
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
            self.skip_number();
        }
    }

    /// A name, or a literal that begins with a letter.
    fn name(&mut self) -> Option<Tree> {
        let began = self.at;
        self.skip_while(|c| c == '_' || c.is_alphanumeric());
        let name: String = self.left[began..self.at].iter().collect();
        let raw = matches!(name.as_str(), "r" | "br" | "cr");
        match (self.peek(0), self.peek(1)) {
            (Some('"'), _) if raw => Some(self.raw_text()),
            (Some('#'), Some('"' | '#')) if raw => Some(self.raw_text()),
            (Some('"'), _) if name == "b" || name == "c" => Some(self.text()),
            (Some('\''), _) if name == "b" => {
                self.skip_character_or_lifetime();
                None
            }
            (Some('#'), Some(c)) if name == "r" && (c == '_' || c.is_alphabetic()) => {
                self.at += 1;
                self.name()
            }
            _ => Some(Tree::Name(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_hide_what_looks_like_code() {
        let source = r####"a::b /* c /* d */ e */ // f
            "g\"h" r#"i"j"# b'k' 'l' '\'' &'m n '"' 1.5e3 0..9 r#type b"o""####;
        let name = |name: &str| Tree::Name(name.to_owned());
        let text = |text: &str| Tree::Text(text.to_owned());
        assert_eq!(
            read(source),
            [
                name("a"),
                Tree::Separator,
                name("b"),
                text("g\\\"h"),
                text("i\"j"),
                Tree::Sign('&'),
                name("n"),
                Tree::Sign('.'),
                Tree::Sign('.'),
                name("type"),
                text("o"),
            ]
        );
        assert_eq!(
            read("f(x[1]) {}"),
            [
                name("f"),
                Tree::Group('(', vec![name("x"), Tree::Group('[', Vec::new())]),
                Tree::Group('{', Vec::new()),
            ]
        );
    }
}
