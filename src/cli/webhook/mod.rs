//! `webhook`: the registrations, changed in the database without the API. Running sidecars see it within a second.

mod flags;
mod send_test;
mod statistics;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::args::CommonArgs;
use super::failure::Failure;
use super::registry::{find, open, unknown};
use super::{caller, database, output};
use crate::config::Settings;
use crate::lifecycle::EventType;
use crate::registry::{
    AuditEntry, Changed, Fields, Refused, Registration, RegistryError, Status, Webhook, WebhookId,
    parse_secret, view,
};
use orw_egress::Guard;

use flags::WebhookFlags;

#[derive(Debug, Args)]
pub(super) struct WebhookArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the registered webhooks
    List(CommonArgs),
    /// Show one with every field
    Show(One),
    /// Register one, and show its signing secret this once
    Add {
        #[command(flatten)]
        flags: Box<WebhookFlags>,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Change what is given and leave the rest
    Update {
        /// The webhook
        id: i64,
        #[command(flatten)]
        flags: Box<WebhookFlags>,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Remove one; what is pending for it is cancelled
    Remove(One),
    /// Deliver again: what is pending comes first
    Enable(One),
    /// Collect nothing new; what is pending is kept
    Disable {
        /// Shown with the webhook
        #[arg(long, default_value = "disabled on the command line")]
        reason: String,
        #[command(flatten)]
        one: One,
    },
    /// Go on collecting, deliver nothing
    Pause(One),
    /// Deliver what was collected, in order
    Resume(One),
    /// Send a test event now, and show what came of it
    Test {
        /// Send an event of this class instead of the first that the webhook is registered for; or openregister-webhooks.gap
        #[arg(long, value_parser = crate::arguments::event_type)]
        class: Option<EventType>,
        #[command(flatten)]
        one: One,
    },
    /// Show what waits, what came of the rest, and how long it took
    Statistics {
        /// Only of this webhook
        id: Option<i64>,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Make a new signing secret; the old one goes on signing beside it for a while
    RotateSecret {
        /// How long both sign, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
        overlap: u64,
        /// A secret of your own (`whsec_…`), or `@FILE`
        #[arg(long, value_name = "SECRET")]
        secret: Option<String>,
        #[command(flatten)]
        one: One,
    },
    /// Show who changed what, newest first
    Audit {
        /// Only changes of this webhook
        id: Option<i64>,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
        #[command(flatten)]
        common: CommonArgs,
    },
}

#[derive(Debug, Args)]
struct One {
    /// The webhook
    id: i64,
    #[command(flatten)]
    common: CommonArgs,
}

impl Action {
    const fn common(&self) -> &CommonArgs {
        match self {
            Self::List(common)
            | Self::Add { common, .. }
            | Self::Update { common, .. }
            | Self::Audit { common, .. } => common,
            Self::Show(one)
            | Self::Remove(one)
            | Self::Enable(one)
            | Self::Pause(one)
            | Self::Resume(one) => &one.common,
            Self::Disable { one, .. } | Self::RotateSecret { one, .. } | Self::Test { one, .. } => {
                &one.common
            }
            Self::Statistics { common, .. } => common,
        }
    }
}

pub(super) fn run(args: WebhookArgs) -> anyhow::Result<ExitCode> {
    let settings = args.action.common().settings.clone();
    database::command(settings, async move |settings| act(&settings, args.action).await)
}

async fn act(settings: &Settings, action: Action) -> Result<ExitCode, Failure> {
    let json = action.common().json;
    let registry = open(settings).await?;
    let by = caller::caller();
    match action {
        Action::List(_) => list(registry.snapshot().all(), json),
        Action::Show(One { id, .. }) => show(&*find(&registry, id)?, json),
        Action::Add { flags, .. } => {
            let asked = registration(settings, &flags.fields(None)?)?;
            report(&registry.create(&by, asked).await?, json);
        }
        Action::Update { id, flags, .. } => {
            let fields = flags.fields(Some(&*find(&registry, id)?))?;
            let asked = registration(settings, &fields)?;
            report(&registry.update(&by, WebhookId(id), asked).await?, json);
        }
        Action::Remove(One { id, .. }) => {
            if !registry.delete(&by, WebhookId(id)).await? {
                return Err(unknown(RegistryError::NotFound(WebhookId(id))));
            }
            tell(json, &json!({"removed": id}), &format!("removed {id}"));
        }
        Action::Enable(One { id, .. }) | Action::Resume(One { id, .. }) => {
            let changed = registry.set_status(&by, WebhookId(id), Status::Enabled).await;
            report(&changed.map_err(unknown)?, json);
        }
        Action::Pause(One { id, .. }) => {
            let changed = registry.set_status(&by, WebhookId(id), Status::Paused).await;
            report(&changed.map_err(unknown)?, json);
        }
        Action::Disable { reason, one } => {
            let status = Status::Disabled {
                reason,
                since: chrono::Utc::now(),
            };
            let changed = registry.set_status(&by, WebhookId(one.id), status).await;
            report(&changed.map_err(unknown)?, json);
        }
        Action::RotateSecret { overlap, secret, one } => {
            let mut fields = Fields::default();
            if let Some(secret) = secret {
                let secret = flags::text(&secret)?;
                fields.or_insert("secret", || secret.into());
            }
            let secret = parse_secret(&fields).map_err(|refused| Failure::Usage(refused.to_string()))?;
            let overlap = Duration::from_secs(overlap);
            let changed = registry
                .rotate_secret(&by, WebhookId(one.id), secret, overlap)
                .await;
            report(&changed.map_err(unknown)?, json);
        }
        Action::Test { class, one } => {
            return send_test::run(settings, &*find(&registry, one.id)?, class, json).await;
        }
        Action::Statistics { id, .. } => statistics::run(settings, &registry, id, json).await?,
        Action::Audit { id, limit, .. } => {
            history(&registry.audit(id.map(WebhookId), None, limit).await?, json);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn registration(settings: &Settings, fields: &Fields) -> Result<Registration, Failure> {
    let guard = Guard::new(settings.targets_allow.clone(), settings.targets_allow_http);
    Registration::parse(fields, &guard).map_err(|refused| {
        Failure::Usage(match refused {
            Refused::Event(_) => format!(
                "{refused}; `openregister-webhooks events` lists those that are, and gap events come with --gap-events true"
            ),
            other => other.to_string(),
        })
    })
}

fn list(all: &[Arc<Webhook>], json: bool) {
    if json {
        let all: Vec<_> = all
            .iter()
            .map(|webhook| Value::Object(view::whole(webhook)))
            .collect();
        return output::json(&all.into());
    }
    if all.is_empty() {
        output::note("no webhook is registered");
    }
    let name = |webhook: &Webhook| {
        webhook
            .event
            .as_str()
            .rsplit('\\')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let width = all
        .iter()
        .map(|webhook| name(webhook).len())
        .max()
        .unwrap_or_default();
    for webhook in all {
        let line = format!(
            "{}  {:8}  {:width$}  {}",
            webhook.id,
            webhook.status.name(),
            name(webhook),
            webhook.uri
        );
        output::say(line);
    }
}

fn show(webhook: &Webhook, json: bool) {
    let fields = view::whole(webhook);
    if json {
        return output::json(&fields.into());
    }
    for (name, value) in fields {
        match value {
            Value::Null => {}
            Value::String(text) => output::say(format_args!("{name:15} {text}")),
            other => output::say(format_args!("{name:15} {other}")),
        }
    }
}

/// What a change made of a webhook, the secret among it if the change set it.
fn report(changed: &Changed, json: bool) {
    for warning in &changed.warnings {
        output::note(format_args!("warning: {warning}"));
    }
    let webhook = &changed.webhook;
    if json {
        let mut fields = view::whole(webhook);
        if let Some(secret) = &changed.secret {
            fields.insert("secret".to_owned(), view::shown(secret));
        }
        return output::json(&fields.into());
    }
    output::say(format_args!(
        "{}  {}  {}",
        webhook.id,
        webhook.status.name(),
        webhook.uri
    ));
    if let Some(secret) = &changed.secret
        && let Value::String(secret) = view::shown(secret)
    {
        output::say(format_args!("signing secret, shown this once: {secret}"));
    }
}

fn history(entries: &[AuditEntry], json: bool) {
    if json {
        return output::json(&entries.iter().map(view::audited).collect());
    }
    if entries.is_empty() {
        output::note("nothing was changed that is still kept");
    }
    for entry in entries {
        output::say(format_args!(
            "{}  {:14} {}  {}  {}",
            entry.at.format("%Y-%m-%d %H:%M:%S"),
            entry.action,
            entry.webhook,
            entry.who,
            entry.client.as_deref().unwrap_or("-"),
        ));
    }
}

fn tell(json: bool, value: &Value, line: &str) {
    if json {
        output::json_line(value);
    } else {
        output::say(line);
    }
}
