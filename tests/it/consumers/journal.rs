//! What a consumer must have stored, told from Nextcloud's table alone.
//!
//! Every committed change of an object raises its `age` by one, so an object whose age is n has been changed n times: its updates must be in
//! the journal with the ages 1 to n, each once, in that order.

use std::collections::HashMap;

use serde_json::Value;
use tokio_postgres::Client;

/// The age of each object.
pub(super) async fn ages(client: &Client) -> HashMap<String, i64> {
    let sql = "SELECT _uuid, age::bigint FROM oc_openregister_table_1_1";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Changes one object in each statement, `count` in one transaction.
pub(super) async fn change(client: &mut Client, objects: &[String]) {
    let transaction = client.transaction().await.unwrap();
    for uuid in objects {
        let sql = "UPDATE oc_openregister_table_1_1 SET age = age + 1, _updated = clock_timestamp() WHERE _uuid = $1";
        assert_eq!(transaction.execute(sql, &[uuid]).await.unwrap(), 1);
    }
    transaction.commit().await.unwrap();
}

/// Whether the journal has every change of every object once, in order; if not, what is wrong.
pub(super) fn check(journal: &[Value], ages: &HashMap<String, i64>) -> Result<(), String> {
    let mut last: HashMap<&str, i64> = HashMap::new();
    for body in journal {
        let data = &body["data"];
        let uuid = data["newObject"]["uuid"].as_str().unwrap();
        let age = data["newObject"]["data"]["age"].as_i64().unwrap();
        let before = last.insert(uuid, age).unwrap_or(0);
        if age != before + 1 {
            return Err(format!(
                "{uuid}: {age} after {before}: lost, doubled or out of order"
            ));
        }
    }
    for (uuid, age) in ages {
        let stored = last.remove(uuid.as_str()).unwrap_or(0);
        if stored != *age {
            return Err(format!("{uuid}: {stored} of {age} changes"));
        }
    }
    if last.is_empty() {
        Ok(())
    } else {
        Err(format!("changes of objects that do not exist: {last:?}"))
    }
}

#[test]
fn the_check_notices_what_is_lost_doubled_or_out_of_order() {
    let change = |age: i64| serde_json::json!({"data": {"newObject": {"uuid": "u", "data": {"age": age}}}});
    let good = |stored: &[i64], age: i64| {
        let journal: Vec<Value> = stored.iter().copied().map(change).collect();
        check(&journal, &HashMap::from([("u".to_owned(), age)])).is_ok()
    };
    assert!(good(&[1, 2, 3], 3));
    for (stored, age) in [
        (&[1, 3][..], 3),
        (&[1, 1, 2], 2),
        (&[2, 1], 2),
        (&[1, 2], 3),
        (&[], 1),
        (&[1], 0),
    ] {
        assert!(!good(stored, age), "{stored:?} {age}");
    }
}
