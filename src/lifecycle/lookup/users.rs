//! Users of Nextcloud: display names and groups.

use std::collections::{BTreeSet, HashMap};

use tokio_postgres::types::Type;

use super::statements::{LookupError, query_host, tables_of};
use crate::lifecycle::facts::User;
use crate::lifecycle::host_connection::HostConnection;

/// Display names and groups of users, by uid. A user that does not exist has neither.
pub(crate) async fn look_up_users(
    host: &mut HostConnection,
    prefix: &str,
    wanted: &BTreeSet<String>,
) -> Result<HashMap<String, User>, LookupError> {
    let uids: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let mut tables = tables_of(host).await?;
    let mut name = |name: &str| tables.name(&format!("{prefix}{name}"));
    let sql = format!(
        "SELECT w.uid, u.displayname, a.data,
                ARRAY(SELECT g.gid::text FROM {} g WHERE g.uid = w.uid ORDER BY 1)
           FROM unnest($1::text[]) w (uid)
           LEFT JOIN {} u ON u.uid = w.uid
           LEFT JOIN {} a ON a.uid = w.uid",
        name("group_user"),
        name("users"),
        name("accounts"),
    );
    let rows = query_host(host, "users", &tables, &[&sql], &[(&uids, Type::TEXT_ARRAY)]).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let account: Option<&str> = row.get(2);
            let display_name = row
                .get::<_, Option<&str>>(1)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .or_else(|| account_name(account?));
            let user = User {
                display_name,
                groups: row.get(3),
            };
            (row.get(0), user)
        })
        .collect())
}

/// The display name among a user's account data.
fn account_name(data: &str) -> Option<String> {
    let data = orw_model::json::parse(data).ok()?;
    let name = data.get("displayname")?.get("value")?.as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}
