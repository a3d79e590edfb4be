//! The accounts of the configuration (`ORW_ADMINS` and `ORW_READERS`), for a sidecar without Nextcloud.
//!
//! Guarantees: neither the time nor the words of a refusal tell existing users from others; guessing is slowed down by address;
//! passwords are kept as keyed hashes only.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::{Argon2, PasswordHash, PasswordVerifier as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::header::{self, HeaderMap};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};
use tokio::sync::Semaphore;

use super::session::{Denied, Digest, Session};
use crate::random::{NoRandom, random};
use crate::shares::Shares;
use crate::throttle::Throttle;

/// How long a password that was right is not checked again. Accounts change only when the process is restarted.
const REMEMBERED: Duration = Duration::from_secs(600);
/// How many passwords are remembered at most.
const MOST_REMEMBERED: usize = 1000;
/// How many password hashes are computed at the same time.
const HASHING: usize = 2;
/// How many passwords may wait for that; one network gets at most half of these places.
const MOST_WAITING: usize = 64;
/// The longest user name and password that are checked, in bytes.
const LONGEST: usize = 1024;

/// Why the configured accounts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error(
        "{setting}: the password hash of {user} cannot be read: {reason}; a hash looks like $argon2id$v=19$m=19456,t=2,p=1$…"
    )]
    Hash {
        setting: &'static str,
        user: String,
        reason: String,
    },
    #[error(
        "ORW_ADMINS is empty, so nobody could register a webhook: set it to user:password, or set ORW_NEXTCLOUD_URL to Nextcloud's \
         address, and Nextcloud decides who may"
    )]
    Nobody,
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
}

/// User and password of `Authorization: Basic …`, if the request has one.
fn basic(headers: &HeaderMap) -> Option<(String, SecretString)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = zeroize::Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    let (user, password) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    Some((user.to_owned(), password.to_owned().into()))
}

#[derive(Debug, Clone)]
enum Password {
    /// The keyed hash of a password that is configured in clear text.
    Keyed(Digest),
    Argon2(Arc<str>),
}

struct Account {
    /// Keyed hash of the name.
    name: Digest,
    password: Password,
    admin: bool,
}

/// Accounts of the configuration.
pub struct LocalAccounts {
    key: Digest,
    accounts: Vec<Account>,
    /// A hash to check if the account has none, so that every check takes equally long; `None` if no account has one.
    dummy: Option<Arc<str>>,
    remembered: Mutex<HashMap<Digest, Instant>>,
    throttle: Throttle,
    hashing: Semaphore,
    /// The places in which passwords wait to be checked.
    waiting: Arc<Shares>,
}

impl std::fmt::Debug for LocalAccounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalAccounts")
            .field("accounts", &self.accounts.len())
            .finish_non_exhaustive()
    }
}

impl LocalAccounts {
    /// Administrators (`ORW_ADMINS`), and users who may log in to look at the page (`ORW_READERS`); the API answers these nothing.
    ///
    /// # Errors
    /// If there is no administrator, or a hash cannot be read.
    pub fn new(
        admins: &[(String, SecretString)],
        users: &[(String, SecretString)],
    ) -> Result<Self, AuthError> {
        if admins.is_empty() {
            return Err(AuthError::Nobody);
        }
        let key = random::<32>()?;
        let mut accounts = Vec::new();
        let mut dummy = None;
        let both = admins
            .iter()
            .map(|a| (a, true))
            .chain(users.iter().map(|u| (u, false)));
        for ((user, password), admin) in both {
            let text = password.expose_secret();
            let setting = if admin { "ORW_ADMINS" } else { "ORW_READERS" };
            let password = if text.starts_with("$argon2") {
                check_hash(text).map_err(|reason| AuthError::Hash {
                    setting,
                    user: user.clone(),
                    reason,
                })?;
                let hash: Arc<str> = text.into();
                dummy.get_or_insert_with(|| Arc::clone(&hash));
                Password::Argon2(hash)
            } else {
                tracing::warn!(
                    user,
                    setting,
                    "this password is configured in clear text; an argon2id hash ($argon2id$…) is safer"
                );
                Password::Keyed(keyed(&key, b"password", text))
            };
            accounts.push(Account {
                name: keyed(&key, b"name", user),
                password,
                admin,
            });
        }
        Ok(Self {
            key,
            accounts,
            dummy,
            remembered: Mutex::default(),
            throttle: Throttle::default(),
            hashing: Semaphore::new(HASHING),
            waiting: Shares::new(MOST_WAITING),
        })
    }

    /// The caller; `None` if the request names none.
    ///
    /// # Errors
    /// [`Denied`] if it names one and the credentials are not accepted.
    pub async fn session(&self, headers: &HeaderMap, client: IpAddr) -> Result<Option<Session>, Denied> {
        match basic(headers) {
            Some((user, password)) => self.check(&user, &password, client).await.map(Some),
            None => Ok(None),
        }
    }

    /// Checks a user's password.
    ///
    /// # Errors
    /// [`Denied`] if it is wrong, or cannot be checked now.
    pub(crate) async fn check(
        &self,
        user: &str,
        password: &SecretString,
        client: IpAddr,
    ) -> Result<Session, Denied> {
        let text = password.expose_secret();
        if user.len() > LONGEST || text.len() > LONGEST {
            return Err(Denied::Wrong);
        }
        let whole = keyed(&self.key, b"both", &format!("{}:{user}:{text}", user.len()));
        let account = self.account(user);
        // A caller whose password was right a moment ago is let in even while others guess from the same address.
        if let Some(account) = account
            && self.is_remembered(&whole, Instant::now())
        {
            return Ok(Session {
                user: user.to_owned(),
                admin: account.admin,
                app_id: None,
            });
        }
        self.throttle
            .charge(client, Instant::now())
            .map_err(|retry_after| Denied::TooMany { retry_after })?;
        let Some(_place) = self.waiting.take(client) else {
            return Err(Denied::Busy(
                "Too many passwords are being checked, in all or from your network",
            ));
        };
        let right = self.is_right(account, text).await?;
        match account {
            Some(account) if right => {
                self.throttle.refund(client);
                self.remember(whole, Instant::now());
                Ok(Session {
                    user: user.to_owned(),
                    admin: account.admin,
                    app_id: None,
                })
            }
            _ => {
                tracing::warn!(%client, "wrong user or password");
                Err(Denied::Wrong)
            }
        }
    }

    /// The account of this name. It compares every account, so the time does not tell whether there is one.
    fn account(&self, user: &str) -> Option<&Account> {
        let name = keyed(&self.key, b"name", user);
        let mut found = None;
        for account in &self.accounts {
            if bool::from(account.name.ct_eq(&name)) {
                found = Some(account);
            }
        }
        found
    }

    /// Whether the password is right. It does the same work for every kind of account, and if there is none.
    async fn is_right(&self, account: Option<&Account>, password: &str) -> Result<bool, Denied> {
        let given = keyed(&self.key, b"password", password);
        let (wanted, hash) = match account.map(|account| &account.password) {
            Some(Password::Keyed(wanted)) => (Some(*wanted), None),
            Some(Password::Argon2(hash)) => (None, Some(Arc::clone(hash))),
            None => (None, None),
        };
        let plain = given.ct_eq(&wanted.unwrap_or_default()) & Choice::from(u8::from(wanted.is_some()));
        let Some(checked) = hash.clone().or_else(|| self.dummy.clone()) else {
            return Ok(plain.into());
        };
        let _permit = self.hashing.acquire().await.map_err(|_| Denied::Unavailable)?;
        let password = SecretString::from(password.to_owned());
        let hashed = tokio::task::spawn_blocking(move || {
            PasswordHash::new(&checked).is_ok_and(|hash| {
                Argon2::default()
                    .verify_password(password.expose_secret().as_bytes(), &hash)
                    .is_ok()
            })
        })
        .await
        .map_err(|_| Denied::Unavailable)?;
        Ok(bool::from(plain) | (hashed & hash.is_some()))
    }

    fn is_remembered(&self, whole: &Digest, now: Instant) -> bool {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(whole).is_some_and(|until| *until > now)
    }

    fn remember(&self, whole: Digest, now: Instant) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MOST_REMEMBERED {
            remembered.retain(|_, until| *until > now);
        }
        if remembered.len() < MOST_REMEMBERED {
            remembered.insert(whole, now + REMEMBERED);
        }
    }
}

/// Whether a password can be checked against this hash at all.
fn check_hash(text: &str) -> Result<(), String> {
    let hash = PasswordHash::new(text).map_err(|error| error.to_string())?;
    argon2::Algorithm::try_from(hash.algorithm).map_err(|error| error.to_string())?;
    argon2::Params::try_from(&hash).map_err(|error| error.to_string())?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err("salt or hash is missing".to_owned());
    }
    Ok(())
}

fn keyed(key: &Digest, domain: &[u8], text: &str) -> Digest {
    #[allow(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.chain_update(domain)
        .chain_update([0])
        .chain_update(text.as_bytes())
        .finalize()
        .into_bytes()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(user: &str, password: &str) -> (String, SecretString) {
        (user.to_owned(), password.to_owned().into())
    }

    fn hash(password: &str) -> String {
        use argon2::password_hash::{PasswordHasher as _, SaltString};
        let salt = SaltString::from_b64("c29tZXNhbHQxMjM").unwrap();
        let params = argon2::Params::new(64, 1, 1, None).unwrap();
        Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
            .hash_password(password.as_bytes(), &salt)
            .unwrap()
            .to_string()
    }

    fn headers(credentials: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let value = format!("Basic {}", STANDARD.encode(credentials));
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        headers
    }

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn the_right_password_and_no_other_is_let_in() {
        let accounts = LocalAccounts::new(
            &[account("admin", "se:cret"), account("hashed", &hash("secret"))],
            &[account("bob", "bob")],
        )
        .unwrap();
        let auth = accounts;
        let session = async |credentials: &str| auth.session(&headers(credentials), CLIENT).await;
        let of = |user: &str, admin| {
            Ok(Some(Session {
                user: user.to_owned(),
                admin,
                app_id: None,
            }))
        };
        for _ in 0..2 {
            assert_eq!(session("admin:se:cret").await, of("admin", true));
            assert_eq!(session("hashed:secret").await, of("hashed", true));
            assert_eq!(session("bob:bob").await, of("bob", false));
        }
        for wrong in [
            "admin:",
            "admin:secret",
            "hashed:se:cret",
            "nobody:secret",
            "Admin:se:cret",
        ] {
            assert_eq!(session(wrong).await, Err(Denied::Wrong), "{wrong}");
        }
        assert_eq!(auth.session(&HeaderMap::new(), CLIENT).await, Ok(None));
    }

    #[tokio::test]
    async fn guessing_is_slowed_down_and_does_not_lock_out_who_is_known() {
        let accounts = LocalAccounts::new(&[account("admin", "a")], &[]).unwrap();
        let auth = accounts;
        assert!(auth.session(&headers("admin:a"), CLIENT).await.is_ok());
        let mut refused = 0;
        for i in 0..60 {
            match auth.session(&headers(&format!("admin:{i}")), CLIENT).await {
                Err(Denied::TooMany { retry_after }) => {
                    assert!(retry_after > Duration::ZERO);
                    refused += 1;
                }
                other => assert_eq!(other, Err(Denied::Wrong)),
            }
        }
        assert_eq!(refused, 10);
        assert!(auth.session(&headers("admin:a"), CLIENT).await.is_ok());
    }

    #[test]
    fn faults_of_the_configuration_are_named() {
        assert!(matches!(LocalAccounts::new(&[], &[]), Err(AuthError::Nobody)));
        let error = LocalAccounts::new(&[account("eve", "$argon2id$nonsense")], &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains("eve") && !error.contains("nonsense"), "{error}");
    }
}
