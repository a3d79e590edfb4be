//! Event classes that OpenRegister has and that its rows do not tell: which, and why.
//!
//! The names are those of OpenRegister up to October 2026 (2.1). Some were read with the rest of its source, some are known by name only.

/// Classes for which the same holds.
#[derive(Debug, Clone, Copy)]
pub struct Unavailable {
    /// Their short names.
    pub classes: &'static [&'static str],
    /// Why no webhook can get them, and what there is instead: one or two sentences.
    pub reason: &'static str,
}

const NAMESPACE: &str = r"OCA\OpenRegister\Event\";

/// All of them.
pub const UNAVAILABLE: [Unavailable; 12] = [
    Unavailable {
        classes: &[
            "ObjectCreatingEvent",
            "ObjectUpdatingEvent",
            "ObjectDeletingEvent",
        ],
        reason: "It is sent before the write: nothing of it is in the database yet, and a webhook could not change or prevent the write. \
                 Afterwards there are ObjectCreatedEvent, ObjectUpdatedEvent and ObjectDeletedEvent.",
    },
    Unavailable {
        classes: &["ObjectsMergedEvent"],
        reason: "No captured row says that writes belong to one merge. The objects that take part give ObjectUpdatedEvent and \
                 ObjectDeletedEvent.",
    },
    Unavailable {
        classes: &["ObjectActivatedEvent"],
        reason: "It says that a draft was submitted, and in which column OpenRegister keeps that an object is a draft is not known. If the \
                 submission changes the object's row, that gives ObjectUpdatedEvent.",
    },
    Unavailable {
        classes: &[
            "TaskTransitionedEvent",
            "TaskTerminalEvent",
            "TaskSequenceCompletedEvent",
        ],
        reason: "Tasks are in tables that are not captured, and their rows do not say who acted.",
    },
    Unavailable {
        classes: &[
            "ApprovalStepInitiatedEvent",
            "ApprovalStepApprovedEvent",
            "ApprovalStepRejectedEvent",
            "ApprovalStepCompletedEvent",
        ],
        reason: "The steps of an approval are not in tables that are captured. If an approval changes an object, that gives ObjectUpdatedEvent.",
    },
    Unavailable {
        classes: &[
            "FlowRunTerminalEvent",
            "FlowEmailSentEvent",
            "FlowTimerFiredEvent",
            "HandoffExecutedEvent",
            "CaseItemTransitionedEvent",
            "AgentRunRequestedEvent",
            "ViewAlertCrossedEvent",
            "CredentialRelinkRequiredEvent",
            "EntityRelationDecisionUpdatedEvent",
            "RegistrySubscriptionRequestedEvent",
            "RegistrySubscriptionEndedEvent",
        ],
        reason: "What it is about is not in the tables of the ten kinds of entity, which alone are captured.",
    },
    Unavailable {
        classes: &[
            "PersonLinkedEvent",
            "PersonLinkUpdatedEvent",
            "PersonUnlinkedEvent",
        ],
        reason: "The links between objects and people are in a table that is not captured, and the object's row does not change.",
    },
    Unavailable {
        classes: &[
            "FileRenamedEvent",
            "FileCopiedEvent",
            "FileMovedEvent",
            "FileVersionRestoredEvent",
            "FileLockedEvent",
            "FileUnlockedEvent",
        ],
        reason: "It is about a file in Nextcloud's storage, and the object's row does not change. Nextcloud's own webhooks tell what happens to \
                 files (OCP\\Files\\Events\\Node\\…).",
    },
    Unavailable {
        classes: &[
            "ActionEvaluatedEvent",
            "CustomScopeEvaluatingEvent",
            "CustomScopeEvaluatedEvent",
            "ReferenceValidatedEvent",
            "ReferenceValidationFailedEvent",
        ],
        reason: "It is a decision that OpenRegister makes while it answers a request; nothing of it is written to the database.",
    },
    Unavailable {
        classes: &["ActionCreatedEvent", "ActionUpdatedEvent", "ActionDeletedEvent"],
        reason: "OpenRegister dropped actions and their table in September 2026.",
    },
    Unavailable {
        classes: &["UserProfileUpdatedEvent"],
        reason: "It is about an account of Nextcloud, not about anything in OpenRegister's tables.",
    },
    Unavailable {
        classes: &[
            "PermissionsDeclaringEvent",
            "BulkActionRegistrationEvent",
            "RegisterLeafProvidersEvent",
            "FormDestinationDependentsEvent",
            "IdentityClaimsCollectingEvent",
            "ToolRegistrationEvent",
            "DeepLinkRegistrationEvent",
        ],
        reason: "By it OpenRegister asks other apps what they add to it; nothing happens to any data.",
    },
];

impl Unavailable {
    /// The full names of the classes.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.classes.iter().map(|short| format!("{NAMESPACE}{short}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::EventClass;

    #[test]
    fn each_is_there_once_and_none_is_available() {
        let names: Vec<String> = UNAVAILABLE.iter().flat_map(Unavailable::names).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        for name in names {
            assert_eq!(EventClass::parse(&name), None, "{name}");
            assert!(name.ends_with("Event"), "{name}");
        }
    }
}
