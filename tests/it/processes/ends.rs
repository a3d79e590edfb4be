//! Processes that are killed or shut down under load: nothing is lost, order is kept, and every repeat has its reason.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::scene::{Scene, Seen, uuid};
use crate::support::leases;
use crate::support::wait::PATIENCE;

const PROCESSES: usize = 3;

struct Plan {
    changes: usize,
    objects: usize,
    writers: usize,
    /// How often each process ends.
    ends: usize,
}

const SMALL: Plan = Plan {
    changes: 1_500,
    objects: 60,
    writers: 3,
    ends: 1,
};

const FULL: Plan = Plan {
    changes: 50_000,
    objects: 500,
    writers: 4,
    ends: 5,
};

/// How a process ends.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Killed,
    Told,
}

/// One process's end.
struct End {
    /// When the process had ended: all its requests have arrived, and no other process has taken over yet.
    at: DateTime<Utc>,
    /// Events that it had in hand and whose outcome was not written; none after an end in good order.
    in_hand: HashSet<Arc<str>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kills_repeat_was_in_flight() {
    run(SMALL, How::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_in_good_order_lose_nothing_and_repeat_nothing() {
    run(SMALL, How::Told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn soak_kills_of_three_processes() {
    run(FULL, How::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: make soak"]
async fn soak_shutdowns_of_three_processes() {
    run(FULL, How::Told).await;
}

/// The webhook of an object: a third of all objects each.
fn path(object: &str) -> &'static str {
    match object.as_bytes()[object.len() - 1] {
        b'0'..=b'3' => "/a",
        b'4'..=b'6' => "/b",
        _ => "/c",
    }
}

async fn run(plan: Plan, how: How) {
    let mut scene = Scene::new(PROCESSES).await;
    for (path, last) in [("/a", "0-3"), ("/b", "4-6"), ("/c", "7-9")] {
        let filter = json!({"event.newObject.uuid": format!("/[{last}]$/")});
        scene
            .register(path, "ObjectUpdatedEvent", json!({"eventFilter": filter}))
            .await;
    }
    scene.create(plan.objects).await;
    let writing = scene.write(plan.writers, plan.objects, plan.changes).await;

    let mut ends: Vec<End> = Vec::new();
    let mut count = [0; PROCESSES];
    let all = plan.ends * PROCESSES;
    for end in 0..all {
        scene.arrived(plan.changes * (end + 1) / (all + 1)).await;
        let shares = scene.shares().await;
        // The process with the most deliveries in hand, until it has ended often enough.
        let due = (0..PROCESSES).filter(|n| count[*n] < plan.ends);
        let victim = due.max_by_key(|n| (shares[*n].1, shares[*n].0)).unwrap();
        count[victim] += 1;
        let leads = scene.leader().await == victim;
        let in_hand = match how {
            How::Killed => scene.kill(victim).await,
            How::Told => {
                // One that was started a moment ago may not listen to signals yet.
                scene.sidecars[victim].wait_ready().await;
                assert_eq!(scene.sidecars[victim].terminate().await, Some(0));
                HashSet::new()
            }
        };
        let at = Utc::now();
        println!(
            "end {} of {all}: process {victim}{}, owner of {} webhooks, {} in hand a moment before, {} after",
            end + 1,
            if leads { ", the leader" } else { "" },
            shares[victim].0,
            shares[victim].1,
            in_hand.len()
        );
        leases::all_are_noted(&scene.client).await;
        scene.sidecars[victim].spawn();
        ends.push(End { at, in_hand });
    }
    writing.done().await;
    scene.arrived(plan.changes).await;
    scene.settled().await;
    let sidecars: Vec<_> = scene.sidecars.iter().collect();
    leases::none_is_left(&scene.client, &sidecars, PATIENCE).await;

    let seen = scene.seen.borrow();
    let (repeats, unwritten) = check(&seen, &plan, &ends);
    println!(
        "{} requests for {} events in {all} ends: {repeats} repeats; {unwritten} of {} in hand at the ends had been sent",
        seen.arrivals.len(),
        plan.changes,
        ends.iter().map(|end| end.in_hand.len()).sum::<usize>(),
    );
    if how == How::Told {
        assert_eq!(repeats, 0);
    }
    drop(seen);
    for sidecar in &mut scene.sidecars {
        sidecar.wait_ready().await;
        assert_eq!(sidecar.terminate().await, Some(0));
    }
}

/// Every change arrived at its webhook, in order per object; a repeat comes after an end whose process had it in hand, and before
/// anything later of its object. Gives the number of repeats, and of what had been sent and was in hand at an end.
fn check(seen: &Seen, plan: &Plan, ends: &[End]) -> (usize, usize) {
    let mut last: HashMap<&str, i64> = HashMap::new();
    let mut times: HashMap<&str, Vec<DateTime<Utc>>> = HashMap::new();
    let mut ids: HashMap<(&str, i64), &str> = HashMap::new();
    let mut repeats = 0;
    for arrival in &seen.arrivals {
        let (object, id, age) = (arrival.object.as_str(), &*arrival.id, arrival.age);
        assert_eq!(arrival.path, path(object), "{object} went to another's webhook");
        let reached = last.entry(object).or_default();
        let before = times.entry(id).or_default();
        if let Some(previous) = before.last() {
            repeats += 1;
            assert_eq!(age, *reached, "{object}: a repeat after what followed it");
            assert_eq!(ids[&(object, age)], id);
            let reason = |end: &End| end.at < arrival.at && end.in_hand.contains(id);
            assert!(
                ends.iter().filter(|end| reason(end)).count() >= before.len(),
                "{object} at {age} arrived at {previous} and at {}: nobody ended with it in hand",
                arrival.at
            );
        } else {
            assert_eq!(age, *reached + 1, "{object}: out of order, or a gap");
            *reached = age;
            ids.insert((object, age), id);
        }
        before.push(arrival.at);
    }
    assert_eq!(last.values().sum::<i64>(), plan.changes as i64);
    assert_eq!(last.len(), plan.objects, "{} never arrived", uuid(1));
    let sent = |end: &End| {
        let earlier = |id: &&Arc<str>| times.get(&***id).is_some_and(|all| all[0] < end.at);
        end.in_hand.iter().filter(earlier).count()
    };
    (repeats, ends.iter().map(sent).sum())
}
