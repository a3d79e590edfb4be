//! Packages of PyPI and npm, with which tests look at the program as other people's software does.
//!
//! They are installed once, below the directory that cargo gives tests. Without Python or Node.js, or if the registry cannot be reached, the
//! test that needs them says so and is skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The output of a program that succeeds.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let done = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr)))
    }
}

fn folder(kind: &str, package: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("foreign")
        .join(kind)
        .join(package);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A script below `tests/foreign`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/foreign")
        .join(name)
}

/// A Python that has this package of PyPI in this version; `extras` as pip takes them, such as `[binary]`.
pub(crate) fn python(package: &str, extras: &str, version: &str) -> Result<PathBuf, String> {
    let venv = folder("python", &format!("{package}-{version}"));
    let python = venv.join("bin/python");
    let check = format!("import importlib.metadata as m; assert m.version('{package}') == '{version}'");
    if run(Command::new(&python).args(["-c", &check])).is_err() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        let wanted = format!("{package}{extras}=={version}");
        let quiet = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--retries",
            "1",
            "--timeout",
            "20",
        ];
        run(Command::new(&python).args(quiet).arg(wanted))?;
    }
    Ok(python)
}

/// A folder that has this package of npm in this version.
pub(crate) fn node(package: &str, version: &str) -> Result<PathBuf, String> {
    let packages = folder("node", &format!("{package}-{version}"));
    let manifest = packages.join("node_modules").join(package).join("package.json");
    let wanted = format!("\"version\": \"{version}\"");
    if !std::fs::read_to_string(manifest).is_ok_and(|text| text.contains(&wanted)) {
        let quiet = [
            "install",
            "--no-audit",
            "--no-fund",
            "--silent",
            "--ignore-scripts",
            "--fetch-retries",
            "1",
        ];
        run(Command::new("npm")
            .args(quiet)
            .arg(format!("{package}@{version}"))
            .arg("--prefix")
            .arg(&packages))?;
    }
    run(Command::new("node").arg("--version"))?;
    Ok(packages)
}
