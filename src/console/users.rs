//! The users of the console, as `ORW_CONSOLE_USERS_FILE` names them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

use super::role::Role;

/// The longest name of a user, in bytes; PostgreSQL's is shorter.
pub(super) const LONGEST_NAME: usize = 128;
/// The longest password, in bytes.
const LONGEST_PASSWORD: usize = 1024;
/// How PostgreSQL begins a stored password (`pg_authid.rolpassword`).
const VERIFIER: &str = "SCRAM-SHA-256$";
/// The fewest and the most rounds of a stored password: fewer than RFC 7677 demands are easy to guess, and more would keep clients busy.
const ROUNDS: std::ops::RangeInclusive<u32> = 4096..=1_000_000;
/// The bytes of a SHA-256.
const HASH: usize = 32;

/// A user of the console.
#[derive(Debug, Clone)]
pub struct ConsoleUser {
    pub(super) name: String,
    pub(super) secret: Secret,
    pub(super) role: Role,
}

/// How a user's password is known.
#[derive(Debug, Clone)]
pub(super) enum Secret {
    Password(SecretString),
    Verifier(Verifier),
}

/// A password as PostgreSQL stores it: `SCRAM-SHA-256$rounds:salt$stored key:server key`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Verifier {
    pub(super) rounds: u32,
    pub(super) salt: Vec<u8>,
    pub(super) stored_key: Vec<u8>,
    pub(super) server_key: Vec<u8>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

impl ConsoleUser {
    /// Reads the file: one `user:password-or-hash[:role]` a line, where the role is `reader` (the default) or `operator`; empty lines
    /// and lines that begin with `#` are ignored.
    ///
    /// # Errors
    /// What is wrong, without any password.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let mut users: Vec<Self> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let user = Self::parse(line).map_err(|reason| format!("has in line {}: {reason}", at + 1))?;
            if users.iter().any(|other| other.name == user.name) {
                return Err(format!("names {:?} twice", user.name));
            }
            users.push(user);
        }
        if users.is_empty() {
            return Err("names nobody; write one user:password-or-hash[:role] a line".to_owned());
        }
        Ok(users)
    }

    /// The line of the file for a user whose password has this hash; without a role it is a reader.
    ///
    /// # Errors
    /// If the file cannot name such a user.
    pub fn line(name: &str, hash: &str, role: Option<Role>) -> Result<String, String> {
        let role = role.map(|role| format!(":{role}")).unwrap_or_default();
        let line = format!("{name}:{hash}{role}");
        match Self::parse_all(&line)?.as_slice() {
            [user] if user.name == name => Ok(line),
            _ => Err("a user's name has no colon, no blank at an end and no # at its beginning".to_owned()),
        }
    }

    fn parse(line: &str) -> Result<Self, String> {
        let (name, rest) = line
            .split_once(':')
            .ok_or("a line must be user:password-or-hash[:role]")?;
        let name = name.trim();
        let (secret, role) = match rest.rsplit_once(':') {
            Some((secret, role)) if Role::parse(role.trim()).is_some() => (secret, Role::parse(role.trim())),
            _ => (rest, None),
        };
        if name.is_empty() || secret.is_empty() {
            return Err("user and password must not be empty".to_owned());
        }
        if name.len() > LONGEST_NAME || name.contains(char::is_control) {
            return Err(format!(
                "the name of a user has at most {LONGEST_NAME} bytes and no control characters"
            ));
        }
        if secret.len() > LONGEST_PASSWORD {
            return Err(format!(
                "the password of {name:?} is longer than {LONGEST_PASSWORD} bytes"
            ));
        }
        let secret = if secret.starts_with(VERIFIER) {
            Secret::Verifier(Verifier::parse(secret).ok_or_else(|| {
                format!(
                    "the hash of {name:?} cannot be read; it must look like SCRAM-SHA-256$4096:salt$key:key, as in PostgreSQL's pg_authid, \
                     with {} to {} rounds",
                    ROUNDS.start(),
                    ROUNDS.end()
                )
            })?)
        } else if ["$argon2", "md5"].iter().any(|other| looks_hashed(secret, other)) {
            return Err(format!(
                "the hash of {name:?} is of another kind; the console needs SCRAM-SHA-256$…, as in PostgreSQL's pg_authid"
            ));
        } else {
            Secret::Password(secret.to_owned().into())
        };
        Ok(Self {
            name: name.to_owned(),
            secret,
            role: role.unwrap_or(Role::Reader),
        })
    }
}

/// Whether a text is a hash that begins so: `md5` with 32 digits, or `$argon2…`.
fn looks_hashed(secret: &str, prefix: &str) -> bool {
    secret.strip_prefix(prefix).is_some_and(|rest| {
        prefix.starts_with('$') || (rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

impl std::fmt::Display for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes: &[u8]| STANDARD.encode(bytes);
        let (salt, stored, server) = (text(&self.salt), text(&self.stored_key), text(&self.server_key));
        write!(f, "{VERIFIER}{}:{salt}${stored}:{server}", self.rounds)
    }
}

impl Verifier {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (head, keys) = text.strip_prefix(VERIFIER)?.split_once('$')?;
        let (rounds, salt) = head.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let key = |text: &str| STANDARD.decode(text).ok().filter(|key| key.len() == HASH);
        Some(Self {
            rounds: rounds.parse().ok().filter(|rounds| ROUNDS.contains(rounds))?,
            salt: STANDARD
                .decode(salt)
                .ok()
                .filter(|salt| (8..=64).contains(&salt.len()))?,
            stored_key: key(stored)?,
            server_key: key(server)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the form of PostgreSQL.
    const STORED: &str = "SCRAM-SHA-256$4096:cfnqxVL7RPHAFVPYzTd2MA==$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

    #[test]
    fn lines_with_and_without_a_role_are_read() {
        let text = format!(
            "# people\n\nann:pa:ss\nbob:secret:operator\n eve:{STORED}\nida:{STORED}:operator\ncid:role:reader:operator\n"
        );
        let users = ConsoleUser::parse_all(&text).unwrap();
        let found: Vec<_> = users
            .iter()
            .map(|user| {
                (
                    user.name.as_str(),
                    user.role,
                    matches!(user.secret, Secret::Verifier(_)),
                )
            })
            .collect();
        let expected = [
            ("ann", Role::Reader, false),
            ("bob", Role::Operator, false),
            ("eve", Role::Reader, true),
            ("ida", Role::Operator, true),
            ("cid", Role::Operator, false),
        ];
        assert_eq!(found, expected);
        let password = |user: &ConsoleUser| match &user.secret {
            Secret::Password(text) => secrecy::ExposeSecret::expose_secret(text).to_owned(),
            Secret::Verifier(_) => String::new(),
        };
        assert_eq!(
            (password(&users[0]), password(&users[4])),
            ("pa:ss".to_owned(), "role:reader".to_owned())
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for wrong in [
            "",
            "# nobody",
            "ann",
            ":s3cret",
            "ann:",
            "ann:s3cret\nann:other",
            "ann:SCRAM-SHA-256$4096:s3cret",
            "ann:SCRAM-SHA-256$1:cfnqxVL7RPHAFVPYzTd2MA==$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "ann:$argon2id$s3cret",
            "ann:md50123456789abcdef0123456789abcdef",
            "a\u{1b}:s3cret",
        ] {
            let reason = ConsoleUser::parse_all(wrong).unwrap_err();
            assert!(!reason.contains("s3cret"), "{reason}");
        }
        assert!(!format!("{:?}", ConsoleUser::parse_all("ann:s3cret").unwrap()).contains("s3cret"));
    }
}
