//! Many clients at once.

use tokio_postgres::NoTls;

use super::scene::{READER, process, url};

/// What an idle connection may take: its buffers, its task, and what the allocator keeps. Measured:  in this build.
const KIB_EACH: u32 = 64;
const IDLE: u32 = 1000;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_connections_take_bounded_memory() {
    let (mut scene, address) = process().await;
    scene.sidecar.start().await;
    let connect = async || {
        let (client, connection) = tokio_postgres::connect(&url(address, READER), NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client.simple_query("SHOW HELP").await.unwrap();
        client
    };
    // What every answer needs once is there already.
    let mut held = vec![connect().await];
    let before = scene.sidecar.kibibytes("VmRSS");
    while held.len() <= usize::try_from(IDLE).unwrap() {
        held.push(connect().await);
    }
    let grown = scene.sidecar.kibibytes("VmRSS").saturating_sub(before);
    println!("{IDLE} idle connections take {grown} KiB");
    assert!(grown < IDLE * KIB_EACH, "{grown} KiB");
    // They are still served.
    for client in [&held[0], &held[500], &held[1000]] {
        client.simple_query("SHOW VERSION").await.unwrap();
    }
    assert_eq!(scene.sidecar.terminate().await, Some(0));
}
