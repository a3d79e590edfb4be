//! Whether the schema is installed, has this program's version, and belongs to the right role.

use tokio_postgres::types::Type;

use super::examined::Examined;
use super::finding::Finding;
use crate::capture::{self, inspection};

const CHECK: &str = "schema";

/// Whether the schema is installed, and the findings about it; fills in what the installation knows of Nextcloud.
pub(super) async fn check(
    examined: &mut Examined<'_>,
) -> Result<(bool, Vec<Finding>), tokio_postgres::Error> {
    let client = examined.client;
    let rows = client
        .query_typed(
            "SELECT pg_get_userbyid(n.nspowner)::text, r.rolsuper, \
                    has_schema_privilege(n.oid, 'USAGE') \
                    AND coalesce((SELECT bool_and(has_table_privilege(c.oid, 'SELECT')) FROM pg_class c \
                                  WHERE c.relnamespace = n.oid AND c.relname IN ('migration', 'settings')), false) \
             FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.nspname = 'openregister_webhooks'",
            &[],
        )
        .await?;
    let Some(row) = rows.first() else {
        let finding = Finding::error(
            CHECK,
            format!("nothing is installed in {}", examined.database.target()),
            "there is no schema openregister_webhooks in this database",
            "run `openregister-webhooks install` as the owner of Nextcloud's tables; if it was run, ORW_DATABASE_URL names another database",
        );
        return Ok((false, vec![finding]));
    };
    // This comes before anything of the schema is executed.
    if let Some((what, remedy)) = capture::foreign_objects(client, &examined.settings.table_prefix).await? {
        let finding = Finding::error(
            CHECK,
            what,
            "somebody else created it first, or has rights in it; what it contains is executed with the rights of the sidecar and of the owner",
            remedy,
        );
        return Ok((false, vec![finding]));
    }
    let owner: String = row.get(0);
    let mut findings = Vec::new();
    if row.get(1) {
        findings.push(
            Finding::warning(
                CHECK,
                format!("the schema openregister_webhooks belongs to the superuser {owner}"),
                "the capture functions run with their owner's rights",
                "uninstall, then install as the owner of Nextcloud's tables, who need not be a superuser",
            )
            .about(owner),
        );
    }
    if !row.get::<_, bool>(2) {
        return Ok((true, findings)); // the check `rights` reports it
    }
    findings.push(version(examined).await?);
    findings.extend(settings(examined).await?);
    Ok((true, findings))
}

async fn version(examined: &Examined<'_>) -> Result<Finding, tokio_postgres::Error> {
    let found = inspection::schema_version(examined.client).await?;
    let known = capture::known_version();
    let finding = if found == known {
        Finding::ok(
            CHECK,
            format!("the schema has version {found}, as this program expects"),
        )
    } else if found < known {
        Finding::error(
            CHECK,
            format!("the schema has version {found}, but this program expects {known}"),
            "the program was replaced by a newer one since the last install",
            "run `openregister-webhooks install`: it brings the schema up to date and keeps everything",
        )
    } else {
        Finding::error(
            CHECK,
            format!("the schema has version {found}, but this program knows only {known}"),
            "this program is older than the one that installed the schema",
            "run the newer program",
        )
    };
    Ok(finding.measured(f64::from(found)))
}

async fn settings(examined: &mut Examined<'_>) -> Result<Option<Finding>, tokio_postgres::Error> {
    let Some(installation) = inspection::installation(examined.client).await? else {
        return Ok(Some(Finding::error(
            CHECK,
            "the table openregister_webhooks.settings is empty",
            "somebody deleted its row",
            "run `openregister-webhooks install`",
        )));
    };
    examined.host_schema = installation.host_schema;
    examined.table_prefix = installation.table_prefix;
    if examined.table_prefix != examined.settings.table_prefix {
        return Ok(Some(Finding::error(
            CHECK,
            format!(
                "ORW_TABLE_PREFIX is {}, but the installation is for {}",
                examined.settings.table_prefix, examined.table_prefix
            ),
            "the two prefixes name different tables",
            format!(
                "set ORW_TABLE_PREFIX={} (dbtableprefix in Nextcloud's config.php), or install again",
                examined.table_prefix
            ),
        )));
    }
    if installation.detaching {
        return Ok(Some(Finding::error(
            CHECK,
            "an uninstall was started and has not finished",
            "a table was busy, or the uninstall was interrupted",
            "run `openregister-webhooks uninstall` again to finish it, or `openregister-webhooks install` to keep the installation",
        )));
    }
    if !installation.discovered {
        return Ok(Some(Finding::warning(
            CHECK,
            "the first discovery of tables has not finished",
            "a table stayed busy during install",
            "start the sidecar, which tries again, or run `openregister-webhooks install` again",
        )));
    }
    Ok(None)
}

/// The owner of the schema.
pub(super) async fn owner(examined: &Examined<'_>) -> Result<String, tokio_postgres::Error> {
    let rows = examined
        .client
        .query_typed(
            "SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = $1",
            &[(&"openregister_webhooks", Type::TEXT)],
        )
        .await?;
    Ok(rows.first().map_or_else(String::new, |r| r.get(0)))
}
