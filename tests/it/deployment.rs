//! The files below `docker/` and `deploy/`: they name settings and commands that exist, and are what those who read them accept.
//! `make check` holds more of them against the schemas of others.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use openregister_webhooks::config::SETTINGS;
use serde_json::Value;

use crate::support::cli::Cli;
use crate::support::skipped::skipped;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn files_in(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            // What a user made is none of ours.
            true if path.ends_with("docker/secrets") => {}
            true => files_in(&path, files),
            false => files.push(path),
        }
    }
}

/// The words that begin with `ORW_`.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    let letter = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.split(move |c| !letter(c))
        .filter(|word| word.starts_with("ORW_"))
}

#[test]
fn every_setting_that_they_name_exists() {
    // The first names a file of settings, the second an image.
    let others = ["ORW_CONFIG", "ORW_IMAGE"].map(str::to_owned);
    let known: BTreeSet<String> = SETTINGS
        .iter()
        .map(|setting| setting.variable())
        .chain(others)
        .collect();
    let mut files = Vec::new();
    files_in(&root().join("docker"), &mut files);
    files_in(&root().join("deploy"), &mut files);
    let mut named = 0;
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        for variable in variables(&text).filter(|name| !name.ends_with('_')) {
            assert!(known.contains(variable), "{}: {variable}", file.display());
            named += 1;
        }
    }
    assert!(named > 30, "{named}");
}

#[test]
fn the_settings_of_the_package_are_settings() {
    let text = text("deploy/systemd/config.toml");
    // Those that are commented out count as well.
    let written: String = text
        .lines()
        .filter_map(|line| {
            let line = line.strip_prefix('#').unwrap_or(line);
            line.split_once(" = ").filter(|(name, _)| !name.contains(' '))?;
            Some(format!("{line}\n"))
        })
        .collect();
    let table: toml::Table = written.parse().unwrap();
    assert!(table.len() >= 8, "{written}");
    for name in table.keys() {
        assert!(SETTINGS.iter().any(|setting| setting.name == name), "{name}");
    }
}

#[tokio::test]
async fn the_manual_page_names_every_command() {
    let page = text("deploy/systemd/openregister-webhooks.8").replace("\\-", "-");
    let help = Cli::new("").run(&["--help"]).await.out;
    let commands = help
        .split("Commands:")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let names: Vec<&str> = commands
        .lines()
        .filter_map(|line| {
            line.strip_prefix("  ")?
                .split_whitespace()
                .next()
                .filter(|_| !line.starts_with("   "))
        })
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 15, "{help}");
    for name in names {
        assert!(page.contains(&format!("\n.B {name}\n")), "{name} is missing");
    }
}

/// One page for each command, which a formatter reads without a complaint.
#[tokio::test]
async fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("man");
    let said = Cli::new("")
        .run(&["man", "--dir", &dir.display().to_string()])
        .await;
    assert_eq!(said.code, 0, "{said:?}");
    let page =
        |name: &str| std::fs::read_to_string(dir.join(format!("openregister-webhooks{name}.8"))).unwrap();
    assert!(page("").contains(".SH EXIT STATUS"));
    assert!(
        page("-delivery-list").contains("\\-\\-absolute"),
        "{}",
        page("-delivery-list")
    );
    assert!(page("-webhook-rotate-secret").contains("openregister\\-webhooks webhook rotate\\-secret"));
    let pages: Vec<PathBuf> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(pages.len() > 40, "{}", pages.len());
    match Command::new("groff")
        .args(["-Kutf8", "-man", "-Tutf8", "-ww", "-z"])
        .args(&pages)
        .output()
    {
        Ok(done) => {
            let complaints = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success() && complaints.is_empty(), "{complaints}");
        }
        Err(error) => skipped("the layout of the manual pages", &format!("groff: {error}")),
    }
}

#[test]
fn all_in_one_accepts_its_container() {
    let schema: Value = serde_json::from_str(&text("tests/fixtures/aio-container.json")).unwrap();
    let container: Value = serde_json::from_str(&text("deploy/aio/openregister-webhooks.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> = validator
        .iter_errors(&container)
        .map(|error| error.to_string())
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    // Every placeholder is a secret that is declared.
    let service = &container["aio_services_v1"][0];
    let secrets: Vec<&str> = service["secrets"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let environment = service["environment"].to_string();
    let used: Vec<&str> = environment.split('%').skip(1).step_by(2).collect();
    assert_eq!(used, secrets);
}

/// The one placeholder of a registry, which `docs/deployment.md` says how to replace, and the version of this source.
#[test]
fn the_image_has_one_name_and_one_version() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, image) in [
        (
            "deploy/kubernetes/base/deployment.yaml",
            "image: openregister-webhooks\n".to_owned(),
        ),
        (
            "deploy/kubernetes/example/kustomization.yaml",
            format!("newName: registry.example.org/openregister-webhooks\n    newTag: {version}\n"),
        ),
        (
            "deploy/kubernetes/nextcloud-helm-values.yaml",
            format!("image: registry.example.org/openregister-webhooks:{version}\n"),
        ),
        (
            "deploy/aio/openregister-webhooks.json",
            "\"image\": \"ghcr.io/example/openregister-webhooks\"".to_owned(),
        ),
    ] {
        assert!(text(file).contains(&image), "{file} has no {image}");
    }
}

#[test]
fn the_image_and_the_service_wait_for_an_orderly_end() {
    for (file, wanted) in [
        ("docker/Dockerfile", "STOPSIGNAL SIGTERM"),
        ("docker/compose.yaml", "stop_grace_period: 30s"),
        (
            "deploy/kubernetes/base/deployment.yaml",
            "terminationGracePeriodSeconds: 30",
        ),
        (
            "deploy/aio/openregister-webhooks.json",
            "\"stop_grace_period\": 30",
        ),
        (
            "deploy/systemd/openregister-webhooks.service",
            "TimeoutStopSec=30s",
        ),
    ] {
        assert!(text(file).contains(wanted), "{file} has no {wanted}");
    }
}

/// systemd's own measure goes from 0 (confined) to 10 (exposed).
#[test]
fn the_service_is_confined() {
    let unit = root().join("deploy/systemd/openregister-webhooks.service");
    let measured = Command::new("systemd-analyze")
        .args(["security", "--no-pager", "--offline=true", "--threshold=20"])
        .arg(&unit)
        .output();
    match measured {
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stdout);
            assert!(
                said.contains("Overall exposure level"),
                "{said}{}",
                String::from_utf8_lossy(&done.stderr)
            );
            assert!(done.status.success(), "{said}");
        }
        Err(error) => skipped(
            "the measure of systemd for the service",
            &format!("systemd-analyze: {error}"),
        ),
    }
}

/// What kustomize makes of the example: it once wrote the sidecar's own label over those of PostgreSQL and Nextcloud, and the sidecar
/// would have reached neither.
#[test]
fn the_network_policy_of_the_example_lets_the_sidecar_reach_what_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    let kubernetes = root().join("deploy/kubernetes");
    files_in(&kubernetes, &mut files);
    for file in files {
        let copy = folder.path().join(file.strip_prefix(&kubernetes).unwrap());
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(file, copy).unwrap();
    }
    let example = folder.path().join("example");
    for secret in ["owner-database-url", "database-url", "master-key", "admins"] {
        std::fs::write(example.join(secret), "x").unwrap();
    }
    let made = match Command::new("kubectl").arg("kustomize").arg(&example).output() {
        Ok(done) => {
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).unwrap()
        }
        Err(error) => {
            return skipped(
                "what kustomize makes of deploy/kubernetes",
                &format!("kubectl: {error}"),
            );
        }
    };
    let object = |kind: &str| {
        made.split("\n---\n")
            .find(|object| object.contains(&format!("\nkind: {kind}\n")))
            .unwrap_or_else(|| panic!("no {kind} in\n{made}"))
    };
    let label = |name: &str| format!("app.kubernetes.io/name: {name}");
    let policy = object("NetworkPolicy");
    let (before, egress) = policy.split_once("  egress:\n").unwrap();
    let (egress, after) = egress.split_once("  ingress:\n").unwrap();
    for name in ["postgresql", "nextcloud"] {
        assert!(egress.contains(&label(name)), "{name}: {egress}");
    }
    let own = label("openregister-webhooks");
    assert!(!egress.contains(&own), "{egress}");
    assert!(before.contains(&own) && after.contains(&own), "{policy}");
    // Whatever selects the sidecar's pods finds them.
    for (kind, times) in [
        ("Deployment", 4),
        ("PodDisruptionBudget", 2),
        ("Service", 2),
        ("ServiceMonitor", 2),
    ] {
        assert_eq!(
            object(kind).matches(own.as_str()).count(),
            times,
            "{}",
            object(kind)
        );
    }
}

/// Whether `.dockerignore` keeps this path out of what the image is built from: the last line that fits it decides.
fn ignored(lines: &str, path: &str) -> bool {
    let mut ignored = false;
    for line in lines.lines() {
        let (pattern, keep) = line.strip_prefix('!').map_or((line, false), |rest| (rest, true));
        let Some(place) = pattern.strip_prefix('/') else {
            continue;
        };
        let fits = match place.strip_suffix("/*") {
            Some(folder) => path.starts_with(&format!("{folder}/")),
            None => path == place || path.starts_with(&format!("{place}/")),
        };
        if fits {
            ignored = !keep;
        }
    }
    ignored
}

/// A file that the program carries, and that the build in the container does not get, breaks `make image` and nothing else.
#[test]
fn the_image_is_built_from_every_file_that_the_program_carries() {
    let lines = text(".dockerignore");
    assert!(ignored(&lines, "docs/events.md") && ignored(&lines, "deploy/aio/openregister-webhooks.json"));
    let mut sources = Vec::new();
    files_in(&root().join("src"), &mut sources);
    let mut carried = 0;
    for source in sources
        .iter()
        .filter(|path| path.extension().is_some_and(|kind| kind == "rs"))
    {
        let code = std::fs::read_to_string(source).unwrap();
        // What only tests read is not there, and not needed.
        let code = code.split("#[cfg(test)]").next().unwrap();
        let tests =
            source.components().any(|part| part.as_os_str() == "tests") || source.ends_with("tests.rs");
        for name in ["include_str!(\"", "include_bytes!(\""] {
            for rest in code.split(name).skip(1).filter(|_| !tests) {
                let named = source.parent().unwrap().join(rest.split('"').next().unwrap());
                let file = named
                    .canonicalize()
                    .unwrap_or_else(|error| panic!("{}: {error}", named.display()));
                let path = file
                    .strip_prefix(root().canonicalize().unwrap())
                    .unwrap()
                    .to_str()
                    .unwrap();
                assert!(
                    !ignored(&lines, path),
                    "{path}, which {} carries, is in .dockerignore",
                    source.display()
                );
                carried += 1;
            }
        }
    }
    assert!(carried > 3, "{carried}");
}
