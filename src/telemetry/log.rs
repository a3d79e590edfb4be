//! Log lines on standard error, as text or JSON.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// A log filter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "ORW_LOG={filter:?} is no log filter: {source}; it looks like info or openregister_webhooks=debug,info"
)]
pub struct InvalidFilter {
    filter: String,
    #[source]
    source: tracing_subscriber::filter::ParseError,
}

/// Sets the process' log up; a second call changes nothing.
///
/// # Errors
/// Where `filter` is none.
pub fn init(filter: &str, format: LogFormat) -> Result<(), InvalidFilter> {
    let parsed = EnvFilter::try_new(filter)
        .map_err(|source| InvalidFilter {
            filter: filter.to_owned(),
            source,
        })?
        // At trace these print what goes over the wire, secrets included.
        .add_directive(level("tokio_postgres=info"))
        .add_directive(level("hyper=info"))
        .add_directive(level("h2=info"))
        .add_directive(level("rustls=info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_ansi(coloured())
        .with_writer(std::io::stderr);
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// Panics go to the log, as every line does: where it happened, and what was said.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let said = panic.payload_as_str().unwrap_or("it said nothing");
        let backtrace = std::backtrace::Backtrace::capture();
        if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
            tracing::error!(%place, %backtrace, "panicked: {said}");
        } else {
            tracing::error!(%place, "panicked: {said}");
        }
    }));
}

/// Colours are for eyes: a file or a journal would keep them as escape sequences.
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

    #[test]
    fn the_constants_are_directives_and_nonsense_is_refused() {
        for text in ["tokio_postgres=info", "hyper=info", "h2=info", "rustls=info"] {
            let _ = level(text);
        }
        let error = init("=====", LogFormat::Text).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("ORW_LOG=\"=====\" is no log filter"),
            "{error}"
        );
    }
}
