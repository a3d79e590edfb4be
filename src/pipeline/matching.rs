//! Which registrations want an event.
//!
//! One document is built for all webhooks of an event, and only the parts that their filters look into. A filter that cannot be
//! evaluated, or not within its time, counts as no match, is counted and logged, and never stops the pipeline.

use std::sync::Arc;

use super::document::Documented;
use super::metrics::Metrics;
use crate::lifecycle::{ActorState, Event};
use crate::registry::{Snapshot, Webhook};
use orw_filter::{Budget, Document, TooDeep};

/// Whether a webhook wants an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    Yes,
    /// It depends on what the audit row says, or the payload says it: the user, the action of a transition. The row may still come.
    AwaitUser,
}

/// The webhooks of `registrations` that want `event`, in their order.
#[must_use]
pub fn matches<'r>(
    event: &Event,
    registrations: &'r Snapshot,
    metrics: &Metrics,
) -> Vec<(&'r Arc<Webhook>, Match)> {
    let webhooks = registrations.for_class(event.class);
    if webhooks.is_empty() {
        return Vec::new();
    }
    let needs = registrations.needs(event.class);
    let states = Documented::of(event, needs);
    let document = Document::of_event(&states.subject(event), needs);
    let awaited = matches!(event.actor, ActorState::Awaited { .. });
    let mut budget = Budget::default();
    let candidates = match &document {
        Ok(document) => registrations.candidates(event.class, document),
        Err(_) => webhooks.iter().collect(),
    };
    candidates
        .into_iter()
        .filter_map(|webhook| {
            Some((
                webhook,
                wanted(webhook, event, document.as_ref(), awaited, metrics, &mut budget)?,
            ))
        })
        .collect()
}

/// Whether `webhook` wants `event`; `None` if not.
pub(super) fn matches_one(webhook: &Webhook, event: &Event, metrics: &Metrics) -> Option<Match> {
    alone(
        webhook,
        event,
        matches!(event.actor, ActorState::Awaited { .. }),
        metrics,
    )
}

/// Whether `webhook` wants `event`, now that the user will not become known any more.
pub(super) fn wants(webhook: &Webhook, event: &Event, metrics: &Metrics) -> bool {
    alone(webhook, event, false, metrics).is_some()
}

fn alone(webhook: &Webhook, event: &Event, awaited: bool, metrics: &Metrics) -> Option<Match> {
    let needs = webhook.filter.needs();
    let states = Documented::of(event, needs);
    let document = Document::of_event(&states.subject(event), needs);
    let mut budget = Budget::default();
    wanted(webhook, event, document.as_ref(), awaited, metrics, &mut budget)
}

/// Whether `webhook` wants `event`; `awaited`: the user may still become known.
fn wanted(
    webhook: &Webhook,
    event: &Event,
    document: Result<&Document<'_>, &TooDeep>,
    awaited: bool,
    metrics: &Metrics,
    budget: &mut Budget,
) -> Option<Match> {
    let filter = &webhook.filter;
    if awaited && filter.needs().user() {
        return Some(Match::AwaitUser);
    }
    if let Some(uid) = &webhook.user_id_filter
        && !awaited
        && event.actor.actor().is_none_or(|actor| actor.uid != *uid)
    {
        return None;
    }
    let error = match document.map(|document| filter.matches_within(document, budget)) {
        Ok(Ok(false)) => return None,
        Ok(Ok(true)) => None,
        Err(_) if filter.needs().is_empty() => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(error) = error {
        metrics.filter_errors.inc();
        let (times, logged) = filter.failed();
        if logged {
            tracing::warn!(
                webhook = %webhook.id,
                event = %event.id,
                times,
                %error,
                "a filter could not be evaluated: no match"
            );
        }
        return None;
    }
    let depends = webhook.user_id_filter.is_some()
        || webhook.shows_user()
        // The audit row that names the user may name the action, too.
        || event.states.transition().is_some();
    Some(if awaited && depends {
        Match::AwaitUser
    } else {
        Match::Yes
    })
}
