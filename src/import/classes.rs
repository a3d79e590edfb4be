//! Event names and patterns of OpenRegister as classes, and classes as few patterns of ours.

use orw_model::EventClass;

use crate::registry::EventPattern;

/// What precedes the short name of a class.
const NAMESPACE: &str = r"OCA\OpenRegister\Event\";

/// What an entry of `events` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Classes(Vec<EventClass>),
    /// An event before a change (`ObjectCreatingEvent`), which only OpenRegister itself can send.
    Before,
    Unknown,
}

/// The classes that an entry names: a full or a short name, or a pattern as PHP's `fnmatch` reads it. In those a backslash has to be
/// written twice, which most people do not know; written once it means itself here.
pub(super) fn named(entry: &str) -> Named {
    let name = entry.trim().replace(r"\\", r"\");
    let name = name.trim_start_matches('\\');
    if let Some(class) = EventClass::parse(name).or_else(|| EventClass::from_short(name)) {
        return Named::Classes(vec![class]);
    }
    if ["CreatingEvent", "UpdatingEvent", "DeletingEvent"]
        .iter()
        .any(|end| name.ends_with(end))
    {
        return Named::Before;
    }
    let matches = |class: &EventClass| {
        let full = class.name();
        let short = full.strip_prefix(NAMESPACE).unwrap_or_default();
        fits(name.as_bytes(), full.as_bytes()) || fits(name.as_bytes(), short.as_bytes())
    };
    let classes: Vec<_> = documented().into_iter().filter(matches).collect();
    if classes.is_empty() {
        Named::Unknown
    } else {
        Named::Classes(classes)
    }
}

/// Whether a pattern with `*` and `?` fits a name. It takes at most as many steps as the product of both lengths.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    p = star + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// The classes that our patterns match; others have to be named in full.
pub(super) fn documented() -> Vec<EventClass> {
    matched_by(&format!("{NAMESPACE}*"))
}

fn matched_by(pattern: &str) -> Vec<EventClass> {
    EventPattern::parse(pattern).map_or_else(|_| Vec::new(), |pattern| pattern.classes().to_vec())
}

/// What `event` of our registrations has to be for exactly these classes: a pattern wherever one matches several of them and nothing
/// else, and single classes.
pub(super) fn covered_by(classes: &[EventClass]) -> Vec<String> {
    let mut left = classes.to_vec();
    let mut events = Vec::new();
    let of_actions = classes
        .iter()
        .map(|class| format!("{NAMESPACE}*{}Event", class.action().name()));
    let of_kinds = classes
        .iter()
        .map(|class| format!("{NAMESPACE}{}*", class.kind().class_name()));
    let patterns = std::iter::once(format!("{NAMESPACE}*"))
        .chain(of_actions)
        .chain(of_kinds);
    for pattern in patterns {
        let matched = matched_by(&pattern);
        if matched.len() > 1 && matched.iter().all(|class| left.contains(class)) {
            left.retain(|class| !matched.contains(class));
            events.push(pattern);
        }
    }
    events.extend(left.iter().map(|class| class.name()));
    events
}

#[cfg(test)]
mod tests {
    use orw_model::Action;

    use super::*;

    fn classes(entry: &str) -> usize {
        match named(entry) {
            Named::Classes(classes) => classes.len(),
            Named::Before | Named::Unknown => 0,
        }
    }

    #[test]
    fn names_and_patterns_are_expanded() {
        assert_eq!(classes("ObjectUpdatedEvent"), 1);
        assert_eq!(classes(r"OCA\OpenRegister\Event\ObjectUpdatedEvent"), 1);
        assert_eq!(classes(r"\OCA\\OpenRegister\\Event\\Object*"), 6);
        assert_eq!(classes(r"OCA\OpenRegister\Event\Object*"), 6);
        assert_eq!(classes("*CreatedEvent"), 10);
        assert_eq!(classes("*"), 33);
        assert_eq!(classes("Schema??????dEvent"), 3);
        assert_eq!(named("ObjectCreatingEvent"), Named::Before);
        assert_eq!(named("SomethingElse"), Named::Unknown);
        assert_eq!(named(""), Named::Unknown);
    }

    /// Whatever the classes are, the patterns name them and no other.
    #[test]
    fn patterns_cover_exactly_their_classes() {
        let all: Vec<_> = EventClass::all().collect();
        for from in 0..all.len() {
            for to in from + 1..=all.len() {
                let wanted = &all[from..to];
                let events = covered_by(wanted);
                let mut found: Vec<_> = events
                    .iter()
                    .flat_map(|event| EventPattern::parse(event).unwrap().classes().to_vec())
                    .collect();
                found.sort_by_key(|class| class.index());
                assert_eq!(found, wanted, "{events:?}");
            }
        }
        assert_eq!(covered_by(&documented()), [r"OCA\OpenRegister\Event\*"]);
        let created: Vec<_> = all
            .iter()
            .copied()
            .filter(|class| class.action() == Action::Created)
            .collect();
        assert_eq!(covered_by(&created), [r"OCA\OpenRegister\Event\*CreatedEvent"]);
    }
}
