//! The names of what a body may look like.

use super::names::names;

/// The shape of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Documented,
    Nextcloud,
    CloudEvents,
    OpenRegister,
    /// The NL GOV profile for CloudEvents.
    NlGov,
    /// A notification for an NRC, the Notificaties API of VNG.
    Zgw,
    /// What the registration's own template makes.
    Template,
}

names!(Format {
    Documented = "documented",
    Nextcloud = "nextcloud",
    CloudEvents = "cloudevents",
    OpenRegister = "openregister",
    NlGov = "nlgov",
    Zgw = "zgw",
    Template = "template",
});

/// How much of an entity the body tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DataMode {
    #[default]
    Full,
    /// Which entity it is, and nothing of what it holds: no personal data.
    Reference,
}

names!(DataMode { Full = "full", Reference = "reference" });
