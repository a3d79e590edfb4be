//! Secrets at rest: XChaCha20-Poly1305 under `ORW_MASTER_KEY`.
//!
//! Guarantees: what is stored is bound to its webhook, its column and the origin that it may be sent to ([`Seal`]), so it
//! cannot be moved to another; it names the key it was made with; an altered or foreign text is refused, never read as garbage.
//! Nonces are random and 192 bits wide.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use data_encoding::HEXLOWER;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::webhook::WebhookId;
use crate::random::{NoRandom, random};

/// First byte of what is stored: what it is bound to. Texts that are no part of a registration have the first.
const BOUND_TO_WEBHOOK: u8 = 1;
const BOUND_TO_ORIGIN: u8 = 2;
const KEY_ID: usize = 8;
const NONCE: usize = 24;
/// What a key's check value holds.
const CHECK: &[u8] = b"openregister-webhooks";

/// How a key is made; in every message about one.
const MAKE_ONE: &str =
    "make one with `openssl rand -base64 32` and keep it: without it the stored secrets are lost";

/// Why secrets cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("ORW_MASTER_KEY is missing: it encrypts the secrets that are stored; {MAKE_ONE}")]
    NoKey,
    #[error("ORW_MASTER_KEY is not 32 bytes in base64; {MAKE_ONE}")]
    BadKey,
    #[error(
        "ORW_MASTER_KEY holds {given}, but stored secrets are encrypted with {stored}; set that key, or both with a \
         comma between them while keys are being changed"
    )]
    WrongKey { given: String, stored: String },
    #[error(
        "the stored {field} of webhook {webhook} cannot be decrypted: it was altered, its uri was changed in the table, or it was made with another key"
    )]
    Unreadable { webhook: WebhookId, field: &'static str },
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
    #[error("the stored text is too long to be encrypted")]
    TooLong,
}

/// What is encrypted: part of what a ciphertext is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Headers,
    AuthData,
    Secrets,
    ClientCertificate,
}

impl Field {
    const fn name(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::AuthData => "auth_data",
            Self::Secrets => "secrets",
            Self::ClientCertificate => "client_certificate",
        }
    }
}

/// What the secrets of a registration are bound to besides their column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seal {
    webhook: WebhookId,
    /// Scheme, host and port; `None` in the form before this one, which is read and written only while processes of older
    /// versions live (`sealing::Form`).
    origin: Option<String>,
}

impl Seal {
    pub(crate) const fn new(webhook: WebhookId, origin: Option<String>) -> Self {
        Self { webhook, origin }
    }

    /// The first byte and the associated data. No two places have the same: the field's names hold no space, and the origin ends it.
    fn binding(&self, field: Field) -> (u8, Vec<u8>) {
        let (webhook, field) = (self.webhook, field.name());
        match &self.origin {
            None => (
                BOUND_TO_WEBHOOK,
                format!("webhook {webhook} {field}").into_bytes(),
            ),
            Some(origin) => (
                BOUND_TO_ORIGIN,
                format!("webhook {webhook} {field} {origin}").into_bytes(),
            ),
        }
    }
}

/// Encrypts with one key, and decrypts with that and those that came before it.
pub struct Vault {
    /// The first encrypts; never empty.
    keys: Vec<Key>,
}

struct Key {
    cipher: XChaCha20Poly1305,
    id: [u8; KEY_ID],
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault")
            .field("keys", &self.key_ids())
            .finish_non_exhaustive()
    }
}

impl Key {
    fn read(text: &str) -> Result<Self, VaultError> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| VaultError::BadKey)?);
        let cipher = XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| VaultError::BadKey)?;
        // A hash of a uniformly random 32-byte key tells nothing of it.
        let digest = Sha256::new()
            .chain_update(b"openregister-webhooks key id\0")
            .chain_update(&bytes)
            .finalize();
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&digest[..KEY_ID]);
        Ok(Self { cipher, id })
    }

    fn name(&self) -> String {
        HEXLOWER.encode(&self.id)
    }
}

impl Vault {
    /// Reads the key, or the keys with commas between them: the first encrypts, all decrypt.
    ///
    /// # Errors
    /// [`VaultError::NoKey`], [`VaultError::BadKey`].
    pub fn new(keys: Option<&SecretString>) -> Result<Self, VaultError> {
        let text = keys.ok_or(VaultError::NoKey)?.expose_secret();
        let keys = text.split(',').map(Key::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { keys })
    }

    /// The name of the key that encrypts: safe to store and to show.
    #[must_use]
    pub fn key_id(&self) -> String {
        self.keys.first().map(Key::name).unwrap_or_default()
    }

    /// The names of all keys.
    pub(crate) fn key_ids(&self) -> Vec<String> {
        self.keys.iter().map(Key::name).collect()
    }

    /// A known text under the key that encrypts.
    pub(crate) fn check_value(&self) -> Result<Vec<u8>, VaultError> {
        self.encrypt(BOUND_TO_WEBHOOK, b"check", CHECK)
    }

    /// Whether `stored` is the check value of one of the keys.
    pub(crate) fn checks(&self, stored: &[u8]) -> bool {
        self.decrypt(BOUND_TO_WEBHOOK, b"check", stored)
            .is_some_and(|plain| plain.as_slice() == CHECK)
    }

    pub(crate) fn seal(&self, seal: &Seal, field: Field, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (version, binding) = seal.binding(field);
        self.encrypt(version, &binding, plain)
    }

    pub(crate) fn open(
        &self,
        seal: &Seal,
        field: Field,
        stored: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (version, binding) = seal.binding(field);
        self.decrypt(version, &binding, stored)
            .ok_or(VaultError::Unreadable {
                webhook: seal.webhook,
                field: field.name(),
            })
    }

    fn encrypt(&self, version: u8, binding: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let key = self.keys.first().ok_or(VaultError::NoKey)?;
        let nonce = random::<NONCE>()?;
        let mut stored = Vec::with_capacity(1 + KEY_ID + NONCE + plain.len() + 16);
        stored.push(version);
        stored.extend_from_slice(&key.id);
        stored.extend_from_slice(&nonce);
        let sealed = key
            .cipher
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: plain,
                    aad: binding,
                },
            )
            .map_err(|_| VaultError::TooLong)?;
        stored.extend_from_slice(&sealed);
        Ok(stored)
    }

    fn decrypt(&self, wanted: u8, binding: &[u8], stored: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (head, sealed) = stored.split_at_checked(1 + KEY_ID + NONCE)?;
        let (version, rest) = head.split_first()?;
        let (id, nonce) = rest.split_at_checked(KEY_ID)?;
        let key = self.keys.iter().find(|key| *version == wanted && key.id == id)?;
        let nonce = XNonce::from(<[u8; NONCE]>::try_from(nonce).ok()?);
        key.cipher
            .decrypt(
                &nonce,
                Payload {
                    msg: sealed,
                    aad: binding,
                },
            )
            .ok()
            .map(Zeroizing::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(byte: u8) -> Vault {
        Vault::new(Some(&STANDARD.encode([byte; 32]).into())).unwrap()
    }

    const ID: WebhookId = WebhookId(1_000_000_001);

    fn at(webhook: WebhookId, origin: &str) -> Seal {
        Seal::new(webhook, Some(origin.to_owned()))
    }

    fn here() -> Seal {
        at(ID, "https://example.com:443")
    }

    #[test]
    fn what_is_sealed_is_opened_in_its_own_place_only() {
        let vault = vault(7);
        let sealed = vault.seal(&here(), Field::AuthData, b"Bearer secret").unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
        assert_eq!(
            vault.open(&here(), Field::AuthData, &sealed).unwrap().as_slice(),
            b"Bearer secret"
        );
        for elsewhere in [
            at(WebhookId(ID.0 + 1), "https://example.com:443"),
            at(ID, "http://example.com:443"),
            at(ID, "https://evil.example:443"),
            at(ID, "https://example.com:8443"),
            Seal::new(ID, None),
        ] {
            assert!(vault.open(&elsewhere, Field::AuthData, &sealed).is_err());
        }
        assert!(vault.open(&here(), Field::Headers, &sealed).is_err());
        assert_ne!(
            sealed,
            vault.seal(&here(), Field::AuthData, b"Bearer secret").unwrap()
        );
    }

    /// Whoever may write to the table may have kept a text of the form before, which no origin is part of.
    #[test]
    fn the_form_before_is_not_taken_for_this_one() {
        let (vault, before) = (vault(7), Seal::new(ID, None));
        let mut sealed = vault.seal(&before, Field::AuthData, b"Bearer secret").unwrap();
        assert!(vault.open(&before, Field::AuthData, &sealed).is_ok());
        assert!(vault.open(&here(), Field::AuthData, &sealed).is_err());
        sealed[0] = BOUND_TO_ORIGIN;
        assert!(vault.open(&here(), Field::AuthData, &sealed).is_err());
    }

    #[test]
    fn altered_cut_and_foreign_texts_are_refused() {
        let vault = vault(7);
        let sealed = vault.seal(&here(), Field::Secrets, b"x").unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(
                vault.open(&here(), Field::Secrets, &altered).is_err(),
                "byte {at}"
            );
            assert!(
                vault.open(&here(), Field::Secrets, &sealed[..at]).is_err(),
                "length {at}"
            );
        }
        assert!(
            super::tests::vault(8)
                .open(&here(), Field::Secrets, &sealed)
                .is_err()
        );
    }

    #[test]
    fn the_first_key_encrypts_and_all_decrypt() {
        let text = |byte: u8| STANDARD.encode([byte; 32]);
        let both = Vault::new(Some(&format!("{}, {}", text(8), text(7)).into())).unwrap();
        let old = vault(7).seal(&here(), Field::Secrets, b"old").unwrap();
        assert_eq!(
            both.open(&here(), Field::Secrets, &old).unwrap().as_slice(),
            b"old"
        );
        let new = both.seal(&here(), Field::Secrets, b"new").unwrap();
        assert_eq!(
            vault(8).open(&here(), Field::Secrets, &new).unwrap().as_slice(),
            b"new"
        );
        assert!(vault(7).open(&here(), Field::Secrets, &new).is_err());
        assert_eq!(both.key_id(), vault(8).key_id());
    }

    #[test]
    fn a_key_is_checked_before_it_is_used() {
        assert!(matches!(Vault::new(None), Err(VaultError::NoKey)));
        for bad in ["", "abc", "c2hvcnQ=", "!!"] {
            assert!(
                matches!(Vault::new(Some(&bad.to_owned().into())), Err(VaultError::BadKey)),
                "{bad}"
            );
        }
        let value = vault(7).check_value().unwrap();
        assert!(vault(7).checks(&value));
        assert!(!vault(8).checks(&value));
        assert!(VaultError::NoKey.to_string().contains("openssl rand -base64 32"));
    }
}
