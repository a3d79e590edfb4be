//! `make bench`: one program that measures, in sections.
//!
//! Every figure stands beside its reference from the same run: what is compared takes turns, in rounds, and the median of the
//! rounds counts (`rounds`). A section gives tables, which are printed as Markdown, and ratios, which `make bench-check` compares
//! with `benches/baseline.json` (`baseline`): ratios of CPU time, never times, because the machine may be busy.
//!
//! `bench [SECTION …] [--write | --check | --bless]`: without a name all sections; `--write` puts the tables into
//! `docs/BENCHMARKS.md` and `docs/benchmarks.json`, `--check` compares the ratios, `--bless` makes them the baseline.
//! `ORW_TEST_BENCH_SECONDS` and `ORW_TEST_BENCH_ROUNDS` say how long a measurement takes and how often it is repeated.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod baseline;
mod cpu;
mod machine;
mod references;
mod report;
mod rounds;
mod sections;
mod server;
mod sidecar;
mod wal;
mod writers;

use std::process::ExitCode;
use std::time::Duration;

use report::Report;
use sections::{SECTIONS, Section};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    /// How long one measurement of a rate takes.
    pub(crate) seconds: Duration,
    /// How often everything is measured.
    pub(crate) rounds: usize,
    /// Only what the ratios need.
    pub(crate) ratios_only: bool,
}

/// What is done with what was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Purpose {
    Show,
    Write,
    Check,
    Bless,
}

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if arguments == [sections::delivery::receiver::ARGUMENT] {
        let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
        runtime.block_on(sections::delivery::receiver::be());
        return ExitCode::SUCCESS;
    }
    if let [command, name, count] = arguments.as_slice()
        && command == "--evaluate"
    {
        sections::filter::evaluate(name, count.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }
    let (options, names): (Vec<&str>, Vec<&str>) = arguments
        .iter()
        .map(String::as_str)
        .partition(|a| a.starts_with("--"));
    let purpose = match options.as_slice() {
        [] => Purpose::Show,
        ["--write"] => Purpose::Write,
        ["--check"] => Purpose::Check,
        ["--bless"] => Purpose::Bless,
        other => return refuse(&format!("unknown option {}", other.join(" "))),
    };
    let gated = matches!(purpose, Purpose::Check | Purpose::Bless);
    for name in &names {
        if !SECTIONS.iter().any(|s| s.name == *name) {
            return refuse(&format!("no section is called {name}"));
        }
    }
    let chosen = SECTIONS.iter().filter(|section| {
        let named = names.contains(&section.name);
        named || (names.is_empty() && (section.gated || !gated))
    });
    let scope = Scope {
        seconds: Duration::from_secs(number("ORW_TEST_BENCH_SECONDS").unwrap_or(3)),
        rounds: usize::try_from(number("ORW_TEST_BENCH_ROUNDS").unwrap_or(5)).expect("a small number"),
        ratios_only: gated,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads can be started");
    println!("{}\n", machine::describe());
    let mut good = true;
    for section in chosen {
        println!("## {}: {}\n", section.name, section.about);
        let report = runtime.block_on((section.run)(scope));
        println!("{}", report.markdown());
        good &= conclude(purpose, section, report, || {
            runtime.block_on((section.run)(scope))
        });
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Does with a report what it was made for; whether that is good. `again` measures once more.
fn conclude(purpose: Purpose, section: &Section, report: Report, again: impl FnOnce() -> Report) -> bool {
    match purpose {
        Purpose::Show => true,
        Purpose::Write => {
            report::store(section.name, &report);
            true
        }
        Purpose::Bless => {
            baseline::bless(section.name, &report.ratios);
            true
        }
        Purpose::Check => {
            let worse = baseline::worse(section.name, &report.ratios);
            if worse.is_empty() {
                return true;
            }
            // A disturbance does not come twice at the same place; a regression does.
            println!("{}\nmeasured once more:\n", worse.join("\n"));
            let second = again();
            println!("{}", second.markdown());
            let worse = baseline::worse(section.name, &second.ratios);
            println!("{}", worse.join("\n"));
            worse.is_empty()
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} must be a number, not {text}")),
    )
}

fn refuse(why: &str) -> ExitCode {
    println!("{why}; usage: bench [SECTION …] [--write | --check | --bless], with the sections:");
    for section in SECTIONS {
        println!("  {:<10} {}", section.name, section.about);
    }
    ExitCode::FAILURE
}
