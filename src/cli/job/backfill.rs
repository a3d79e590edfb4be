//! `backfill`.

use std::process::ExitCode;

use clap::Args;

use super::progress::{refused, watch_all};
use crate::cli::args::CommonArgs;
use crate::cli::failure::Failure;
use crate::cli::{caller, database, registry};
use crate::config::Settings;
use crate::pipeline::jobs::{BackfillRequest, start_backfill};
use orw_model::{Action, EventClass, TableName};

/// Deliver every current object as created, or those of a register or schema. Each object's event comes in order with its later
/// changes
#[derive(Debug, Args)]
pub(in crate::cli) struct BackfillArgs {
    /// Only for this webhook; without it, for every webhook that is registered for what is sent
    #[arg(long, value_name = "ID", value_parser = crate::arguments::id)]
    webhook: Option<i64>,
    /// Only objects of this register: numeric id, uuid or slug
    #[arg(long)]
    register: Option<String>,
    /// Only objects of this schema: numeric id, uuid or slug
    #[arg(long)]
    schema: Option<String>,
    /// Only what is in this table, such as oc_openregister_table_1_2
    #[arg(long, conflicts_with_all = ["register", "schema"])]
    table: Option<String>,
    /// Start the job, and do not wait for its end
    #[arg(long)]
    background: bool,
    #[command(flatten)]
    common: CommonArgs,
}

pub(in crate::cli) fn run(args: BackfillArgs) -> anyhow::Result<ExitCode> {
    database::command(args.common.settings.clone(), async move |settings| {
        backfill(&settings, args).await
    })
}

async fn backfill(settings: &Settings, args: BackfillArgs) -> Result<ExitCode, Failure> {
    let registry = registry::open(settings).await?;
    let webhooks = match args.webhook {
        Some(id) => vec![registry::find(&registry, id)?],
        None => {
            let kind = args
                .table
                .as_deref()
                .and_then(|table| TableName::parse(table, &settings.table_prefix))
                .map_or(orw_model::EntityKind::Object, |table| table.store().kind());
            let class = EventClass::new(kind, Action::Created);
            class.map_or_else(Vec::new, |class| registry.snapshot().for_class(class).to_vec())
        }
    };
    if webhooks.is_empty() {
        return Err(Failure::Failed(
            "no enabled webhook is registered for what a backfill sends, such as ObjectCreatedEvent; name a webhook with --webhook"
                .to_owned(),
        ));
    }
    let mut client = database::connect(&database::database(settings)?).await?;
    let ask = BackfillRequest {
        register: args.register,
        schema: args.schema,
        table: args.table,
    };
    let mut jobs = Vec::new();
    for webhook in &webhooks {
        let by = caller::caller();
        let job = start_backfill(&mut client, &settings.table_prefix, webhook, &ask, &by)
            .await
            .map_err(refused)?;
        jobs.push(job);
    }
    watch_all(&client, jobs, args.background, args.common.json).await
}
