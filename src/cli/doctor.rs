//! `doctor`: finds what keeps events from arriving.

use std::process::ExitCode;

use clap::Args;

use super::args::SettingsArgs;
use super::failure::Failure;
use super::{database, output};
use crate::config::Settings;
use crate::doctor::{self, Level, Report};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Where the text of a finding begins.
const HANGING: usize = 22;

/// Examines the installation; the exit code is 1 if there is an error.
pub(super) fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let given = args.settings.clone();
    database::command(given, async move |settings| doctor(&settings, &args).await)
}

async fn doctor(settings: &Settings, args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let database = database::database(settings)?;
    let report = doctor::examine(&database, settings).await;
    output::may_be_long();
    if args.json {
        output::json(&report.json());
    } else {
        table(&report);
    }
    Ok(if report.worst() == Level::Error {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Each finding in one line, with its cause and remedy below it; the totals come last.
fn table(report: &Report) {
    for finding in &report.findings {
        let head = format!("{:8} {:12} {}", finding.level.name(), finding.check, finding.what);
        output::prose(head, HANGING);
        let more = [("cause", &finding.cause), ("remedy", &finding.remedy)];
        for (name, text) in more {
            if let Some(text) = text {
                output::prose(format_args!("{:HANGING$}{name}: {text}", ""), HANGING + 2);
            }
        }
    }
    let (errors, warnings) = (report.count(Level::Error), report.count(Level::Warning));
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    output::say(match (errors, warnings) {
        (0, 0) => "everything is fine".to_owned(),
        (0, warnings) => format!("no errors, {}", count(warnings, "warning")),
        (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    });
}
