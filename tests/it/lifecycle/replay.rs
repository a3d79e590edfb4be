//! The recordings replayed through the classifier.

use std::fmt::Write as _;

use openregister_webhooks::capture::Change;
use openregister_webhooks::lifecycle::{Event, User};
use orw_model::Action;

use super::recording::{Recorded, recording};
use super::world::{World, op_name};

pub(super) fn world() -> World {
    let mut world = World::default();
    for (uid, name, group) in [("admin", "The Administrator", "admin"), ("bob", "Bob", "editors")] {
        let user = User {
            display_name: Some(name.into()),
            groups: vec![group.into()],
        };
        world.users.insert(uid.into(), user);
    }
    world
}

pub(super) fn changes(recorded: &[Recorded]) -> Vec<Change> {
    recorded
        .iter()
        .filter(|r| r.captured)
        .map(|r| r.change.clone())
        .collect()
}

/// One line an event: what a reviewer wants to see of it.
pub(crate) fn line(event: &Event) -> String {
    let mut line = event.class.to_string();
    let fields = event.states.current().fields();
    let name = ["name", "title"]
        .iter()
        .find_map(|key| fields.get(*key).and_then(|v| v.as_str()))
        .unwrap_or("-");
    write!(line, " {name:?}").unwrap();
    if let Some(old) = event.states.old() {
        let mut changed: Vec<&str> = fields
            .iter()
            .filter(|(key, value)| old.fields().get(*key) != Some(value))
            .map(|(key, _)| key.as_str())
            .collect();
        changed.sort_unstable();
        write!(line, " changed {}", changed.join(", ")).unwrap();
    }
    if event.class.action() == Action::Locked {
        write!(line, " {}", fields["locked"]).unwrap();
    }
    if let Some(moved) = event.states.transition() {
        let declared = moved.declared.join(", ");
        write!(
            line,
            " {} from {} to {} (declared: {declared})",
            moved.field, moved.from, moved.to
        )
        .unwrap();
    }
    match event.actor.actor() {
        Some(actor) => write!(
            line,
            " by {} ({}), {}",
            actor.uid,
            actor.groups.join(", "),
            actor.source.name()
        )
        .unwrap(),
        None => line.push_str(" by nobody known"),
    }
    line
}

/// The operations in their order, each with its row changes and events.
fn list(recorded: &[Recorded], events: &[Event]) -> String {
    let mut out = String::new();
    let mut events = events.iter().peekable();
    let mut at = 0;
    while at < recorded.len() {
        let operation = &recorded[at].operation;
        let to = recorded[at..]
            .iter()
            .position(|r| r.operation != *operation)
            .map_or(recorded.len(), |n| at + n);
        writeln!(out, "{operation}").unwrap();
        for r in &recorded[at..to] {
            let mut what = format!("{} {}", op_name(r.change.op), r.change.table.name());
            if r.change.table.name() == "openregister_audit_trails" {
                let new: serde_json::Value = serde_json::from_str(r.change.new.as_ref().unwrap()).unwrap();
                write!(what, " ({})", new["action"].as_str().unwrap()).unwrap();
            }
            writeln!(out, "    {what}").unwrap();
        }
        let end = recorded[to - 1].change.at;
        while let Some(event) = events.next_if(|e| e.at <= end) {
            writeln!(out, "  → {}", line(event)).unwrap();
        }
        at = to;
    }
    assert!(events.peek().is_none(), "an event belongs to no operation");
    out
}

fn ids(events: &[Event]) -> Vec<String> {
    events.iter().map(|e| format!("{} {}", e.id, line(e))).collect()
}

fn check(generation: &str) {
    let recorded = recording(generation);
    let changes = changes(&recorded);
    let events = world().replay(&changes, &[1], 0, false);
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(format!("recorded-{generation}"), list(&recorded, &events));
    });
    // However the stream is cut into batches, and whether or not anything is remembered between them.
    let expected = ids(&events);
    for sizes in [&[2][..], &[3, 1, 5], &[7], &[1000]] {
        for restart in [false, true] {
            let events = world().replay(&changes, sizes, 0, restart);
            assert_eq!(ids(&events), expected, "batches of {sizes:?}, restart {restart}");
        }
    }
    assert_eq!(
        ids(&world().replay(&changes, &[1], 0, true)),
        expected,
        "restarts"
    );
}

#[test]
fn the_tour_of_0_2_13_gives_what_a_person_would_expect() {
    check("0.2.13");
}

#[test]
fn the_tour_of_0_2_13_80_gives_what_a_person_would_expect() {
    check("0.2.13.80");
}

#[test]
fn the_tour_of_0_2_9_gives_what_a_person_would_expect() {
    check("0.2.9");
}
