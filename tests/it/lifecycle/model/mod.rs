//! A model of OpenRegister that knows what a person would expect: random operations, by users working at the same time,
//! cut into random batches, with and without a memory.

mod app;

use openregister_webhooks::lifecycle::Event;
use orw_model::Action;
use proptest::prelude::*;

use super::world::World;
use app::{App, Generation, Operation, Step};

fn generation() -> impl Strategy<Value = Generation> {
    prop_oneof![
        Just(Generation::Magic),
        Just(Generation::Blob),
        Just(Generation::Second)
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let operation = prop_oneof![
        3 => Just(Operation::Create),
        3 => Just(Operation::Put),
        1 => Just(Operation::PutSame),
        1 => Just(Operation::PutSoon),
        2 => Just(Operation::Lock),
        2 => Just(Operation::Unlock),
        2 => Just(Operation::SoftDelete),
        1 => Just(Operation::Restore),
        1 => Just(Operation::Remove),
        1 => Just(Operation::Housekeeping),
        1 => Just(Operation::Revert),
        1 => Just(Operation::Migrate),
    ];
    let step = (operation, 0..4u8, any::<bool>()).prop_map(|(operation, object, by_bob)| Step {
        operation,
        object,
        by_bob,
    });
    prop::collection::vec(step, 1..40)
}

fn run(generation: Generation, audits: bool, pooled: bool, steps: &[Step]) -> App {
    let mut app = App::new(generation, audits);
    for (n, step) in steps.iter().enumerate() {
        // A PHP request has a connection of its own, unless connections are kept.
        let pid = if pooled {
            7
        } else {
            100 + i32::try_from(n).unwrap()
        };
        app.request = n;
        app.step(pid, *step);
    }
    app
}

fn told(events: &[Event]) -> Vec<(Action, String)> {
    events
        .iter()
        .map(|event| {
            let uuid = event.states.current().fields()["uuid"].as_str().unwrap();
            (event.class.action(), uuid.to_owned())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each operation gives what a person expects, however the stream is cut, however far ahead the lookups see.
    #[test]
    fn operations_give_what_a_person_expects(
        generation in generation(), steps in steps(), sizes in prop::collection::vec(1..9usize, 1..4), ahead in 0..20usize,
    ) {
        let app = run(generation, true, false, &steps);
        let events = World::default().replay(&app.changes, &sizes, ahead, false);
        prop_assert_eq!(told(&events), app.expected);
        // No id appears twice.
        let ids: std::collections::HashSet<_> = events.iter().map(|event| event.id.clone()).collect();
        prop_assert_eq!(ids.len(), events.len());
    }

    /// Without audit trails, too: locks alone leave audit rows then.
    #[test]
    fn without_audit_trails_too(generation in generation(), steps in steps(), size in 1..9usize) {
        let app = run(generation, false, false, &steps);
        let events = World::default().replay(&app.changes, &[size], 0, false);
        prop_assert_eq!(told(&events), app.expected);
    }

    /// With one connection for everybody, where only audit rows and their requests tell one request from another.
    #[test]
    fn with_kept_connections_too(generation in generation(), steps in steps(), size in 1..9usize) {
        let audited: Vec<Step> = steps
            .into_iter()
            .filter(|step| {
                !matches!(step.operation, Operation::Housekeeping | Operation::Restore | Operation::Revert)
            })
            .collect();
        let app = run(generation, true, true, &audited);
        let events = World::default().replay(&app.changes, &[size], 0, false);
        prop_assert_eq!(told(&events), app.expected);
    }
}
