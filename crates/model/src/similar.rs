//! Suggestions for misspelt event classes.

use super::EventClass;

/// The most letters in which a misspelt name may differ.
const MOST: usize = 3;
/// No class has a longer full name; longer texts are not compared.
const LONGEST: usize = 80;

/// The event class whose short or full name is nearly this text (upper and lower case are the same), if there is one.
#[must_use]
pub fn similar_class(name: &str) -> Option<EventClass> {
    if name.len() > LONGEST {
        return None;
    }
    let short = name.rsplit('\\').next().unwrap_or(name).to_lowercase();
    // "ObjectCreated" lacks the last word, which every class has.
    let whole = if short.ends_with("event") {
        short
    } else {
        format!("{short}event")
    };
    EventClass::all()
        .map(|class| {
            (
                strsim::levenshtein(&whole, &class.to_string().to_lowercase()),
                class,
            )
        })
        .filter(|(distance, _)| *distance <= MOST)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, class)| class)
}

#[cfg(test)]
mod tests {
    use super::similar_class;

    #[test]
    fn misspelt_names_lead_to_the_class_and_others_to_none() {
        for name in [
            "ObjectCreatedEvent",
            "objectcreated",
            "ObjectCreateEvent",
            r"OCA\OpenRegister\Event\ObjectCreatdEvent",
            r"OCA\OpenRegister\Events\ObjectCreatedEvent",
        ] {
            assert_eq!(
                similar_class(name).unwrap().to_string(),
                "ObjectCreatedEvent",
                "{name}"
            );
        }
        assert!(similar_class("NoSuchEvent").is_none() && similar_class("").is_none());
        assert!(similar_class(&"ObjectCreatedEvent".repeat(100)).is_none());
    }
}
