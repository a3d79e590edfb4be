//! What a request leaves besides the rows that it is about: audit rows and activity rows.

use serde_json::{Value, json};
use uuid::Uuid;

use super::error::WriterError;
use super::place::Object;
use super::rows::{object_of, uuid};
use super::session::Writer;

/// One HTTP request.
#[derive(Debug)]
pub(super) struct Request {
    id: String,
    session: String,
}

impl Request {
    pub(super) fn new() -> Self {
        let random = Uuid::now_v7().simple().to_string();
        Self {
            id: random.chars().rev().take(20).collect(),
            session: random.chars().rev().take(26).collect(),
        }
    }
}

impl Writer {
    /// Writes the audit row of an action on an object.
    pub(super) async fn audit(
        &self,
        request: &Request,
        object: &Object,
        action: &str,
        changed: Value,
    ) -> Result<(), WriterError> {
        if !self.audits && !matches!(action, "lock" | "unlock") {
            return Ok(());
        }
        let row = object_of(json!({
            "uuid": uuid(), "schema": object.place.schema, "object": object.id, "action": action,
            "changed": changed, "user": self.user, "user_name": self.user, "session": request.session,
            "request": request.id, "ip_address": "127.0.0.1", "created": self.timestamp(),
            "register": object.place.register, "object_uuid": object.uuid, "size": 1241,
            "expires": (self.now() + chrono::Days::new(30)).format("%Y-%m-%d %H:%M:%S").to_string(),
        }));
        self.insert_with_id("oc_openregister_audit_trails", &row).await?;
        Ok(())
    }

    /// Writes the row for the activity app, if the generation does so.
    pub(super) async fn activity(&self, kind: &str, id: i64, action: &str) -> Result<(), WriterError> {
        if !self.generation.has_activity() {
            return Ok(());
        }
        let row = object_of(json!({
            "timestamp": self.now().timestamp(), "priority": 30, "type": "openregister", "user": self.user,
            "affecteduser": self.user, "app": "openregister", "subject": format!("{kind}_{action}"),
            "subjectparams": "{}", "message": "", "messageparams": "[]", "file": "", "link": "",
            "object_type": kind, "object_id": id,
        }));
        self.insert("oc_activity", &row).await
    }
}
