//! Who gets in, and what everybody else is told.

use super::raw::{Raw, startup};
use super::scene::{HASHED, OPERATOR, READER, Served};

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_refused_alike() {
    let console = Served::start().await;
    let mut refused = Vec::new();
    for (user, password) in [
        (OPERATOR.0, "wrong"),
        (READER.0, "wrong"),
        (READER.0, ""),
        ("nobody", OPERATOR.1),
        ("OP", OPERATOR.1),
    ] {
        let mut raw = Raw::connect(&console, 20).await;
        let answer = raw.log_in(user, password).await;
        assert_eq!(answer.len(), 1, "{answer:?}");
        let error = &answer[0];
        let expected = format!("password authentication failed for user \"{user}\"");
        assert_eq!(error.field(b'M'), expected);
        // All but the name is the same.
        let text = String::from_utf8(error.body.clone()).unwrap();
        refused.push(text.replace(&format!("\"{user}\""), "\"\""));
    }
    refused.dedup();
    assert_eq!(refused.len(), 1, "{refused:?}");
    // All kinds of accounts get in, and the database has one name.
    for user in [OPERATOR, READER, HASHED] {
        Raw::logged_in(&console, user, 21).await;
    }
    let mut raw = Raw::connect(&console, 21).await;
    raw.send(&startup(&[("user", READER.0), ("database", "nextcloud")]))
        .await;
    assert_eq!(raw.next().await.unwrap().kind, b'R');
    let mut raw = Raw::connect(&console, 21).await;
    raw.send(&startup(&[("user", READER.0), ("replication", "true")]))
        .await;
    assert_eq!(raw.refused().await.field(b'C'), "0A000");
    let mut raw = Raw::connect(&console, 21).await;
    raw.send(&startup(&[("database", "console")])).await;
    assert_eq!(raw.refused().await.field(b'C'), "28000");
}

#[tokio::test]
async fn guessing_is_slowed_down_by_address() {
    let console = Served::start().await;
    // Logins at the same time are no guesses, however many they are.
    let many = (0..60).map(|_| Raw::logged_in(&console, READER, 22));
    futures::future::join_all(many).await;
    let guesses = (0..100).map(async |_| {
        let mut raw = Raw::connect(&console, 22).await;
        raw.log_in(OPERATOR.0, "wrong").await.remove(0).field(b'M')
    });
    let told = futures::future::join_all(guesses).await;
    let slow = told
        .iter()
        .filter(|message| message.starts_with("too many failed logins"));
    assert!(slow.count() > 0, "{told:?}");
    // The right password does not get in either, so that nobody learns that it is right; from elsewhere it does.
    let mut raw = Raw::connect(&console, 22).await;
    let answer = raw.log_in(OPERATOR.0, OPERATOR.1).await;
    if let [only] = answer.as_slice() {
        assert!(only.field(b'M').starts_with("too many failed logins"), "{only:?}");
    }
    Raw::logged_in(&console, OPERATOR, 23).await;
}
