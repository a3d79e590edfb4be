//! One program for all fuzz targets; `ORW_FUZZ_TARGET` names the one that it runs. See `fuzz/run.sh`.
#![no_main]

mod targets;

use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use orw_filter::{Document, EvalError, Filter};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    TARGET.get_or_init(target)(bytes);
});

fn target() -> fn(&[u8]) {
    let name = std::env::var("ORW_FUZZ_TARGET").expect("fuzz/run.sh sets it");
    if name == "filter" {
        return |bytes| targets::filter::check_with(bytes, measured);
    }
    let named = targets::TARGETS.into_iter().find(|(known, _)| *known == name);
    named.unwrap_or_else(|| panic!("there is no target {name}")).1
}

/// What is promised for one evaluation of a filter: CPU time, and memory in KiB.
const CPU: Duration = Duration::from_millis(50);
const MEMORY: u64 = 32 * 1024;

/// Evaluates a filter and panics if that takes more than is promised. The quickest of three counts, because a busy machine makes
/// caches cold.
fn measured(filter: &Filter, document: &Document, what: &Value) -> Result<bool, EvalError> {
    memory();
    let (before, _) = memory();
    let mut quickest = Duration::MAX;
    let mut answer = Ok(false);
    for _ in 0..3 {
        let start = cpu_time();
        answer = filter.matches(document);
        quickest = quickest.min(cpu_time() - start);
        if quickest < CPU {
            break;
        }
    }
    let (_, most) = memory();
    let grown = most.saturating_sub(before);
    assert!(quickest < CPU, "{quickest:?}: {what}");
    assert!(grown < MEMORY, "{grown} KiB: {what}");
    answer
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The KiB of memory that this process has now, and the most that it had since the last call.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let of = |name: &str| -> u64 {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("Linux writes it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    let (now, most) = (of("VmRSS:"), of("VmHWM:"));
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux takes it");
    (now, most)
}
