//! Delivery: from the commit of a change to the receipt of its event, over TLS. How long it takes, and what it costs each process.
//!
//! Everything runs on this machine: the writers' sessions, PostgreSQL, the program, and the receiver, which is a process of its own.

pub(crate) mod receiver;
mod scene;
mod steady;
mod throughput;

use crate::Scope;
use crate::report::{Report, Table};

use self::scene::Scene;

pub(super) async fn run(scope: Scope) -> Report {
    let scene = Scene::new("delivery").await;
    let tables: Vec<Table> = vec![
        steady::measure(&scene, scope).await,
        throughput::measure(&scene, scope).await,
    ];
    Report {
        tables,
        ratios: Vec::new(),
    }
}
