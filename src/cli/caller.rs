//! Who changes something from the command line, as the audit table keeps it.

use crate::registry::Caller;

/// The user at the command line: `cli:` and the name that the shell knows, at most 60 characters of it.
pub(super) fn caller() -> Caller {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    Caller {
        user: user.map_or_else(
            || "cli".to_owned(),
            |user| format!("cli:{}", user.chars().take(60).collect::<String>()),
        ),
        app_id: None,
        client: None,
    }
}
