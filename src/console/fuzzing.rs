//! What the fuzz target `console` reaches: everything that reads what clients send.

use bytes::BytesMut;
use pgwire::api::auth::sasl::scram::{ScramSecret, ScramServerAuth};

use super::frame::{LONGEST, decode, is_sasl_initial, split};
use super::opening::startup;
use super::statement::token::commands;
use super::statement::{Change, Statement, parse};
use super::users::ConsoleUser;

/// Reads messages until one is refused or bytes are missing: how many, and the bytes that are left.
#[must_use]
pub fn messages(bytes: &[u8]) -> (usize, usize) {
    let mut received = BytesMut::from(bytes);
    let mut count = 0;
    while let Ok(Some(frame)) = split(&mut received, LONGEST) {
        if decode(frame).is_err() {
            break;
        }
        count += 1;
    }
    (count, received.len())
}

/// Reads the start of a session, without length and version.
#[must_use]
pub fn start(body: &[u8]) -> bool {
    startup(196_608, body).is_ok()
}

/// Reads a text with commands: how many were understood; `None` if it cannot be split.
#[must_use]
pub fn understood(text: &str) -> Option<usize> {
    let all = commands(text).ok()?;
    Some(all.iter().filter(|tokens| parse(tokens).is_ok()).count())
}

/// The reason that a command `DISABLE` gives.
#[must_use]
pub fn reason(command: &str) -> Option<String> {
    let all = commands(command).ok()?;
    match parse(all.first()?).ok()?.statement {
        Statement::Change(Change::Disable { reason, .. }) => reason,
        _ => None,
    }
}

/// Reads a list of users; the refusal, if it is refused.
#[must_use]
pub fn users(text: &str) -> Option<String> {
    ConsoleUser::parse_all(text).err()
}

/// Reads both messages of a login: whether one is taken for right.
#[must_use]
pub fn login(first: &[u8], last: &[u8]) -> bool {
    let secret = ScramSecret::Verifier {
        salt: vec![7; 16],
        iterations: 4096,
        stored_key: vec![7; 32],
        server_key: vec![7; 32],
    };
    let _ = is_sasl_initial(first);
    let begun = ScramServerAuth::new().on_client_first_message_with_secret(first, secret);
    begun.is_ok_and(|(_, waiting)| waiting.on_client_final_message(last).is_ok())
}
