//! What may happen to the queue: the steps of a schedule.

use proptest::prelude::*;

pub(super) const WORKERS: usize = 2;
pub(super) const WEBHOOKS: i64 = 2;
pub(super) const LANES: u8 = 3;
/// The lane of a webhook.
pub(super) type Spot = (i64, u8);

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// One transaction puts these in. It may lease them for a worker at once, which may not hear of it.
    Enqueue {
        spots: Vec<Spot>,
        lease: Option<(usize, bool)>,
        end: End,
    },
    /// The transaction that was left open ends.
    EndOpen { commit: bool },
    /// One worker asks, or both at the same time; the first may not hear the answer, or its question comes late.
    Claim {
        worker: usize,
        webhook: i64,
        most: u32,
        early: bool,
        both: bool,
        answer: Answer,
    },
    /// A worker gives back what it does not know of; or its question comes late.
    Reconcile { worker: usize, late: bool },
    /// A worker sends one of what it holds.
    Send {
        worker: usize,
        pick: usize,
        result: Sent,
    },
    /// A worker writes the first outcomes that it has, and may not hear of it; at the same time somebody may enqueue.
    Record {
        worker: usize,
        most: usize,
        beside: Vec<Spot>,
        heard: bool,
    },
    /// A worker dies and another takes its place. What it had in hand is forgotten; its outcomes are lost, or come late.
    Crash {
        worker: usize,
        late: bool,
        in_order: bool,
    },
    /// The outcomes of the dead arrive, and every question that comes late.
    Late,
    /// Every wait is over.
    Due,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Commit,
    Rollback,
    Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Heard,
    Lost,
    /// The question was given up before it was executed.
    Late,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Succeeds,
    Fails,
    FailsForGood,
    HandedBack,
    /// Its event cannot be read at the moment: nothing was sent.
    PutOff,
}

impl Sent {
    /// Whether the receiver gets it.
    pub(super) const fn arrives(self) -> bool {
        !matches!(self, Self::HandedBack | Self::PutOff)
    }
}

pub(super) fn spots() -> impl Strategy<Value = Vec<Spot>> {
    prop::collection::vec((1..=WEBHOOKS, 0..LANES), 1..5)
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![6 => Just(End::Commit), 1 => Just(End::Rollback), 2 => Just(End::Open)];
    let sent = prop_oneof![
        6 => Just(Sent::Succeeds),
        3 => Just(Sent::Fails),
        1 => Just(Sent::FailsForGood),
        1 => Just(Sent::HandedBack),
        1 => Just(Sent::PutOff)
    ];
    let answer = prop_oneof![6 => Just(Answer::Heard), 2 => Just(Answer::Lost), 1 => Just(Answer::Late)];
    let beside = prop_oneof![3 => Just(Vec::new()), 1 => spots()];
    prop_oneof![
        4 => (spots(), prop::option::of((0..WORKERS, prop::bool::weighted(0.8))), end)
            .prop_map(|(spots, lease, end)| Step::Enqueue { spots, lease, end }),
        2 => any::<bool>().prop_map(|commit| Step::EndOpen { commit }),
        8 => (0..WORKERS, 1..=WEBHOOKS, 1..5_u32, any::<bool>(), any::<bool>(), answer)
            .prop_map(|(worker, webhook, most, early, both, answer)| Step::Claim { worker, webhook, most, early, both, answer }),
        3 => (0..WORKERS, prop::bool::weighted(0.3)).prop_map(|(worker, late)| Step::Reconcile { worker, late }),
        10 => (0..WORKERS, 0..8_usize, sent).prop_map(|(worker, pick, result)| Step::Send { worker, pick, result }),
        6 => (0..WORKERS, 1..4_usize, beside, prop::bool::weighted(0.85)).prop_map(|(worker, most, beside, heard)| Step::Record { worker, most, beside, heard }),
        2 => (0..WORKERS, any::<bool>(), any::<bool>())
            .prop_map(|(worker, late, in_order)| Step::Crash { worker, late, in_order }),
        2 => Just(Step::Late),
        1 => Just(Step::Due),
    ]
}
