//! Delivery: from the commit of a change to the receipt of its event, over TLS. How long it takes, and what it costs each process.
//!
//! Everything runs on this machine: the writers' sessions, PostgreSQL, the program, and the receiver, which is a process of its own.

pub(crate) mod memory;
pub(crate) mod receiver;
mod scene;
mod steady;
mod throughput;

use crate::Scope;
use crate::report::Report;

use self::scene::Scene;

pub(super) async fn run(scope: Scope) -> Report {
    let scene = Scene::new("delivery").await;
    let (steady, ratios) = steady::measure(&scene, scope).await;
    let mut tables = vec![steady];
    if !scope.ratios_only {
        tables.push(throughput::measure(&scene, scope).await);
    }
    Report { tables, ratios }
}
