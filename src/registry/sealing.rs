//! How stored secrets are sealed: with which key, and bound to what.

use std::time::Duration;

use tokio_postgres::{Row, Transaction};

use super::error::RegistryError;
use super::revision::next_revision;
use super::target;
use super::vault::{Field, Seal, Vault, VaultError};
use super::webhook::WebhookId;

/// How long stored secrets are left in the form that older versions read while a process of such a version lives; then it keeps
/// what it knows, and can change nothing.
const FOR_OLDER: Duration = Duration::from_secs(600);

/// What stored secrets are bound to; one form at a time in a whole database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Webhook and column: while processes of versions live that know no other.
    Webhook,
    /// The origin of the registration's `uri`, too. There is no way back from here.
    Origin,
}

impl Form {
    pub(super) const fn read(to_origin: bool) -> Self {
        if to_origin { Self::Origin } else { Self::Webhook }
    }

    /// What the secrets of a registration with this `uri` are bound to.
    pub(super) fn seal(self, id: WebhookId, uri: &str) -> Result<Seal, String> {
        let origin = match self {
            Self::Webhook => None,
            Self::Origin => {
                let target = target::parse(uri).map_err(|reason| format!("column uri {reason}"))?;
                Some(target::origin(&target))
            }
        };
        Ok(Seal::new(id, origin))
    }
}

/// In which form secrets are stored. In a transaction that has the registry's row locked it stays that.
pub(super) async fn form(tx: &impl tokio_postgres::GenericClient) -> Result<Form, RegistryError> {
    let row = tx
        .query_one("SELECT sealed_to_origin FROM openregister_webhooks.settings", &[])
        .await?;
    Ok(Form::read(row.get(0)))
}

/// Whether a process lives that reads the first form only.
async fn older_lives(tx: &Transaction<'_>) -> Result<bool, RegistryError> {
    let row = tx
        .query_one(
            "SELECT EXISTS (SELECT FROM openregister_webhooks.worker WHERE sealing < 2 AND alive_until > clock_timestamp())",
            &[],
        )
        .await?;
    Ok(row.get(0))
}

/// Seals every stored secret in the second form; how many registrations there were. One that cannot be read stays as it is, and
/// unreadable.
async fn seal_to_origin(tx: &Transaction<'_>, vault: &Vault) -> Result<usize, RegistryError> {
    let count = reseal(tx, vault, Form::Webhook, Form::Origin, true).await?;
    tx.query("SELECT openregister_webhooks.seal_to_origin()", &[])
        .await?;
    Ok(count)
}

/// Encrypts every stored secret with the key that encrypts now; how many registrations there were.
pub(super) async fn rotate_key(tx: &Transaction<'_>, vault: &Vault) -> Result<usize, RegistryError> {
    let form = form(tx).await?;
    let count = reseal(tx, vault, form, form, false).await?;
    tx.execute(
        "DELETE FROM openregister_webhooks.master_key WHERE key_id <> $1",
        &[&vault.key_id()],
    )
    .await?;
    Ok(count)
}

/// Seals every stored secret anew. `skip`: what cannot be read is passed over, else nothing is changed for it.
async fn reseal(
    tx: &Transaction<'_>,
    vault: &Vault,
    from: Form,
    to: Form,
    skip: bool,
) -> Result<usize, RegistryError> {
    let rows = tx
        .query(
            "SELECT id, uri, headers, auth_data, secrets, client_certificate FROM openregister_webhooks.webhook FOR UPDATE",
            &[],
        )
        .await?;
    let mut count = 0;
    for row in &rows {
        let id = WebhookId(row.get("id"));
        match resealed(row, id, vault, from, to) {
            Ok([headers, auth_data, secrets, certificate]) => {
                tx.execute(
                    "UPDATE openregister_webhooks.webhook SET headers = $2, auth_data = $3, secrets = $4, client_certificate = $5 \
                     WHERE id = $1",
                    &[&id.0, &headers, &auth_data, &secrets, &certificate],
                )
                .await?;
                count += 1;
            }
            Err(error) if skip => {
                tracing::error!(webhook = %id, error = %crate::error_text::chain(&error), "the secrets of a registration cannot be read: remove it and register it again");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// The secrets of a row, sealed anew, in the order of their columns.
fn resealed(
    row: &Row,
    id: WebhookId,
    vault: &Vault,
    from: Form,
    to: Form,
) -> Result<[Option<Vec<u8>>; 4], RegistryError> {
    let unreadable = |reason| RegistryError::Unreadable { id, reason };
    let uri: &str = row.get("uri");
    let (from, to) = (
        from.seal(id, uri).map_err(unreadable)?,
        to.seal(id, uri).map_err(unreadable)?,
    );
    let again = |column, field| -> Result<Option<Vec<u8>>, RegistryError> {
        let Some(stored) = row.get::<_, Option<&[u8]>>(column) else {
            return Ok(None);
        };
        Ok(Some(vault.seal(
            &to,
            field,
            &vault.open(&from, field, stored)?,
        )?))
    };
    Ok([
        again("headers", Field::Headers)?,
        again("auth_data", Field::AuthData)?,
        again("secrets", Field::Secrets)?,
        again("client_certificate", Field::ClientCertificate)?,
    ])
}

/// Binds the stored secrets to the origins of their webhooks, once for a database, unless an older process lives that could not
/// read them then and was not waited for long enough; whether they are bound. In one transaction, in the order of all changes.
pub(super) async fn bind_to_origins(
    client: &mut tokio_postgres::Client,
    vault: &Vault,
    waited: Duration,
) -> Result<bool, RegistryError> {
    if form(client).await? == Form::Origin {
        return Ok(true);
    }
    let tx = client.transaction().await?;
    tx.batch_execute("SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '20s'")
        .await?;
    next_revision(&tx).await?;
    // Another process may have done it meanwhile.
    if form(&tx).await? == Form::Origin {
        return Ok(true);
    }
    let older = older_lives(&tx).await?;
    if !may_bind(older, waited) {
        return Ok(false);
    }
    if older {
        tracing::warn!(
            "a process of an older version still runs: it keeps the registrations as it last read them, and can change none; end it"
        );
    }
    let count = seal_to_origin(&tx, vault).await?;
    tx.commit().await?;
    tracing::info!(
        webhooks = count,
        "stored secrets are bound to the origins of their webhooks"
    );
    Ok(true)
}

const fn may_bind(older_lives: bool, waited: Duration) -> bool {
    !older_lives || waited.as_secs() >= FOR_OLDER.as_secs()
}

/// Compares the keys with the stored check values: every key that is in use must be known. The key that encrypts leaves a
/// check value of its own.
pub(super) async fn check_key(
    client: &mut tokio_postgres::Client,
    vault: &Vault,
) -> Result<(), RegistryError> {
    let tx = client.transaction().await?;
    // Two processes that start with different keys for the first time must not both be right.
    tx.batch_execute(
        "SET LOCAL lock_timeout = '10s'; LOCK TABLE openregister_webhooks.master_key IN SHARE ROW EXCLUSIVE MODE",
    )
    .await?;
    let rows = tx
        .query(
            "SELECT key_id, check_value FROM openregister_webhooks.master_key ORDER BY since",
            &[],
        )
        .await?;
    let unknown: Vec<&str> = rows
        .iter()
        .filter(|row| !vault.checks(row.get("check_value")))
        .map(|row| row.get("key_id"))
        .collect();
    if !unknown.is_empty() {
        let (given, stored) = (vault.key_ids().join(", "), unknown.join(", "));
        return Err(VaultError::WrongKey { given, stored }.into());
    }
    tx.execute(
        "INSERT INTO openregister_webhooks.master_key (key_id, check_value) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        &[&vault.key_id(), &vault.check_value()?],
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_processes_are_waited_for_and_not_for_ever() {
        assert!(may_bind(false, Duration::ZERO));
        assert!(!may_bind(true, FOR_OLDER - Duration::from_secs(1)));
        assert!(may_bind(true, FOR_OLDER));
    }
}
