//! The event classes, `OCA\OpenRegister\Event\…`: which kind of entity knows which action. 33 of them are documented by OpenRegister's
//! manual; `ObjectTransitionedEvent` is one more.

use std::fmt;

use super::EntityKind;

/// The namespace of every event class.
const NAMESPACE: &str = r"OCA\OpenRegister\Event\";

/// What happened to an entity. `Locked`, `Unlocked`, `Reverted` and `Transitioned` exist for objects only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Action {
    Created = 0,
    Updated = 1,
    Deleted = 2,
    Locked = 3,
    Unlocked = 4,
    Reverted = 5,
    Transitioned = 6,
}

impl Action {
    const ALL: [Self; 7] = [
        Self::Created,
        Self::Updated,
        Self::Deleted,
        Self::Locked,
        Self::Unlocked,
        Self::Reverted,
        Self::Transitioned,
    ];

    /// The word in class names: `Created`, `Updated`, …
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Updated => "Updated",
            Self::Deleted => "Deleted",
            Self::Locked => "Locked",
            Self::Unlocked => "Unlocked",
            Self::Reverted => "Reverted",
            Self::Transitioned => "Transitioned",
        }
    }
}

/// Where the database says who caused an event; the value of the header `ORW-Actor-Source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorSource {
    /// The audit row that OpenRegister writes for objects.
    AuditTrail,
    /// The row that OpenRegister writes for the activity app, since 0.2.13.
    Activity,
    /// The entity's row itself: the user who deleted or locked it.
    Row,
    /// The entity's row itself: its owner, who created it.
    Owner,
    /// The database does not say it.
    Nowhere,
}

impl ActorSource {
    const ALL: [Self; 5] = [
        Self::AuditTrail,
        Self::Activity,
        Self::Row,
        Self::Owner,
        Self::Nowhere,
    ];

    /// The value of the header, which is also stored with the event.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AuditTrail => "audit",
            Self::Activity => "activity",
            Self::Row => "row",
            Self::Owner => "owner",
            Self::Nowhere => "none",
        }
    }

    /// The source of this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

/// One of the 34 event classes. No other value can be made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventClass {
    kind: EntityKind,
    action: Action,
}

impl EventClass {
    /// How many classes there are.
    pub const COUNT: usize = 34;

    /// The class for `action` on `kind`; `None` for a lock, unlock, revert or transition of anything but an object.
    #[must_use]
    pub const fn new(kind: EntityKind, action: Action) -> Option<Self> {
        match (kind, action) {
            (EntityKind::Object, _) | (_, Action::Created | Action::Updated | Action::Deleted) => {
                Some(Self { kind, action })
            }
            _ => None,
        }
    }

    /// The class for `action` on an object. Objects know every action.
    #[must_use]
    pub const fn object(action: Action) -> Self {
        Self {
            kind: EntityKind::Object,
            action,
        }
    }

    /// All classes, by kind, then action.
    pub fn all() -> impl Iterator<Item = Self> {
        EntityKind::ALL.into_iter().flat_map(|kind| {
            Action::ALL
                .into_iter()
                .filter_map(move |action| Self::new(kind, action))
        })
    }

    /// The classes that OpenRegister's manual documents, by kind, then action.
    pub fn documented() -> impl Iterator<Item = Self> {
        Self::all().filter(|class| !class.is_by_name_only())
    }

    /// Whether a webhook has to name the class in full, because patterns do not match it. Whoever registered a pattern asked for the
    /// documented events.
    #[must_use]
    pub const fn is_by_name_only(self) -> bool {
        matches!(self.action, Action::Transitioned)
    }

    #[must_use]
    pub const fn kind(self) -> EntityKind {
        self.kind
    }

    #[must_use]
    pub const fn action(self) -> Action {
        self.action
    }

    /// Where the database says who caused an event of this class. An owner counts as the creator only if OpenRegister takes it from
    /// the session. For registers, schemas, applications, sources and configurations the caller may name any owner.
    #[must_use]
    pub const fn actor_source(self) -> ActorSource {
        match (self.kind, self.action) {
            (EntityKind::Object, _) => ActorSource::AuditTrail,
            (EntityKind::Register | EntityKind::Schema, _) => ActorSource::Activity,
            (
                EntityKind::Agent | EntityKind::View | EntityKind::Conversation | EntityKind::Organisation,
                Action::Created,
            ) => ActorSource::Owner,
            _ => ActorSource::Nowhere,
        }
    }

    /// A dense number below [`Self::COUNT`], for tables indexed by class.
    #[must_use]
    pub const fn index(self) -> usize {
        match self.kind {
            EntityKind::Object => self.action as usize,
            kind => 7 + (kind as usize - 1) * 3 + self.action as usize,
        }
    }

    /// The full name, `OCA\OpenRegister\Event\ObjectCreatedEvent`.
    #[must_use]
    pub fn name(self) -> String {
        format!("{NAMESPACE}{self}")
    }

    /// The class with this full name (a leading `\` is ignored, as Nextcloud does), if there is one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::from_short(name.strip_prefix('\\').unwrap_or(name).strip_prefix(NAMESPACE)?)
    }

    /// The class with this short name, `ObjectCreatedEvent`: as it is stored.
    #[must_use]
    pub fn from_short(short: &str) -> Option<Self> {
        Self::all().find(|c| c.to_string() == short)
    }
}

/// The short name, `ObjectCreatedEvent`.
impl fmt::Display for EventClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}Event", self.kind.class_name(), self.action.name())
    }
}

impl fmt::Debug for EventClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_34_and_each_is_found_by_its_name_and_index() {
        let all: Vec<_> = EventClass::all().collect();
        assert_eq!(all.len(), EventClass::COUNT);
        assert_eq!(EventClass::documented().count(), 33);
        for (i, class) in all.iter().enumerate() {
            assert_eq!(class.index(), i);
            assert_eq!(EventClass::parse(&class.name()), Some(*class));
            assert_eq!(EventClass::parse(&format!("\\{}", class.name())), Some(*class));
        }
        assert_eq!(all[0].name(), r"OCA\OpenRegister\Event\ObjectCreatedEvent");
        assert_eq!(
            EventClass::parse(r"OCA\OpenRegister\Event\RegisterLockedEvent"),
            None
        );
        assert_eq!(EventClass::parse("ObjectCreatedEvent"), None);
    }
}
