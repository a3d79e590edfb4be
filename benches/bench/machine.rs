//! The machine, the server and the commit that figures belong to.

use std::process::Command;

use orw_testkit::postgres::Programs;

/// One line for people.
pub(crate) fn describe() -> String {
    format!(
        "Commit {}, {} cores of {}, load {} at the beginning, PostgreSQL {}.",
        commit(),
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        processor(),
        load(),
        Programs::find()
            .and_then(|p| p.version())
            .unwrap_or_else(|e| e.to_string()),
    )
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let out = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(out.stdout).ok()?;
        out.status.success().then(|| text.trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|s| !s.is_empty());
    format!("{commit}{}", if changed { " with changes" } else { "" })
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
    model.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("?").to_owned()
}
