//! `filter eval` and `filter check`.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output;
use super::template_check;
use crate::lifecycle::EventType;
use crate::terminal::Json;
use orw_filter::{Document, Filter, MAX_BYTES, MAX_DEPTH};

/// The longest line that is read into memory, in bytes.
const MAX_LINE: usize = 32 * 1024 * 1024;

#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    #[command(subcommand)]
    command: FilterCommand,
}

#[derive(Debug, Subcommand)]
enum FilterCommand {
    /// Evaluate filters: read a JSON object {"filter": …, "document": …} from each line of standard input, and answer each with
    /// a line {"result": true}, {"result": false} or {"error": "…"}
    Eval {
        /// Evaluate this filter on every line; each line is then a document itself
        #[arg(long, value_name = "JSON")]
        filter: Option<String>,
    },
    /// Check one filter as registration does: say what is refused and where, and what can never match
    Check {
        /// The filter as JSON; without this and --file it is read from standard input
        #[arg(value_name = "JSON", conflicts_with = "file")]
        filter: Option<String>,
        /// Read the filter from this file
        #[arg(long, value_name = "PATH")]
        file: Option<PathBuf>,
        /// Check the template in this file instead of a filter, and show the body that it makes of an example
        #[arg(long, value_name = "PATH", conflicts_with_all = ["filter", "file"])]
        template: Option<PathBuf>,
        /// With --template: the event of the example [default: ObjectUpdatedEvent]
        #[arg(long, value_name = "EVENT", requires = "template", value_parser = crate::arguments::event_type)]
        class: Option<EventType>,
        /// Answer with one JSON object {"ok", "warnings"} or {"ok", "place", "reason"}
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: FilterArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        FilterCommand::Eval { filter } => {
            let filter = filter
                .map(|text| -> anyhow::Result<_> {
                    let json = read_json(text.as_bytes()).map_err(|e| anyhow::anyhow!("--filter: {e}"))?;
                    Filter::parse_leniently(&json).context("--filter")
                })
                .transpose()?;
            eval(filter.as_ref(), io::stdin().lock(), output::lines())?;
            Ok(ExitCode::SUCCESS)
        }
        FilterCommand::Check {
            template: Some(path),
            class,
            json,
            ..
        } => {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read the template in {}", path.display()))?;
            Ok(template_check::run(text.trim_end(), class, json))
        }
        FilterCommand::Check {
            filter, file, json, ..
        } => {
            let text = match (filter, file) {
                (Some(text), _) => text.into_bytes(),
                (None, Some(path)) => std::fs::read(&path)
                    .with_context(|| format!("cannot read the filter in {}", path.display()))?,
                (None, None) => {
                    let mut text = Vec::new();
                    io::stdin()
                        .lock()
                        .take(MAX_LINE as u64)
                        .read_to_end(&mut text)
                        .context("cannot read the filter from standard input")?;
                    text
                }
            };
            Ok(check(&text, json))
        }
    }
}

/// Answers each line, in order; the answers are flushed as soon as no further line is waiting.
fn eval(filter: Option<&Filter>, input: impl Read, output: impl Write) -> io::Result<()> {
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let mut output = BufWriter::with_capacity(64 * 1024, output);
    let mut line = Vec::new();
    loop {
        line.clear();
        let answer = match read_line(&mut input, &mut line)? {
            Line::End => return output.flush(),
            Line::TooLong => Err(format!("the line is longer than {MAX_LINE} bytes")),
            Line::Whole => eval_line(filter, &line),
        };
        let answer = match answer {
            Ok(result) => json!({ "result": result }),
            Err(error) => json!({ "error": error }),
        };
        writeln!(output, "{}", Json(&answer))?;
        if input.buffer().is_empty() {
            output.flush()?;
        }
    }
}

fn eval_line(filter: Option<&Filter>, line: &[u8]) -> Result<bool, String> {
    let json = read_json(line)?;
    let (parsed, document) = match filter {
        Some(_) => (None, &json),
        None => {
            let part = |name: &str| {
                json.get(name).ok_or_else(|| {
                    format!("the line has no {name:?}; it needs {{\"filter\": …, \"document\": …}}")
                })
            };
            let filter = Filter::parse_leniently(part("filter")?).map_err(|e| e.to_string())?;
            (Some(filter), part("document")?)
        }
    };
    let document = Document::from_json(document).map_err(|e| e.to_string())?;
    match filter.or(parsed.as_ref()) {
        Some(filter) => filter.matches(&document).map_err(|e| e.to_string()),
        None => Ok(false),
    }
}

fn read_json(text: &[u8]) -> Result<Value, String> {
    orw_model::json::parse_bytes(text).map_err(|error| {
        let error = error.to_string();
        if error.contains("recursion limit") {
            format!("nested deeper than {MAX_DEPTH} levels: {error}")
        } else {
            format!("not JSON: {error}")
        }
    })
}

enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads the next line without its end. A line that is too long is skipped.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    let read = input.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', line)?;
    if read == 0 {
        return Ok(Line::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Line::Whole);
    }
    if line.len() <= MAX_LINE {
        return Ok(Line::Whole);
    }
    line.clear();
    input.skip_until(b'\n')?;
    Ok(Line::TooLong)
}

fn check(text: &[u8], as_json: bool) -> ExitCode {
    let parsed = read_json(text)
        .map_err(|reason| ("filter".to_owned(), reason))
        .and_then(|json| {
            let bytes = json.to_string().len();
            if bytes > MAX_BYTES {
                let reason = format!("must have at most {MAX_BYTES} bytes as JSON, but has {bytes}");
                return Err(("filter".to_owned(), reason));
            }
            Filter::parse(&json).map_err(|error| (error.place, error.reason))
        });
    match parsed {
        Ok(filter) => {
            if as_json {
                output::json_line(&json!({ "ok": true, "warnings": filter.warnings() }));
            } else {
                output::say("OK");
                for warning in filter.warnings() {
                    output::prose(format_args!("warning: {warning}"), 2);
                }
            }
            ExitCode::SUCCESS
        }
        Err((place, reason)) => {
            if as_json {
                output::json_line(&json!({ "ok": false, "place": place, "reason": reason }));
            } else {
                output::prose(format_args!("refused: {place}: {reason}"), 2);
            }
            ExitCode::FAILURE
        }
    }
}
