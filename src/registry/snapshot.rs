//! All registrations as of one revision.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::handshake::Handshake;
use super::reading::{Reading, Stamp};
use super::webhook::{Webhook, WebhookId};
use orw_filter::Needs;
use orw_model::EventClass;

/// All registrations as of one revision; immutable.
#[derive(Debug, Default)]
pub struct Snapshot {
    stamp: Stamp,
    reading: Reading,
    all: Vec<Arc<Webhook>>,
    by_id: HashMap<WebhookId, Arc<Webhook>>,
    by_class: Vec<Listeners>,
    /// By class: whether a registration names it, enabled or not.
    named: Vec<bool>,
    unreadable: Vec<(WebhookId, String)>,
    next_expiry: Option<i64>,
}

/// The webhooks that listen to one class.
#[derive(Debug, Default)]
struct Listeners {
    webhooks: Vec<Arc<Webhook>>,
    /// What their filters look into; made with the first event.
    needs: OnceLock<Needs>,
}

impl Snapshot {
    /// These webhooks, in the order of their ids.
    #[must_use]
    pub fn of(webhooks: Vec<Arc<Webhook>>) -> Self {
        Self::new((Stamp::default(), Reading::default()), webhooks, Vec::new(), None)
    }

    pub(super) fn new(
        (stamp, reading): (Stamp, Reading),
        mut all: Vec<Arc<Webhook>>,
        unreadable: Vec<(WebhookId, String)>,
        next_expiry: Option<i64>,
    ) -> Self {
        all.sort_by_key(|webhook| webhook.id);
        let by_id = all
            .iter()
            .map(|webhook| (webhook.id, Arc::clone(webhook)))
            .collect();
        let mut by_class: Vec<Listeners> = EventClass::all().map(|_| Listeners::default()).collect();
        let mut named = vec![!unreadable.is_empty(); by_class.len()];
        for class in all.iter().flat_map(|webhook| webhook.event.classes()) {
            named[class.index()] = true;
        }
        for webhook in all.iter().filter(|webhook| webhook.collects()) {
            for class in webhook.event.classes() {
                by_class[class.index()].webhooks.push(Arc::clone(webhook));
            }
        }
        Self {
            stamp,
            reading,
            all,
            by_id,
            by_class,
            named,
            unreadable,
            next_expiry,
        }
    }

    /// The same with this handshake in the webhook, if that is of this revision.
    pub(super) fn with_handshake(&self, id: WebhookId, revision: i64, made: &Handshake) -> Option<Self> {
        let webhook = self.get(id).filter(|webhook| webhook.revision == revision)?;
        let mut newer = Webhook::clone(webhook);
        newer.handshake = Some(made.clone());
        let newer = Arc::new(newer);
        let all = self.all.iter();
        let all = all.map(|webhook| Arc::clone(if webhook.id == id { &newer } else { webhook }));
        Some(Self::new(
            (self.stamp.clone(), self.reading),
            all.collect(),
            self.unreadable.clone(),
            self.next_expiry,
        ))
    }

    /// Grows with every change of any registration, as long as the database is not restored.
    #[must_use]
    pub const fn revision(&self) -> i64 {
        self.stamp.revision
    }

    pub(super) const fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// What was read, and when.
    pub(super) const fn read_at(&self) -> (&Stamp, Reading) {
        (&self.stamp, self.reading)
    }

    /// The webhooks that events of this class are collected for (enabled and paused ones), by id.
    #[must_use]
    pub fn for_class(&self, class: EventClass) -> &[Arc<Webhook>] {
        self.by_class
            .get(class.index())
            .map_or(&[], |listeners| listeners.webhooks.as_slice())
    }

    /// Whether a registration names this class, enabled or not. If one cannot be read, it may name any.
    #[must_use]
    pub fn names(&self, class: EventClass) -> bool {
        self.named.get(class.index()).is_some_and(|named| *named)
    }

    /// What the filters of [`Self::for_class`] look into, all together.
    #[must_use]
    pub fn needs(&self, class: EventClass) -> &Needs {
        static NOTHING: Needs = Needs::NOTHING;
        self.by_class.get(class.index()).map_or(&NOTHING, |listeners| {
            listeners.needs.get_or_init(|| {
                let mut needs = Needs::default();
                for webhook in &listeners.webhooks {
                    needs.merge(webhook.filter.needs());
                }
                needs
            })
        })
    }

    #[must_use]
    pub fn get(&self, id: WebhookId) -> Option<&Arc<Webhook>> {
        self.by_id.get(&id)
    }

    /// Every webhook, by id.
    #[must_use]
    pub fn all(&self) -> &[Arc<Webhook>] {
        &self.all
    }

    /// Registrations that are stored but cannot be read, with the reason: changed by hand, or by a newer version. They
    /// collect nothing.
    #[must_use]
    pub fn unreadable(&self) -> &[(WebhookId, String)] {
        &self.unreadable
    }

    /// When the first replaced signing secret ends (seconds since 1970): then the snapshot is to be made anew.
    pub(crate) const fn next_expiry(&self) -> Option<i64> {
        self.next_expiry
    }
}
