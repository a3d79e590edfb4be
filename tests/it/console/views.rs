//! The views for tools that speak SQL.

use orw_testkit::Generation;

use crate::support::cli::install;
use crate::support::postgres::Db;

/// For tools that speak SQL: a role that may read the views, and nothing else, sees what the console shows.
#[tokio::test]
async fn the_views_need_no_right_on_the_tables() {
    let db = Db::openregister(Generation::V0_2_13).await;
    install(&db).await;
    let role = db.role("grafana").await;
    let owner = db.client().await;
    let views = owner
        .query("SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'openregister_webhooks' AND c.relkind = 'v' AND c.relname LIKE 'show\\_%'", &[])
        .await
        .unwrap();
    let views: Vec<String> = views.iter().map(|row| row.get(0)).collect();
    assert_eq!(views.len(), 9, "{views:?}");
    owner
        .batch_execute(&format!("GRANT USAGE ON SCHEMA openregister_webhooks TO {role}"))
        .await
        .unwrap();
    let tool = db.client_as(&role).await;
    let page = include_str!("../../../docs/console.md");
    for view in &views {
        assert!(
            page.contains(&format!("`{view}`")),
            "docs/console.md does not name {view}"
        );
        let sql = format!("SELECT * FROM openregister_webhooks.{view}");
        assert_eq!(
            tool.query(&sql, &[]).await.unwrap_err().code().unwrap().code(),
            "42501"
        );
        owner
            .batch_execute(&format!("GRANT SELECT ON openregister_webhooks.{view} TO {role}"))
            .await
            .unwrap();
        tool.query(&sql, &[]).await.unwrap();
    }
    assert!(
        tool.query("SELECT * FROM openregister_webhooks.webhook", &[])
            .await
            .is_err()
    );
    let tables = tool
        .query_one(
            "SELECT count(*) FROM openregister_webhooks.show_tables WHERE captured",
            &[],
        )
        .await
        .unwrap();
    assert!(tables.get::<_, i64>(0) > 5);
}
