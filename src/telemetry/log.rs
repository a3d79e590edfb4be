//! The log: lines on standard error, as text or JSON. Each event is one line, whatever it holds, and nothing in it acts on a terminal
//! ([`crate::terminal`]).
#![allow(clippy::disallowed_methods, reason = "the log is what standard error is for")]

use std::fmt::{self, Display};
use std::io::IsTerminal as _;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::terminal::{Json, Line};

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A log filter that `tracing` cannot parse.
#[derive(Debug, thiserror::Error)]
#[error(
    "ORW_LOG={filter:?} is not a log filter: {source}; write it like info or openregister_webhooks=debug,info"
)]
pub struct InvalidFilter {
    filter: String,
    #[source]
    source: tracing_subscriber::filter::ParseError,
}

/// Sets up the log of the process; a second call changes nothing.
///
/// # Errors
/// If `filter` is not a filter of `tracing`.
pub fn init(filter: &str, format: LogFormat) -> Result<(), InvalidFilter> {
    let parsed = read_filter(filter)?;
    // Colours are added last: before that, escape sequences that an event holds would look like those of the formatter.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_ansi(false)
        .with_writer(std::io::stderr);
    let one_line = OneLine {
        inner: Format::default().with_target(false).with_ansi(false),
        form: format,
        coloured: coloured(),
    };
    let _ = match format {
        LogFormat::Text => builder.event_format(one_line).try_init(),
        LogFormat::Json => builder
            .fmt_fields(JsonFields::new())
            .event_format(OneLine {
                inner: Format::default().json().flatten_event(true),
                form: format,
                coloured: false,
            })
            .try_init(),
    };
    Ok(())
}

/// What `filter` lets through, without what must never be logged.
fn read_filter(filter: &str) -> Result<EnvFilter, InvalidFilter> {
    let parsed = EnvFilter::try_new(for_every_crate(filter)).map_err(|source| InvalidFilter {
        filter: filter.to_owned(),
        source,
    })?;
    // At trace level these print what goes over the wire, secrets included.
    Ok(parsed
        .add_directive(level("tokio_postgres=info"))
        .add_directive(level("hyper=info"))
        .add_directive(level("h2=info"))
        .add_directive(level("rustls=info")))
}

/// The program is made of several crates, and a target begins with the name of its crate. Whoever asks for the lines of
/// `openregister_webhooks` means all of them, so a directive for that name alone is repeated for the names of the others.
fn for_every_crate(filter: &str) -> String {
    const PROGRAM: &str = "openregister_webhooks";
    const OTHERS: &str = "orw_";
    let repeated = filter.split(',').filter_map(|directive| {
        let level = directive.trim().strip_prefix(PROGRAM)?;
        (level.is_empty() || level.starts_with('=')).then(|| format!("{OTHERS}{level}"))
    });
    // What is named more exactly counts more, wherever it stands.
    let mut directives: Vec<String> = repeated.collect();
    directives.push(filter.to_owned());
    directives.join(",")
}

/// Sends panics to the log as one line, with the place and the message.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = crate::error_text::one_line(panic.payload_as_str().unwrap_or("no message"));
        let backtrace = std::backtrace::Backtrace::capture();
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            tracing::error!(%place, %backtrace, "panicked: {message}");
        } else {
            tracing::error!(%place, "panicked: {message}");
        }
    }));
}

/// Writes each event as one line, escaped.
struct OneLine<F> {
    inner: F,
    form: LogFormat,
    coloured: bool,
}

impl<S, N, F> FormatEvent<S, N> for OneLine<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        self.inner.format_event(context, Writer::new(&mut text), event)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        match self.form {
            LogFormat::Json => writeln!(writer, "{}", Json(text)),
            LogFormat::Text if !self.coloured => writeln!(writer, "{}", Line(text)),
            LogFormat::Text => {
                let level = *event.metadata().level();
                // The level is the first word after the time.
                match text.split_once(level.as_str()) {
                    Some((before, after)) => {
                        writeln!(writer, "{}{}{}", Line(before), Coloured(level), Line(after))
                    }
                    None => writeln!(writer, "{}", Line(text)),
                }
            }
        }
    }
}

struct Coloured(Level);

impl Display for Coloured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colour = match self.0 {
            Level::ERROR => 31,
            Level::WARN => 33,
            Level::INFO => 32,
            Level::DEBUG => 34,
            Level::TRACE => 35,
        };
        write!(f, "\u{1b}[{colour}m{}\u{1b}[0m", self.0)
    }
}

/// Whether to colour: only for a terminal, because a file or a journal would keep the escape sequences.
fn coloured() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

#[allow(clippy::expect_used)]
fn level(directive: &'static str) -> tracing_subscriber::filter::Directive {
    directive
        .parse()
        .expect("a constant directive that the test below reads")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a filter lets a line of this target and level through.
    fn shows(filter: &str, line: impl FnOnce()) -> bool {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicBool, Ordering};

        struct Seen(Arc<AtomicBool>);
        impl<S: Subscriber> tracing_subscriber::Layer<S> for Seen {
            fn on_event(&self, _: &Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }

        use tracing_subscriber::layer::SubscriberExt as _;
        let seen = Arc::new(AtomicBool::new(false));
        let subscriber = tracing_subscriber::registry()
            .with(read_filter(filter).unwrap())
            .with(Seen(Arc::clone(&seen)));
        tracing::subscriber::with_default(subscriber, line);
        seen.load(Ordering::Relaxed)
    }

    #[test]
    fn lines_of_every_crate_of_the_program_are_shown() {
        for filter in ["info", "openregister_webhooks=info", "openregister_webhooks"] {
            assert!(shows(filter, || tracing::info!("of the sidecar")), "{filter}");
            assert!(
                shows(filter, || tracing::info!(target: "orw_egress::client", "a line")),
                "{filter}"
            );
            assert!(
                shows(filter, || tracing::info!(target: "orw_filter", "a line")),
                "{filter}"
            );
            assert!(
                shows(filter, || tracing::info!(target: "orw_model::row", "a line")),
                "{filter}"
            );
            assert!(
                shows(filter, || tracing::info!(target: "orw_testkit", "a line")),
                "{filter}"
            );
        }
        let debug = "warn,openregister_webhooks=debug";
        assert!(shows(
            debug,
            || tracing::debug!(target: "orw_egress::pool", "a line")
        ));
        assert!(!shows(
            debug,
            || tracing::info!(target: "somebody_else", "a line")
        ));
        // Whoever names a crate or a module means that one.
        let one = "openregister_webhooks=debug,orw_egress=warn";
        assert!(!shows(
            one,
            || tracing::info!(target: "orw_egress::pool", "a line")
        ));
        let module = "warn,openregister_webhooks::capture=debug";
        assert!(!shows(
            module,
            || tracing::info!(target: "orw_egress::pool", "a line")
        ));
        // What goes over the wire is never shown.
        assert!(!shows(
            "trace",
            || tracing::debug!(target: "tokio_postgres::query", "a line")
        ));
    }

    /// What one event is written as.
    fn written(form: LogFormat, coloured: bool) -> String {
        use std::sync::{Arc, Mutex};

        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Kept {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        let kept = Kept::default();
        let to = kept.clone();
        let builder = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || to.clone());
        let hostile = "a\u{1b}[2J\n2026-01-01T00:00:00Z ERROR forged\u{202e}\u{9b}";
        let log = || tracing::warn!(field = hostile, shown = %hostile, "said: {hostile}");
        match form {
            LogFormat::Text => {
                let inner = Format::default().with_target(false).with_ansi(false);
                let subscriber = builder.event_format(OneLine {
                    inner,
                    form,
                    coloured,
                });
                tracing::subscriber::with_default(subscriber.finish(), log);
            }
            LogFormat::Json => {
                let inner = Format::default().json().flatten_event(true);
                let subscriber = builder.fmt_fields(JsonFields::new()).event_format(OneLine {
                    inner,
                    form,
                    coloured,
                });
                tracing::subscriber::with_default(subscriber.finish(), log);
            }
        }
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_is_one_line_that_acts_on_no_terminal() {
        for form in [LogFormat::Text, LogFormat::Json] {
            let text = written(form, false);
            let line = text.strip_suffix('\n').unwrap();
            assert!(line.contains("said: a"), "{line}");
            assert!(!line.chars().any(crate::terminal::deceives), "{line:?}");
        }
        let json: serde_json::Value = serde_json::from_str(&written(LogFormat::Json, false)).unwrap();
        assert!(
            json["shown"].as_str().unwrap().ends_with("\u{202e}\u{9b}"),
            "{json}"
        );
        // The colours of the level are the only ones.
        let text = written(LogFormat::Text, true);
        assert_eq!(text.matches('\u{1b}').count(), 2, "{text:?}");
        assert!(text.contains("\u{1b}[33mWARN\u{1b}[0m said: a"), "{text:?}");
    }

    #[test]
    fn the_constants_are_directives_and_nonsense_is_refused() {
        for text in ["tokio_postgres=info", "hyper=info", "h2=info", "rustls=info"] {
            let _ = level(text);
        }
        let error = init("=====", LogFormat::Text).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("ORW_LOG=\"=====\" is not a log filter"),
            "{error}"
        );
    }
}
