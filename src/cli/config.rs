//! `config`: the settings in effect.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::args::ListedSettingsArgs;
use super::output;
use super::table::{Column, Table};
use crate::config::{Effective, Loaded, Problem, Settings};

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// Print the settings as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: ListedSettingsArgs,
}

pub(super) fn run(args: ConfigArgs) -> anyhow::Result<ExitCode> {
    let loaded = Loaded::read(&args.settings.0.sources());
    let problems = loaded
        .settings
        .as_ref()
        .err()
        .map_or(&[][..], |error| &error.problems);
    output::may_be_long();
    if args.json {
        output::json(&as_json(&loaded.effective, problems));
    } else {
        as_table(&loaded.effective).print();
        for problem in problems {
            output::note(format_args!("error: {problem}"));
        }
        for advice in loaded.settings.iter().flat_map(Settings::advice) {
            output::note(format_args!("warning: {advice}"));
        }
    }
    Ok(if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}

fn as_json(effective: &[Effective], problems: &[Problem]) -> serde_json::Value {
    let settings: Vec<_> = effective
        .iter()
        .map(|e| {
            json!({
                "name": e.setting.name, "variable": e.setting.variable(), "value": e.value,
                "origin": e.origin.to_string(), "about": e.setting.about,
            })
        })
        .collect();
    let problems: Vec<_> = problems
        .iter()
        .map(|p| json!({"name": p.name, "reason": p.reason}))
        .collect();
    json!({"settings": settings, "problems": problems})
}

fn as_table(effective: &[Effective]) -> Table<3> {
    let mut table = Table::new([
        Column::text("SETTING"),
        Column::long("VALUE"),
        Column::long("FROM"),
    ]);
    for one in effective {
        table.row([
            one.setting.name.into(),
            one.value.as_deref().unwrap_or("-").into(),
            (&one.origin).into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn both_forms_name_the_origin_and_hide_secrets() {
        let pairs = [
            ("ORW_DATABASE_URL", "postgres://nc:s3cret@db/nextcloud"),
            ("ORW_MASTER_KEY", "s3cret"),
        ];
        let sources = Sources {
            environment: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..Sources::default()
        };
        let loaded = Loaded::read(&sources);
        let problems = &loaded.settings.as_ref().unwrap_err().problems;
        let json = as_json(&loaded.effective, problems);
        assert_eq!(
            json["settings"][0]["value"],
            "postgres://nc:***@db:5432/nextcloud"
        );
        assert_eq!(json["settings"][0]["origin"], "ORW_DATABASE_URL");
        assert_eq!(json["problems"][0]["name"], "ORW_MASTER_KEY");
        let table = as_table(&loaded.effective).lines(None, false);
        assert!(
            table
                .iter()
                .any(|line| line.starts_with("master_key ") && line.contains("***"))
        );
        assert!(!table.concat().contains("s3cret") && !json.to_string().contains("s3cret"));
    }
}
