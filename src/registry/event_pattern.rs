//! What `event` names: one class of OpenRegister's, or a pattern that matches several.

use orw_model::{EventClass, UNAVAILABLE};

use super::fields::InvalidField;

/// What `event` names: one class, or a pattern in which `*` stands for any characters and `\` for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPattern {
    text: String,
    classes: Vec<EventClass>,
}

impl EventPattern {
    /// Reads a class name or pattern; a leading `\` is dropped, as Nextcloud does. A pattern matches documented classes only: of the
    /// others each is registered by its full name.
    ///
    /// # Errors
    /// Where it matches no class.
    pub fn parse(text: &str) -> Result<Self, InvalidField> {
        let text = text.trim_start_matches('\\');
        let classes: Vec<_> = EventClass::all()
            .filter(|class| {
                if class.is_by_name_only() {
                    text == class.name()
                } else {
                    glob(text, &class.name())
                }
            })
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

/// Why `text` matches no class, if it names an event that OpenRegister has all the same.
pub(super) fn why_not(text: &str) -> Option<String> {
    let mut by_name = EventClass::all().filter(|class| class.is_by_name_only());
    if let Some(class) = by_name.find(|class| glob(text, &class.name())) {
        return Some(format!(
            "{} is no event of OpenRegister's manual, so no pattern matches it: register it by its full name",
            class.name()
        ));
    }
    UNAVAILABLE.iter().find_map(|group| {
        let name = group.names().find(|name| glob(text, name))?;
        Some(format!("a webhook cannot get {name}. {}", group.reason))
    })
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

    #[test]
    fn the_event_beyond_the_manual_is_matched_by_its_full_name_only() {
        let name = r"OCA\OpenRegister\Event\ObjectTransitionedEvent";
        for named in [name, &format!("\\{name}")] {
            let pattern = EventPattern::parse(named).unwrap();
            assert_eq!(pattern.classes(), [EventClass::parse(name).unwrap()]);
            assert_eq!(pattern.as_str(), name);
        }
        for pattern in [
            "*",
            "OCA*",
            "*Object*",
            r"OCA\OpenRegister\Event\Object*",
            "*Event",
        ] {
            let classes = EventPattern::parse(pattern).unwrap().classes().to_vec();
            assert!(!classes.iter().any(|class| class.is_by_name_only()), "{pattern}");
        }
        for pattern in ["*Transitioned*", &format!("{name}*"), "*TransitionedEvent"] {
            assert!(EventPattern::parse(pattern).is_err(), "{pattern}");
            assert!(
                why_not(pattern).unwrap().contains("by its full name"),
                "{pattern}"
            );
        }
    }

    #[test]
    fn events_that_rows_do_not_tell_are_refused_with_the_reason() {
        for name in UNAVAILABLE.iter().flat_map(orw_model::Unavailable::names) {
            assert!(EventPattern::parse(&name).is_err(), "{name}");
            let reason = why_not(&name).unwrap();
            assert!(
                reason.starts_with(&format!("a webhook cannot get {name}. ")),
                "{reason}"
            );
        }
        assert!(
            why_not(r"OCA\OpenRegister\Event\File*")
                .unwrap()
                .contains("storage")
        );
        assert_eq!(why_not(r"OCA\OpenRegister\Event\ObjectMislaidEvent"), None);
    }
}
