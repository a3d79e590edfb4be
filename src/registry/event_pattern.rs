//! What `event` names: one class of OpenRegister's, or a pattern that matches several.

use orw_model::EventClass;

use super::fields::InvalidField;

/// What `event` names: one class, or a pattern in which `*` stands for any characters and `\` for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPattern {
    text: String,
    classes: Vec<EventClass>,
}

impl EventPattern {
    /// Reads a class name or pattern; a leading `\` is dropped, as Nextcloud does.
    ///
    /// # Errors
    /// Where it matches none of the 33 classes.
    pub fn parse(text: &str) -> Result<Self, InvalidField> {
        let text = text.trim_start_matches('\\');
        let classes: Vec<_> = EventClass::all()
            .filter(|class| glob(text, &class.name()))
            .collect();
        if classes.is_empty() {
            return Err(InvalidField {
                field: "event".into(),
                reason: format!(
                    "{text:?} is no event of OpenRegister and no pattern that matches one; \
                     names look like OCA\\OpenRegister\\Event\\ObjectCreatedEvent, patterns like OCA\\OpenRegister\\Event\\Object*"
                ),
            });
        }
        Ok(Self {
            text: text.to_owned(),
            classes,
        })
    }

    /// As it was registered, without a leading `\`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The classes it matches; never empty.
    #[must_use]
    pub fn classes(&self) -> &[EventClass] {
        &self.classes
    }
}

/// Whether `*` in `pattern` can stand for characters so that it equals `name`; linear in both.
fn glob(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_documented() {
        let count = |p: &str| EventPattern::parse(p).map(|e| e.classes().len()).unwrap_or(0);
        assert_eq!(count(r"OCA\OpenRegister\Event\ObjectCreatedEvent"), 1);
        assert_eq!(count(r"\OCA\OpenRegister\Event\ObjectCreatedEvent"), 1);
        assert_eq!(count(r"OCA\OpenRegister\Event\Object*"), 6);
        assert_eq!(count("*CreatedEvent"), 10);
        assert_eq!(count("*"), 33);
        assert_eq!(count("*Register*Deleted*"), 10);
        assert_eq!(count(r"OCA\OpenRegister\Event\Object"), 0);
        assert_eq!(count(""), 0);
        assert_eq!(count("*Created*Created*"), 0);
    }
}
