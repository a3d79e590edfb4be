//! `process_*`: what the operating system says about this process, under the names that every exporter of Prometheus uses
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).

use std::fmt;

use procfs::process::{LimitValue, Process as This};
use procfs::{CurrentSI as _, ProcResult};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Reads `/proc/self` at every scrape. What cannot be read is left out.
#[derive(Debug)]
pub(super) struct Process {
    /// When the process began, in seconds since 1970.
    started: Option<f64>,
}

impl Process {
    pub(super) fn new() -> Self {
        Self {
            started: started().ok(),
        }
    }
}

/// One look.
struct Figures {
    cpu_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: i64,
    open_files: Option<u64>,
    /// `None` if there is no limit.
    most_files: Option<u64>,
}

#[allow(
    clippy::cast_precision_loss,
    reason = "ticks since the start of a process or a machine"
)]
fn started() -> ProcResult<f64> {
    let booted = procfs::KernelStats::current()?.btime;
    let ticks = This::myself()?.stat()?.starttime;
    Ok(booted as f64 + ticks as f64 / procfs::ticks_per_second() as f64)
}

#[allow(
    clippy::cast_precision_loss,
    reason = "ticks of the CPU's time of one process"
)]
fn look() -> ProcResult<Figures> {
    let this = This::myself()?;
    let stat = this.stat()?;
    let most_files = this.limits().ok().map(|limits| limits.max_open_files.soft_limit);
    Ok(Figures {
        cpu_seconds: (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64,
        resident_bytes: stat.rss * procfs::page_size(),
        virtual_bytes: stat.vsize,
        threads: stat.num_threads,
        open_files: this.fd_count().ok().map(|count| count as u64),
        most_files: most_files.and_then(|limit| match limit {
            LimitValue::Value(most) => Some(most),
            LimitValue::Unlimited => None,
        }),
    })
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, unit: Option<Unit>, value: f64| {
            let gauge = ConstGauge::new(value);
            let encoder = encoder.encode_descriptor(name, help, unit.as_ref(), gauge.metric_type())?;
            gauge.encode(encoder)
        };
        if let Some(started) = self.started {
            let help = "When the process began, in seconds since 1970.";
            gauge("process_start_time", help, Some(Unit::Seconds), started)?;
        }
        let Ok(figures) = look() else {
            return Ok(());
        };
        let bytes = || Some(Unit::Bytes);
        #[allow(
            clippy::cast_precision_loss,
            reason = "a gauge is a double in both text forms"
        )]
        let number = |value: u64| value as f64;
        gauge(
            "process_resident_memory",
            "Memory that is in use.",
            bytes(),
            number(figures.resident_bytes),
        )?;
        gauge(
            "process_virtual_memory",
            "Addresses that are in use.",
            bytes(),
            number(figures.virtual_bytes),
        )?;
        if let Some(open) = figures.open_files {
            gauge(
                "process_open_fds",
                "Open files and connections.",
                None,
                number(open),
            )?;
        }
        if let Some(most) = figures.most_files {
            let help = "The most files and connections that may be open.";
            gauge("process_max_fds", help, None, number(most))?;
        }
        #[allow(clippy::cast_precision_loss, reason = "some tens")]
        let threads = figures.threads as f64;
        gauge("process_threads", "Threads.", None, threads)?;
        let counter = ConstCounter::new(figures.cpu_seconds);
        let help = "Time of the CPU that the process has used, in user and kernel mode.";
        let encoder =
            encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), counter.metric_type())?;
        counter.encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::super::metrics::MetricRegistry;

    #[test]
    fn the_process_and_its_version_are_shown() {
        let text = MetricRegistry::with(|_| {}).render();
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_virtual_memory_bytes",
            "process_start_time_seconds",
            "process_open_fds",
            "process_threads",
        ] {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let value: f64 = line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap();
            assert!(value >= 0.0, "{name} {value}");
        }
        let version = format!("orw_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&version), "{text}");
    }
}
