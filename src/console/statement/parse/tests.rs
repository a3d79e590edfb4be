//! Tests of the statements that the console understands.

use super::super::token::commands;
use super::*;

fn parsed(text: &str) -> Result<Parsed, ConsoleError> {
    parse(&commands(text).unwrap()[0])
}

#[test]
fn commands_are_understood() {
    let statement = |text: &str| parsed(text).unwrap().statement;
    assert_eq!(statement("show  webhooks"), Statement::Show(Show::Webhooks));
    assert_eq!(
        statement("SHOW DELIVERIES STATE given_up WEBHOOK 7 LIMIT 10 SINCE '2026-11-25T10:00:00Z'"),
        Statement::Show(Show::Deliveries(Deliveries {
            filter: vec![
                (Field::State, "given_up".to_owned()),
                (Field::Webhook, "7".to_owned()),
                (Field::Since, "2026-11-25T10:00:00Z".to_owned()),
            ],
            limit: Some(10),
            ..Deliveries::default()
        }))
    );
    assert_eq!(
        statement("retry webhook 7"),
        Statement::Change(Change::RetryWebhook(7))
    );
    assert_eq!(
        statement("REPLAY 7 SINCE 12h CLASS ObjectCreatedEvent"),
        Statement::Change(Change::Replay(Replay {
            webhook: 7,
            since: "12h".to_owned(),
            class: Some("ObjectCreatedEvent".to_owned()),
            object: None,
        }))
    );
    assert_eq!(statement("LISTEN \"events\""), Statement::Listen);
    assert_eq!(statement("UNLISTEN *"), Statement::Unlisten);
    assert_eq!(
        statement("set client_encoding to 'UTF8'"),
        Statement::Session(Session::Set)
    );
    let prepared = parsed("DISABLE $2 $1").unwrap();
    assert_eq!(prepared.placeholders, [Some(Kind::Text), Some(Kind::Int8)]);
}

#[test]
fn what_is_no_command_is_refused_at_its_place() {
    for (text, near) in [
        ("SHOW", "end of the command"),
        ("SHOW NOTHING", "\"nothing\""),
        ("PAUSE", "end of the command"),
        ("PAUSE all", "\"all\""),
        ("PAUSE 7 8", "\"8\""),
        ("REPLAY 7", "end of the command"),
        ("DROP TABLE x", "\"DROP\""),
        ("LISTEN others", "\"others\""),
        ("DISABLE $1 $1", "$1"),
        ("SELECT * FROM pg_class", "SELECT"),
    ] {
        let refused = parsed(text).unwrap_err();
        assert!(refused.message().contains(near), "{text}: {refused:?}");
    }
}
