//! All registrations as of one revision.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use super::handshake::Handshake;
use super::reading::{Reading, Stamp};
use super::webhook::{Webhook, WebhookId};
use orw_filter::{Document, FilterIndex, Needs};
use orw_model::EventClass;

/// All registrations as of one revision; immutable.
#[derive(Debug, Default)]
pub struct Snapshot {
    read: Loaded,
    by_id: HashMap<WebhookId, Arc<Webhook>>,
    by_class: Vec<Listeners>,
    /// By class: whether a registration names it, enabled or not.
    named: Vec<bool>,
}

/// What a read of all registrations gave.
#[derive(Debug, Default, Clone)]
pub(super) struct Loaded {
    stamp: Stamp,
    reading: Reading,
    all: Vec<Arc<Webhook>>,
    /// The versions of the rows that say the same as long as nobody writes them: of all but those with a secret that ends.
    versions: HashMap<WebhookId, i64>,
    pub(super) unreadable: Vec<(WebhookId, String)>,
    pub(super) next_expiry: Option<i64>,
}

impl Loaded {
    /// Nothing yet, of a read that gave this stamp.
    pub(super) fn at(stamp: Stamp, reading: Reading) -> Self {
        Self {
            stamp,
            reading,
            ..Self::default()
        }
    }

    pub(super) fn add(&mut self, webhook: Arc<Webhook>, version: Option<i64>) {
        self.versions.extend(version.map(|version| (webhook.id, version)));
        self.all.push(webhook);
    }
}

/// The webhooks that listen to one class.
#[derive(Debug, Default)]
struct Listeners {
    webhooks: Vec<Arc<Webhook>>,
    /// What their filters look into; made with the first event.
    needs: OnceLock<Needs>,
    /// Which of them an event can match, if there are many; made with the first event.
    index: OnceLock<FilterIndex>,
}

/// With fewer webhooks each filter is evaluated.
const MANY: usize = 16;

impl Snapshot {
    /// These webhooks, in the order of their ids.
    #[must_use]
    pub fn of(webhooks: Vec<Arc<Webhook>>) -> Self {
        let mut loaded = Loaded::default();
        webhooks.into_iter().for_each(|webhook| loaded.add(webhook, None));
        Self::new(loaded)
    }

    pub(super) fn new(mut read: Loaded) -> Self {
        read.all.sort_by_key(|webhook| webhook.id);
        let (all, unreadable) = (&read.all, &read.unreadable);
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
            read,
            by_id,
            by_class,
            named,
        }
    }

    /// The same with this handshake in the webhook, if that is of this revision.
    pub(super) fn with_handshake(&self, id: WebhookId, revision: i64, made: &Handshake) -> Option<Self> {
        let webhook = self.get(id).filter(|webhook| webhook.revision == revision)?;
        let mut newer = Webhook::clone(webhook);
        newer.handshake = Some(made.clone());
        let newer = Arc::new(newer);
        let mut read = self.read.clone();
        // What is stored of it is written without a change of the revision.
        read.versions.remove(&id);
        for webhook in read.all.iter_mut().filter(|webhook| webhook.id == id) {
            *webhook = Arc::clone(&newer);
        }
        Some(Self::new(read))
    }

    /// The ids of the webhooks whose rows need not be read again as long as they have these versions.
    pub(super) fn versions(&self) -> BTreeMap<i64, i64> {
        let versions = self.read.versions.iter();
        versions.map(|(id, version)| (id.0, *version)).collect()
    }

    /// Grows with every change of any registration, as long as the database is not restored.
    #[must_use]
    pub const fn revision(&self) -> i64 {
        self.read.stamp.revision
    }

    pub(super) const fn stamp(&self) -> &Stamp {
        &self.read.stamp
    }

    /// What was read, and when.
    pub(super) const fn read_at(&self) -> (&Stamp, Reading) {
        (&self.read.stamp, self.read.reading)
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

    /// Those of [`Self::for_class`] that may want the event of this document; those left out have filters that it does not match.
    #[must_use]
    pub fn candidates(&self, class: EventClass, document: &Document<'_>) -> Vec<&Arc<Webhook>> {
        let Some(listeners) = self.by_class.get(class.index()) else {
            return Vec::new();
        };
        let webhooks = &listeners.webhooks;
        let found = (webhooks.len() >= MANY).then(|| {
            let index = listeners.index.get_or_init(|| {
                // Whether the user is known is asked before such a filter is evaluated.
                let filter = |webhook: &Arc<Webhook>| !webhook.filter.needs().user();
                FilterIndex::new(webhooks.iter().map(|w| filter(w).then_some(&*w.filter)))
            });
            index.candidates(document)
        });
        match found.flatten() {
            Some(found) => found
                .into_iter()
                .filter_map(|at| webhooks.get(at as usize))
                .collect(),
            None => webhooks.iter().collect(),
        }
    }

    #[must_use]
    pub fn get(&self, id: WebhookId) -> Option<&Arc<Webhook>> {
        self.by_id.get(&id)
    }

    /// Every webhook, by id.
    #[must_use]
    pub fn all(&self) -> &[Arc<Webhook>] {
        &self.read.all
    }

    /// Registrations that are stored but cannot be read, with the reason: changed by hand, or by a newer version. They
    /// collect nothing.
    #[must_use]
    pub fn unreadable(&self) -> &[(WebhookId, String)] {
        &self.read.unreadable
    }

    /// When the first replaced signing secret ends (seconds since 1970): then the snapshot is to be made anew.
    pub(crate) const fn next_expiry(&self) -> Option<i64> {
        self.read.next_expiry
    }
}
