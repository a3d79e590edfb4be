//! Receives webhooks of openregister-webhooks: verifies each, and stores it exactly once.
//!
//! A delivery may come more than once: after a timeout, a crash on either side, or a replay. Its `webhook-id` is the same every time. So the
//! id and everything that the delivery changes are written in one transaction, before the answer. After a crash either both are there or
//! neither is, and if the answer was lost, the repeat finds the id and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use deadpool_postgres::{Manager, Pool, Runtime, Timeouts};
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio_postgres::NoTls;

/// An update carries an object three times. A larger body gets 413; it is sent again, and given up in the end.
const LARGEST_BODY: usize = 16 * 1024 * 1024;
/// The answer has to come within the webhook's timeout of 15 s.
const TIMEOUT: Duration = Duration::from_secs(10);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS inbox (webhook_id text PRIMARY KEY, received_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX IF NOT EXISTS inbox_received_at ON inbox (received_at);
    CREATE TABLE IF NOT EXISTS journal (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event text NOT NULL, uuid text, body json NOT NULL
    )";
/// Ids are kept for longer than the sidecar can send a delivery again (three days, unless it was configured otherwise).
const FORGET: &str = "
    DELETE FROM inbox WHERE webhook_id IN (
        SELECT webhook_id FROM inbox WHERE received_at < now() - interval '30 days' LIMIT 10 FOR UPDATE SKIP LOCKED
    )";

struct Consumer {
    webhook: Webhook,
    pool: Pool,
}

/// What a request is answered with, if it is not 204.
type Refusal = (StatusCode, String);

fn refusal(status: StatusCode, reason: impl std::fmt::Display) -> Refusal {
    (status, format!("{reason}\n"))
}

async fn hook(State(consumer): State<Arc<Consumer>>, request: Request) -> Result<StatusCode, Refusal> {
    let receiving = async {
        let (head, body) = request.into_parts();
        // The bytes as they came: the signature covers them.
        let body = to_bytes(body, LARGEST_BODY)
            .await
            .map_err(|error| refusal(StatusCode::PAYLOAD_TOO_LARGE, error))?;
        receive(&consumer, &head.headers, body).await
    };
    tokio::time::timeout(TIMEOUT, receiving)
        .await
        .unwrap_or_else(|_| {
            Err(refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "it took too long: try again later",
            ))
        })
}

async fn receive(consumer: &Consumer, headers: &HeaderMap, body: Bytes) -> Result<StatusCode, Refusal> {
    // Also refuses what was signed more than five minutes ago.
    consumer
        .webhook
        .verify(&body, headers)
        .map_err(|error| refusal(StatusCode::UNAUTHORIZED, format_args!("not accepted: {error}")))?;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let id = text("webhook-id").unwrap_or_default();
    if text("orw-reason") == Some("test") {
        // `openregister-webhooks webhook test`: nothing has happened.
        return Ok(StatusCode::NO_CONTENT);
    }
    match store(&consumer.pool, id, &body).await {
        Ok(new) => {
            println!("{} {id}", if new { "stored" } else { "repeat" });
            Ok(StatusCode::NO_CONTENT)
        }
        Err(error) => {
            eprintln!("not stored: {error:#}");
            Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "try again later"))
        }
    }
}

/// Writes the id and the effect together. False if the delivery has been here before.
async fn store(pool: &Pool, webhook_id: &str, body: &[u8]) -> anyhow::Result<bool> {
    let body = std::str::from_utf8(body)?;
    let event: Value = serde_json::from_str(body)?;
    let mut database = pool.get().await?;
    // Rolls back unless it is committed.
    let transaction = database.transaction().await?;
    // If the same delivery is being stored at this moment, this waits until that transaction has ended.
    let inbox = "INSERT INTO inbox (webhook_id) VALUES ($1) ON CONFLICT DO NOTHING";
    let new = transaction.execute(inbox, &[&webhook_id]).await? == 1;
    if new {
        // The effect. Replace it with your own, in this transaction.
        let uuid = event.pointer("/data/object/uuid").and_then(Value::as_str);
        let journal = "INSERT INTO journal (event, uuid, body) VALUES ($1, $2, $3::text::json)";
        let kind = event["event"].as_str().context("it has no event")?;
        transaction.execute(journal, &[&kind, &uuid, &body]).await?;
        transaction.execute(FORGET, &[]).await?;
    }
    transaction.commit().await?;
    Ok(new)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let setting = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    // The signing secret of the webhook, whsec_…, in a file that only this program may read.
    let file = setting("WEBHOOK_SECRET_FILE").unwrap_or_else(|_| "secret".into());
    let secret = std::fs::read_to_string(&file).with_context(|| file.clone())?;
    let mut database: tokio_postgres::Config = setting("DATABASE_URL")?.parse()?;
    database
        .connect_timeout(Duration::from_secs(5))
        .options("-c statement_timeout=5s");
    let seconds = Some(Duration::from_secs(5));
    let pool = Pool::builder(Manager::new(database, NoTls))
        .max_size(8)
        .runtime(Runtime::Tokio1)
        .timeouts(Timeouts {
            wait: seconds,
            create: seconds,
            recycle: seconds,
        })
        .build()?;
    pool.get().await?.batch_execute(SCHEMA).await?;
    let webhook = Webhook::new(secret.trim()).with_context(|| format!("{file} is not whsec_ and base64"))?;
    let app = Router::new()
        .route("/hook", post(hook))
        .with_state(Arc::new(Consumer { webhook, pool }));
    let port = setting("PORT").unwrap_or_else(|_| "9004".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
