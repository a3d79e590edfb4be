//! What a caller should know about a registration that is valid all the same.

use super::event_pattern::EventPattern;
use orw_model::{ActorSource, EventClass};

/// How many events a warning names.
const NAMED: usize = 3;

/// That nobody can tell who did it, where the webhook wants to know: `filters` by the user, or shows them in its payload.
pub(super) fn about_user(event: &EventPattern, filters: bool, shows: bool) -> Option<String> {
    if !filters && !shows {
        return None;
    }
    let unknown: Vec<EventClass> = event
        .classes()
        .iter()
        .copied()
        .filter(|class| class.actor_source() == ActorSource::Nowhere)
        .collect();
    if unknown.is_empty() {
        return None;
    }
    let mut names: Vec<String> = unknown.iter().take(NAMED).map(ToString::to_string).collect();
    if unknown.len() > NAMED {
        names.push(format!("{} more", unknown.len() - NAMED));
    }
    let consequence = if filters {
        "no such event matches a filter by user"
    } else {
        "`user` is null in them"
    };
    Some(format!(
        "OpenRegister does not record who caused {}: {consequence}",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_warns_where_nobody_can_tell() {
        let warning =
            |event: &str, filters, shows| about_user(&EventPattern::parse(event).unwrap(), filters, shows);
        assert_eq!(warning("*", false, false), None);
        assert_eq!(warning(r"OCA\OpenRegister\Event\Object*", true, true), None);
        assert_eq!(
            warning(r"*Register*CreatedEvent", true, false).map(|w| w.contains("SourceCreated")),
            Some(true)
        );
        assert_eq!(
            warning(r"OCA\OpenRegister\Event\View*", true, false).as_deref(),
            Some(
                "OpenRegister does not record who caused ViewUpdatedEvent, ViewDeletedEvent: no such event matches a filter by user"
            )
        );
        assert!(
            warning("*", false, true)
                .unwrap()
                .ends_with("`user` is null in them")
        );
    }
}
