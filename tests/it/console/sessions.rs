//! What goes on beside the answers: requests to cancel, notifications.

use serde_json::json;
use tokio_postgres::NoTls;

use super::scene::{OPERATOR, READER, process, url};
use crate::support::postgres::connect;
use crate::support::receiver::Answer;
use crate::support::scene::uuid;
use crate::support::wait::PATIENCE;

/// A client that asks to cancel ends a test that hangs.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_hangs_is_cancelled() {
    let (mut scene, address) = process().await;
    scene.sidecar.start().await;
    scene.receiver.decide(|_| Answer::Hang);
    let id = scene
        .register(
            r"OCA\OpenRegister\Event\ObjectCreatedEvent",
            json!({"timeoutSeconds": 300}),
        )
        .await;
    let operator = connect(&url(address, OPERATOR)).await;
    let token = operator.cancel_token();
    let command = format!("TEST {id}");
    let (error, ()) = tokio::join!(operator.simple_query(&command), async {
        scene.receiver.wait_for(1, PATIENCE).await.unwrap();
        token.cancel_query(NoTls).await.unwrap();
    });
    assert_eq!(error.unwrap_err().code().unwrap().code(), "57014");
    operator.batch_execute("SHOW VERSION").await.unwrap();
    assert_eq!(scene.sidecar.terminate().await, Some(0));
}

/// Each attempt is told to who listens, at once.
#[tokio::test(flavor = "multi_thread")]
async fn who_listens_is_told_of_each_attempt() {
    let (mut scene, address) = process().await;
    scene.sidecar.start().await;
    let id = scene
        .register(r"OCA\OpenRegister\Event\ObjectCreatedEvent", json!({}))
        .await;
    let (client, mut connection) = tokio_postgres::connect(&url(address, READER), NoTls)
        .await
        .unwrap();
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let tokio_postgres::AsyncMessage::Notification(note) = message {
                let _ = sender.send((note.channel().to_owned(), note.payload().to_owned()));
            }
        }
    });
    client.batch_execute("LISTEN events").await.unwrap();
    scene.objects(1, 3).await;
    let mut lanes = Vec::new();
    for _ in 0..3 {
        let next = tokio::time::timeout(PATIENCE, told.recv());
        let (channel, payload) = next.await.unwrap().unwrap();
        let told: serde_json::Value = serde_json::from_str(&payload).unwrap();
        assert_eq!(channel, "events");
        assert_eq!(
            (&told["webhook"], &told["state"], &told["status"]),
            (&json!(id), &json!("succeeded"), &json!(200)),
            "{told}"
        );
        lanes.push(told["lane"].as_str().unwrap().to_owned());
    }
    lanes.sort();
    assert_eq!(lanes, [1, 2, 3].map(|number| format!("object:{}", uuid(number))));
    client.batch_execute("UNLISTEN *").await.unwrap();
    // The session goes on, and nothing more is told.
    scene.objects(4, 4).await;
    scene.received(4).await;
    client.batch_execute("SHOW VERSION").await.unwrap();
    assert!(told.try_recv().is_err());
}
