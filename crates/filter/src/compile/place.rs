//! Where in a filter something is wrong.

use std::fmt;

/// A place in a filter. Its text is only made if something is wrong there.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    inside: Option<&'p Place<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Key(&'p str),
    Index(usize),
}

impl<'p> Place<'p> {
    pub(super) const ROOT: Self = Self {
        inside: None,
        step: Step::Root,
    };

    pub(super) fn key(&'p self, key: &'p str) -> Self {
        Self {
            inside: Some(self),
            step: Step::Key(key),
        }
    }

    pub(super) fn index(&'p self, index: usize) -> Self {
        Self {
            inside: Some(self),
            step: Step::Index(index),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(inside) = self.inside else {
            return f.write_str("filter");
        };
        let top = matches!(inside.step, Step::Root);
        match self.step {
            Step::Root => Ok(()),
            Step::Index(index) => write!(f, "{inside}[{index}]"),
            Step::Key(key) => {
                if !top {
                    write!(f, "{inside}.")?;
                }
                if key.is_empty() {
                    return f.write_str("\"\"");
                }
                // A key may be very long; the message should stay readable.
                key.chars().take(100).try_for_each(|c| write!(f, "{c}"))
            }
        }
    }
}
