//! Random bytes from the operating system.

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandom;

/// `N` random bytes, fit for keys, nonces and secrets.
///
/// # Errors
/// If the operating system gives none.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| NoRandom)?;
    Ok(bytes)
}
