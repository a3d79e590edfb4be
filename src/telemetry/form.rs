//! The two text forms of the metrics: OpenMetrics 1.0 and Prometheus' older text format 0.0.4, chosen by the request's `Accept`.
//!
//! Guarantees: whoever does not ask for OpenMetrics gets the older form, as from every other exporter. Both forms have the same series
//! with the same names.

/// A text form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// <https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>
    OpenMetrics,
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>
    Prometheus,
}

impl Form {
    /// The form that a request with this `Accept` header gets.
    pub(super) fn of(accept: Option<&str>) -> Self {
        let (mut open, mut plain, mut any) = (0.0, None, 0.0);
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut version) = (1.0_f32, None);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim().to_ascii_lowercase().as_str() {
                    "q" => quality = quality_of(value),
                    "version" => version = Some(value.trim().trim_matches('"')),
                    _ => {}
                }
            }
            match kind.as_str() {
                "application/openmetrics-text" if matches!(version, None | Some("1.0.0")) => {
                    open = quality.max(open);
                }
                "text/plain" => plain = Some(quality.max(plain.unwrap_or(0.0))),
                "text/*" | "*/*" => any = quality.max(any),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain.unwrap_or(any) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// From 0 to 1 (RFC 9110, 12.4.2); what is something else counts as 0.
fn quality_of(value: &str) -> f32 {
    let quality = value.trim().parse().ok();
    quality
        .filter(|quality| (0.0..=1.0).contains(quality))
        .unwrap_or(0.0)
}

/// The older form of an OpenMetrics text. It differs in the lines that begin with `#` alone: a counter is described by the name of its
/// samples, which ends in `_total`; an info is a gauge; there is no unit and no end.
pub(super) fn older(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // The help comes before the type, which decides what the family is called in both.
    let mut help: Option<&str> = None;
    for line in open_metrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ').map(|(_, words)| words);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            if let Some(words) = help.take() {
                text.extend(["# HELP ", name, suffix, " ", words, "\n"]);
            }
            text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_that_is_asked_for() {
        // What Prometheus 2.42 and 3 send, and what curl and browsers do.
        let open = [
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text; version=\"1.0.0\"; q=0.5, text/plain;q=0.5",
            "APPLICATION/OPENMETRICS-TEXT",
        ];
        for accept in open {
            assert_eq!(Form::of(Some(accept)), Form::OpenMetrics, "{accept}");
        }
        let older = [
            "",
            "*/*",
            "text/plain",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=1.0.0;q=0",
            "application/openmetrics-text;q=0.2,text/plain;q=0.9",
            "application/openmetrics-text;q=nonsense",
            "application/openmetrics-text;q=nan",
            "application/openmetrics-text;q=7",
            ";;;=,q=",
        ];
        for accept in older {
            assert_eq!(Form::of(Some(accept)), Form::Prometheus, "{accept}");
        }
        assert_eq!(Form::of(None), Form::Prometheus);
    }

    #[test]
    fn the_older_form_differs_in_descriptions_alone() {
        let open = "# HELP a What a is.\n# TYPE a counter\na_total 1\n# HELP b_seconds How long.\n# TYPE b_seconds gauge\n\
                    # UNIT b_seconds seconds\nb_seconds{x=\"# TYPE y\"} 2.0\n# HELP c Who.\n# TYPE c info\nc_info{v=\"1\"} 1\n# EOF\n";
        let expected = "# HELP a_total What a is.\n# TYPE a_total counter\na_total 1\n# HELP b_seconds How long.\n\
                        # TYPE b_seconds gauge\nb_seconds{x=\"# TYPE y\"} 2.0\n# HELP c_info Who.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n";
        assert_eq!(older(open), expected);
    }
}
