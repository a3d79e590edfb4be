//! `webhook`: the registrations, changed in the database without the API. Running sidecars notice a change within a second.

mod flags;
mod print;
mod send_test;
mod statistics;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::args::CommonArgs;
use super::failure::Failure;
use super::registry::{find, open, unknown};
use super::{caller, database, given};
use crate::config::Settings;
use crate::delivery::handshake::{self, EnableError};
use crate::lifecycle::EventType;
use crate::registry::{
    Changed, Fields, Refused, Registration, Registry, RegistryError, Status, Webhook, WebhookId, parse_secret,
};
use orw_egress::{Client, Guard};

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
    /// Show a webhook with every field
    Show(OneWebhook),
    /// Register a webhook, and show its signing secret this once; on a terminal it asks for --uri and --event if they are missing
    Add {
        #[command(flatten)]
        flags: Box<WebhookFlags>,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Change the fields that are given, and keep the others
    Update {
        /// The webhook
        #[arg(value_parser = crate::arguments::id)]
        id: i64,
        #[command(flatten)]
        flags: Box<WebhookFlags>,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Remove a webhook; what is pending for it is cancelled
    Remove(OneWebhook),
    /// Deliver again, what is pending first
    Enable(OneWebhook),
    /// Collect no new events; what is pending is kept
    Disable {
        /// The reason, which is shown with the webhook
        #[arg(long, default_value = "disabled on the command line")]
        reason: String,
        #[command(flatten)]
        one: OneWebhook,
    },
    /// Collect events, but deliver nothing
    Pause(OneWebhook),
    /// Deliver what was collected, in order
    Resume(OneWebhook),
    /// Send a test event now, and show the result
    Test {
        /// Send an event of this class instead of the first that the webhook is registered for; or openregister-webhooks.gap
        #[arg(long, value_parser = crate::arguments::event_type)]
        class: Option<EventType>,
        /// Make the body with this template (or @FILE) instead of the webhook's format; nothing is saved
        #[arg(long, value_name = "TEXT")]
        template: Option<String>,
        #[command(flatten)]
        one: OneWebhook,
    },
    /// Show how much is pending, how many deliveries succeeded or were given up, and how long they took
    Statistics {
        /// Only of this webhook
        #[arg(value_parser = crate::arguments::id)]
        id: Option<i64>,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// Make a new signing secret; the old one signs beside it for a while
    RotateSecret {
        /// How long both secrets sign, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
        overlap: u64,
        /// A secret of your own (`whsec_…`), or `@FILE`
        #[arg(long, value_name = "SECRET")]
        secret: Option<String>,
        #[command(flatten)]
        one: OneWebhook,
    },
    /// Show who changed what, newest first
    Audit {
        /// Only changes of this webhook
        #[arg(value_parser = crate::arguments::id)]
        id: Option<i64>,
        /// How many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
        /// Only changes older than this one: goes on where the last list ended
        #[arg(long, value_name = "ID", value_parser = crate::arguments::id)]
        before: Option<i64>,
        #[command(flatten)]
        common: CommonArgs,
    },
}

/// A command about one webhook.
#[derive(Debug, Args)]
struct OneWebhook {
    /// The webhook
    #[arg(value_parser = crate::arguments::id)]
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
            | Self::Statistics { common, .. }
            | Self::Audit { common, .. } => common,
            Self::Show(one)
            | Self::Remove(one)
            | Self::Enable(one)
            | Self::Pause(one)
            | Self::Resume(one)
            | Self::Disable { one, .. }
            | Self::RotateSecret { one, .. }
            | Self::Test { one, .. } => &one.common,
        }
    }
}

pub(super) fn run(args: WebhookArgs) -> anyhow::Result<ExitCode> {
    let settings = args.action.common().settings.clone();
    database::command(settings, async move |settings| {
        execute(&settings, args.action).await
    })
}

async fn execute(settings: &Settings, action: Action) -> Result<ExitCode, Failure> {
    let json = action.common().json;
    let registry = open(settings).await?;
    match action {
        Action::List(_) => print::list(registry.snapshot().all(), json),
        Action::Show(one) => print::show(&*find(&registry, one.id)?, json),
        Action::Add { flags, .. } => print::changed(&add(settings, &registry, &flags).await?, json),
        Action::Update { id, flags, .. } => {
            print::changed(&update(settings, &registry, id, &flags).await?, json);
        }
        Action::Remove(one) => remove(&registry, one.id, json).await?,
        Action::Enable(one) | Action::Resume(one) => {
            enable(settings, &registry, one.id, json).await?;
        }
        Action::Pause(one) => set_status(&registry, one.id, Status::Paused, json).await?,
        Action::Disable { reason, one } => {
            let since = chrono::Utc::now();
            set_status(&registry, one.id, Status::Disabled { reason, since }, json).await?;
        }
        Action::RotateSecret { overlap, secret, one } => {
            let changed = rotate_secret(&registry, one.id, secret.as_deref(), overlap).await?;
            print::changed(&changed, json);
        }
        Action::Test { class, template, one } => {
            let webhook = find(&registry, one.id)?;
            let template = template.as_deref().map(flags::template).transpose()?;
            let webhook =
                template.map_or_else(|| Arc::clone(&webhook), |it| Arc::new(webhook.with_template(it)));
            return send_test::run(settings, &webhook, class, json).await;
        }
        Action::Statistics { id, .. } => statistics::run(settings, &registry, id, json).await?,
        Action::Audit {
            id, limit, before, ..
        } => {
            let entries = registry.audit(id.map(WebhookId), before, limit).await?;
            print::history(&entries, limit, json);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the receiver whether it wants requests, if the registration says so.
async fn ask_receiver(
    settings: &Settings,
    registration: &mut Registration,
    stored: Option<&Webhook>,
) -> Result<(), Failure> {
    if registration.wish(stored).is_none() {
        return Ok(());
    }
    let client = Client::new(settings.outgoing(orw_egress::client_config(settings.ca_file.as_deref())?));
    handshake::before_saving(&client, registration, stored)
        .await
        .map_err(|error| Failure::Failed(error.to_string()))
}

async fn add(settings: &Settings, registry: &Registry, flags: &WebhookFlags) -> Result<Changed, Failure> {
    let mut registration = registration(settings, &flags.asked()?.fields(None)?)?;
    ask_receiver(settings, &mut registration, None).await?;
    Ok(registry.create(&caller::caller(), registration).await?)
}

async fn update(
    settings: &Settings,
    registry: &Registry,
    id: i64,
    flags: &WebhookFlags,
) -> Result<Changed, Failure> {
    let stored = find(registry, id)?;
    let mut registration = registration(settings, &flags.fields(Some(&*stored))?)?;
    ask_receiver(settings, &mut registration, Some(&*stored)).await?;
    Ok(registry
        .update(&caller::caller(), WebhookId(id), registration)
        .await?)
}

async fn remove(registry: &Registry, id: i64, json: bool) -> Result<(), Failure> {
    if !registry.delete(&caller::caller(), WebhookId(id)).await? {
        return Err(unknown(RegistryError::NotFound(WebhookId(id))));
    }
    print::removed(id, json);
    Ok(())
}

/// Enables or resumes a webhook, if its receiver allows that.
async fn enable(settings: &Settings, registry: &Registry, id: i64, json: bool) -> Result<(), Failure> {
    let client = Client::new(settings.outgoing(orw_egress::client_config(settings.ca_file.as_deref())?));
    let done = handshake::enable(&client, registry, &caller::caller(), WebhookId(id)).await;
    let changed = done.map_err(|error| match error {
        EnableError::Registry(error) => unknown(error),
        EnableError::Handshake(error) => Failure::Failed(error.to_string()),
    })?;
    print::changed(&changed, json);
    Ok(())
}

async fn set_status(registry: &Registry, id: i64, status: Status, json: bool) -> Result<(), Failure> {
    let changed = registry
        .set_status(&caller::caller(), WebhookId(id), status)
        .await
        .map_err(unknown)?;
    print::changed(&changed, json);
    Ok(())
}

async fn rotate_secret(
    registry: &Registry,
    id: i64,
    secret: Option<&str>,
    overlap: u64,
) -> Result<Changed, Failure> {
    let mut fields = Fields::default();
    if let Some(secret) = secret {
        let secret = given::text(secret)?;
        fields.or_insert("secret", || secret.into());
    }
    let secret = parse_secret(&fields).map_err(|refused| Failure::Usage(refused.to_string()))?;
    registry
        .rotate_secret(
            &caller::caller(),
            WebhookId(id),
            secret,
            Duration::from_secs(overlap),
        )
        .await
        .map_err(unknown)
}

fn registration(settings: &Settings, fields: &Fields) -> Result<Registration, Failure> {
    let guard = Guard::new(settings.targets_allow.clone(), settings.targets_allow_http);
    Registration::parse(fields, &guard).map_err(|refused| {
        Failure::Usage(match refused {
            // The message may end with a question ("did you mean …?"), so that what follows is in brackets.
            Refused::Event(_) => format!(
                "{refused} (`openregister-webhooks events` lists those that are; gap events come with --gap-events true)"
            ),
            other => other.to_string(),
        })
    })
}
