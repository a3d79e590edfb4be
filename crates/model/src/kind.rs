//! The ten kinds of entity whose lifecycle OpenRegister's manual documents.

use std::fmt;

/// A kind of entity. The discriminants are the bits of `openregister_webhooks.kinds()` (`sql/functions.sql`), so they
/// never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EntityKind {
    Object = 0,
    Register = 1,
    Schema = 2,
    Application = 3,
    Agent = 4,
    Source = 5,
    Configuration = 6,
    View = 7,
    Conversation = 8,
    Organisation = 9,
}

impl EntityKind {
    /// Every kind, in the order of the manual.
    pub const ALL: [Self; 10] = [
        Self::Object,
        Self::Register,
        Self::Schema,
        Self::Application,
        Self::Agent,
        Self::Source,
        Self::Configuration,
        Self::View,
        Self::Conversation,
        Self::Organisation,
    ];

    /// The name in payloads: `object`, `register`, …
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Register => "register",
            Self::Schema => "schema",
            Self::Application => "application",
            Self::Agent => "agent",
            Self::Source => "source",
            Self::Configuration => "configuration",
            Self::View => "view",
            Self::Conversation => "conversation",
            Self::Organisation => "organisation",
        }
    }

    /// The name in event classes: `Object`, `Register`, …
    #[must_use]
    pub const fn class_name(self) -> &'static str {
        match self {
            Self::Object => "Object",
            Self::Register => "Register",
            Self::Schema => "Schema",
            Self::Application => "Application",
            Self::Agent => "Agent",
            Self::Source => "Source",
            Self::Configuration => "Configuration",
            Self::View => "View",
            Self::Conversation => "Conversation",
            Self::Organisation => "Organisation",
        }
    }

    /// The states of an entity, under their names in payloads and in the documents of filters. An update has the new state as
    /// `newObject`, the old one as `oldObject` and, last, the new one again as `object`. Every other event has only `object`.
    pub fn states<T: Copy>(self, current: T, old: Option<T>) -> impl Iterator<Item = (&'static str, T)> {
        let (new_name, old_name) = match self {
            Self::Object => ("newObject", "oldObject"),
            Self::Register => ("newRegister", "oldRegister"),
            Self::Schema => ("newSchema", "oldSchema"),
            Self::Application => ("newApplication", "oldApplication"),
            Self::Agent => ("newAgent", "oldAgent"),
            Self::Source => ("newSource", "oldSource"),
            Self::Configuration => ("newConfiguration", "oldConfiguration"),
            Self::View => ("newView", "oldView"),
            Self::Conversation => ("newConversation", "oldConversation"),
            Self::Organisation => ("newOrganisation", "oldOrganisation"),
        };
        old.map(|old| [(new_name, current), (old_name, old)])
            .into_iter()
            .flatten()
            .chain([(self.name(), current)])
    }

    /// The kind's bit in `openregister_webhooks.kinds()`.
    #[must_use]
    pub const fn bit(self) -> i32 {
        1 << (self as u8)
    }

    /// The kind called `name` in payloads, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
