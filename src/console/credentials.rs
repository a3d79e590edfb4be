//! Who may log in: the verifiers of all users, and made-up ones for everybody else.
//!
//! Guarantee: a login of a user who does not exist takes the same steps, with the same kind of answers, as one with a wrong password. A
//! made-up salt stays the same as long as the master key (or, without one, the list of users) does, as a real one does.

use std::collections::HashMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use pgwire::api::auth::sasl::scram::{ScramSecret, gen_salted_password};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use super::role::Role;
use super::users::{ConsoleUser, Secret, Verifier};
use crate::random::{NoRandom, random};

type Digest = [u8; 32];

/// The rounds of a password that is configured in clear: PostgreSQL's.
const ROUNDS: u32 = 4096;
/// The bytes of a salt: PostgreSQL's.
const SALT: usize = 16;

/// Who may log in.
pub(super) struct Credentials {
    key: Digest,
    /// By the keyed hash of the name, so that looking up takes the same steps for every name.
    accounts: HashMap<Digest, Account>,
    /// The rounds and the length of the salt of each stored password; a made-up one has those of one of them.
    shapes: Vec<(u32, usize)>,
}

struct Account {
    verifier: Verifier,
    role: Role,
}

/// What a login is checked against.
pub(super) struct Expected {
    pub(super) secret: ScramSecret,
    /// `None`: there is no such user, and the secret fits no password.
    pub(super) role: Option<Role>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("accounts", &self.accounts.len())
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// The users; `master_key` is `ORW_MASTER_KEY`.
    pub(super) fn new(users: &[ConsoleUser], master_key: Option<&SecretString>) -> Self {
        let key = match master_key {
            Some(key) => keyed(&[0; 32], b"console", key.expose_secret().as_bytes()),
            None => users.iter().fold([0; 32], |key, user| match &user.secret {
                Secret::Password(text) => keyed(&key, b"password", text.expose_secret().as_bytes()),
                Secret::Verifier(verifier) => keyed(&key, b"verifier", &verifier.stored_key),
            }),
        };
        let accounts: HashMap<Digest, Account> = users
            .iter()
            .map(|user| {
                let verifier = match &user.secret {
                    Secret::Verifier(verifier) => verifier.clone(),
                    Secret::Password(text) => {
                        tracing::warn!(
                            user = user.name,
                            "this password of the console is configured in clear text; a hash (SCRAM-SHA-256$…) is safer"
                        );
                        from_password(text, &keyed(&key, b"salt", user.name.as_bytes())[..SALT])
                    }
                };
                let name = keyed(&key, b"name", user.name.as_bytes());
                (name, Account { verifier, role: user.role })
            })
            .collect();
        let mut shapes: Vec<_> = users
            .iter()
            .map(|user| match &user.secret {
                Secret::Password(_) => (ROUNDS, SALT),
                Secret::Verifier(verifier) => (verifier.rounds, verifier.salt.len()),
            })
            .collect();
        shapes.sort_unstable();
        Self {
            key,
            accounts,
            shapes,
        }
    }

    /// What a login of this user is checked against.
    pub(super) fn expected(&self, user: &str) -> Expected {
        let made_up = self.made_up(user);
        match self.accounts.get(&keyed(&self.key, b"name", user.as_bytes())) {
            Some(account) => Expected {
                secret: secret(account.verifier.clone()),
                role: Some(account.role),
            },
            None => Expected {
                secret: secret(made_up),
                role: None,
            },
        }
    }

    /// A verifier that fits no password, always the same for a name.
    fn made_up(&self, user: &str) -> Verifier {
        let of = |domain: &[u8]| keyed(&self.key, domain, user.as_bytes());
        let choice = usize::from(of(b"shape")[0]) % self.shapes.len().max(1);
        let (rounds, length) = self.shapes.get(choice).copied().unwrap_or((ROUNDS, SALT));
        let salt = [of(b"salt"), of(b"more salt")].concat();
        Verifier {
            rounds,
            salt: salt.into_iter().take(length).collect(),
            stored_key: of(b"stored key").to_vec(),
            server_key: of(b"server key").to_vec(),
        }
    }
}

/// The hash of a password as a line of `ORW_CONSOLE_USERS_FILE` has it, and as PostgreSQL stores it.
///
/// # Errors
/// If the operating system gives no random bytes.
pub fn scram_hash(password: &SecretString) -> Result<String, NoRandom> {
    Ok(from_password(password, &random::<SALT>()?).to_string())
}

fn secret(verifier: Verifier) -> ScramSecret {
    ScramSecret::Verifier {
        salt: verifier.salt,
        iterations: usize::try_from(verifier.rounds).unwrap_or(usize::MAX),
        stored_key: verifier.stored_key,
        server_key: verifier.server_key,
    }
}

fn from_password(password: &SecretString, salt: &[u8]) -> Verifier {
    let rounds = usize::try_from(ROUNDS).unwrap_or(usize::MAX);
    let salted = gen_salted_password(password.expose_secret(), salt, rounds);
    match ScramSecret::verifier_from_salted_password(salt.to_vec(), salted, rounds) {
        ScramSecret::Verifier {
            salt,
            stored_key,
            server_key,
            ..
        } => Verifier {
            rounds: ROUNDS,
            salt,
            stored_key,
            server_key,
        },
        // What is never made of a salted password: it fits nothing.
        ScramSecret::SaltedPassword { salt, .. } => Verifier {
            rounds: ROUNDS,
            salt,
            stored_key: Vec::new(),
            server_key: Vec::new(),
        },
    }
}

fn keyed(key: &Digest, domain: &[u8], text: &[u8]) -> Digest {
    #[allow(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.chain_update(domain)
        .chain_update([0])
        .chain_update(text)
        .finalize()
        .into_bytes()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn salt(credentials: &Credentials, user: &str) -> (Vec<u8>, usize) {
        match credentials.expected(user).secret {
            ScramSecret::Verifier { salt, iterations, .. } => (salt, iterations),
            ScramSecret::SaltedPassword { .. } => panic!("only verifiers are used"),
        }
    }

    /// Another program's hash of the same password with the same salt is the same, whatever the letters.
    #[test]
    fn a_hash_is_postgresqls() {
        // The last two are written otherwise before they are hashed (RFC 4013), or cannot be.
        for password in ["secret", "p\u{e4}ss:w\u{f6}rd", "a\u{2168}\u{ad}b", "\u{7}bell"] {
            let stored = postgres_protocol::password::scram_sha_256(password.as_bytes());
            let verifier = Verifier::parse(&stored).unwrap();
            let password = SecretString::from(password);
            assert_eq!(from_password(&password, &verifier.salt).to_string(), stored);
            let (one, two) = (scram_hash(&password).unwrap(), scram_hash(&password).unwrap());
            assert_ne!(one, two);
            assert!(Verifier::parse(&one).is_some(), "{one}");
        }
    }

    #[test]
    fn a_name_that_nobody_has_looks_like_one_that_somebody_has() {
        let users = ConsoleUser::parse_all("ann:secret:operator").unwrap();
        let key = SecretString::from("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
        let one = Credentials::new(&users, Some(&key));
        let again = Credentials::new(&users, Some(&key));
        assert_eq!(one.expected("ann").role, Some(Role::Operator));
        assert_eq!(one.expected("bob").role, None);
        for user in ["ann", "bob", ""] {
            // The same after a restart, and of the same shape.
            assert_eq!(salt(&one, user), salt(&again, user));
            assert_eq!((salt(&one, user).0.len(), salt(&one, user).1), (16, 4096));
        }
        assert_ne!(salt(&one, "bob").0, salt(&one, "eve").0);
    }
}
