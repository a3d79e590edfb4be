use std::io::Write as _;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::super::{ConfigError, Loaded, SETTINGS, Settings, Sources};
use crate::capture::{DoorbellMode, OutboxPolicy};
use crate::telemetry::LogFormat;
use orw_egress::AllowedTarget;

const URL: &str = "postgres://nc:s3cret@db.example:5432/nextcloud";
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn environment(pairs: &[(&str, &str)]) -> Sources {
    let environment = pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    Sources {
        environment,
        ..Sources::default()
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load(pairs: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let mut pairs = pairs.to_vec();
    pairs.push(("ORW_DATABASE_URL", URL));
    Settings::load(&environment(&pairs))
}

/// What is said of one wrong variable.
fn reason(name: &str, value: &str) -> String {
    let problems = load(&[(name, value)]).unwrap_err().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].name, name);
    problems[0].reason.clone()
}

#[test]
fn the_defaults_that_are_shown_are_those_that_hold() {
    let shown: Vec<(String, String)> = SETTINGS
        .iter()
        .filter_map(|s| Some((s.variable(), s.default?.to_owned())))
        .collect();
    let pairs: Vec<(&str, &str)> = shown.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let given = load(&pairs).unwrap();
    assert_eq!(format!("{given:?}"), format!("{:?}", Settings::new(URL)));
    assert_eq!(given.database_url.expose_secret(), URL);
}

#[test]
fn flags_beat_variables_and_variables_beat_the_file() {
    let file = file("listen = \"127.0.0.1:1\"\nbatch_size = 10\nlog = 'warn'\ntargets_allow_http = true\n");
    let mut sources = environment(&[
        ("ORW_DATABASE_URL", URL),
        ("ORW_LISTEN", "127.0.0.1:2"),
        ("ORW_BATCH_SIZE", "20"),
        ("ORW_CAPTURE", ""),
    ]);
    sources.file = Some(file.path().to_owned());
    sources.flags = vec![("listen", "127.0.0.1:3".to_owned())];
    let loaded = Loaded::read(&sources);
    let settings = loaded.settings.unwrap();
    assert_eq!(settings.listen.port(), 3);
    assert_eq!(settings.batch_size, 20);
    assert_eq!(settings.log, "warn");
    assert!(settings.targets_allow_http && !settings.capture_all);
    let origin = |name: &str| {
        let effective = loaded.effective.iter().find(|e| e.setting.name == name).unwrap();
        effective.origin.to_string()
    };
    assert_eq!(origin("listen"), "--listen");
    assert_eq!(origin("batch_size"), "ORW_BATCH_SIZE");
    assert_eq!(origin("log"), file.path().display().to_string());
    assert_eq!(origin("doorbell"), "default");
}

#[test]
fn every_kind_of_value_is_read() {
    let ca = file("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n");
    let settings = load(&[
        ("ORW_DOORBELL", "poll"),
        ("ORW_CAPTURE", "all"),
        ("ORW_NEXTCLOUD_URL", "https://example.org/nextcloud/"),
        ("ORW_TARGETS_ALLOW", "10.0.0.0/8, ::1, Hooks.Intranet.Example."),
        ("ORW_TRUSTED_PROXIES", "192.0.2.1"),
        ("ORW_CA_FILE", ca.path().to_str().unwrap()),
        ("ORW_BIND_ADDRESS", "::1"),
        ("ORW_RETRY_SCHEDULE", "1,2m,3h,4d"),
        ("ORW_TIMEOUT_SECONDS", "30"),
        ("ORW_MASTER_KEY", KEY),
        ("ORW_LOG", "info,openregister_webhooks=debug"),
        ("ORW_LOG_FORMAT", "json"),
        ("ORW_HOUSEKEEPING_COLUMNS", "updated,folder"),
    ])
    .unwrap();
    assert_eq!(settings.doorbell, DoorbellMode::Poll);
    assert!(settings.capture_all);
    assert_eq!(
        settings.nextcloud_url.as_deref(),
        Some("https://example.org/nextcloud")
    );
    assert_eq!(
        settings.targets_allow,
        [
            AllowedTarget::Network("10.0.0.0/8".parse().unwrap()),
            AllowedTarget::Network("::1/128".parse().unwrap()),
            AllowedTarget::Host("hooks.intranet.example".to_owned()),
        ]
    );
    assert_eq!(settings.trusted_proxies, ["192.0.2.1/32".parse().unwrap()]);
    assert_eq!(settings.default_retry.max_attempts, 5);
    assert_eq!(settings.default_retry.schedule[3], Duration::from_hours(96));
    assert_eq!(settings.default_limits.timeout, Duration::from_secs(30));
    assert_eq!(settings.log_format, LogFormat::Json);
    assert_eq!(settings.housekeeping_columns.unwrap(), ["updated", "folder"]);
}

#[test]
fn administrators_may_have_hashes_with_commas() {
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA";
    let settings = load(&[("ORW_ADMINS", &format!("admin:{hash},bob:pass:word"))]).unwrap();
    let admins: Vec<(&str, &str)> = settings
        .admins
        .iter()
        .map(|(u, p)| (u.as_str(), p.expose_secret()))
        .collect();
    assert_eq!(admins, [("admin", hash), ("bob", "pass:word")]);
    let list = file(&format!("# who may\n\nadmin:{hash}\n bob:x,y \n"));
    let settings = load(&[("ORW_ADMINS_FILE", list.path().to_str().unwrap())]).unwrap();
    assert_eq!(settings.admins.len(), 2);
    assert_eq!(settings.admins[1].1.expose_secret(), "x,y");
    assert!(reason("ORW_ADMINS", "admin").contains("user:password"));
    assert!(reason("ORW_ADMINS", "a:b,a:c").contains("twice"));
    assert!(reason("ORW_ADMINS", "a:$2y$10$x").contains("argon2id"));
}

#[test]
fn what_is_wrong_is_said_with_its_name_and_what_to_do() {
    for (name, value, expected) in [
        ("ORW_LISTEN", "8085", "127.0.0.1:8085"),
        ("ORW_DOORBELL", "bell", "notify or poll"),
        ("ORW_OUTBOX_POLICY", "panic", "warn or stop"),
        ("ORW_OUTBOX_MAX_BYTES", "1000", "from 67108864"),
        ("ORW_OUTBOX_MAX_AGE_SECONDS", "1", "from 60"),
        ("ORW_LOG_MAX_BYTES", "10GB", "0 (no limit)"),
        ("ORW_CHANGE_MAX_BYTES", "1", "from 16777216"),
        ("ORW_BATCH_SIZE", "0", "from 1 to 10000"),
        ("ORW_TARGETS_ALLOW_HTTP", "yes", "true or false"),
        ("ORW_TARGETS_ALLOW", "*.example.org", "whole host name"),
        ("ORW_TARGETS_ALLOW", "a.example:443", "no port"),
        (
            "ORW_NEXTCLOUD_URL",
            "cloud.example.org",
            "https://cloud.example.org",
        ),
        (
            "ORW_NEXTCLOUD_URL",
            "https://admin:pw@cloud.example.org",
            "no user or password",
        ),
        ("ORW_MASTER_KEY", "c2hvcnQ=", "openssl rand -base64 32"),
        ("ORW_MASTER_KEY_FILE", "/nonexistent/key", "cannot be read"),
        ("ORW_CA_FILE", "/nonexistent/ca", "cannot be read"),
        ("ORW_RETRY_SCHEDULE", "5s,tomorrow", "30s, 10m or 6h"),
        ("ORW_RETRY_SCHEDULE", "8d", "from 1s to 7d"),
        ("ORW_RETRY_SCHEDULE", "9é", "30s, 10m or 6h"),
        ("ORW_TABLE_PREFIX", "x; DROP", "dbtableprefix"),
        ("ORW_LOG", "info,=,=", "openregister_webhooks=debug"),
    ] {
        let reason = reason(name, value);
        assert!(reason.contains(expected), "{name}: {reason}");
    }
}

#[test]
fn to_stop_needs_a_limit() {
    let stop = |bytes| {
        load(&[
            ("ORW_OUTBOX_POLICY", "stop"),
            ("ORW_OUTBOX_MAX_BYTES", bytes),
            ("ORW_OUTBOX_MAX_AGE_SECONDS", "900"),
        ])
    };
    let outbox = stop("67108864").unwrap().outbox;
    assert_eq!(
        (outbox.policy, outbox.max_bytes),
        (OutboxPolicy::Stop, 67_108_864)
    );
    assert_eq!(outbox.max_age, Duration::from_mins(15));
    let problems = stop("0").unwrap_err().problems;
    assert!(problems[0].reason.contains("stops at a limit"), "{problems:?}");
}

#[test]
fn names_that_do_not_exist_are_refused_with_a_suggestion() {
    assert!(reason("ORW_DATABSE_URL", "x").contains("did you mean ORW_DATABASE_URL?"));
    assert!(reason("ORW_ADMIN", "x").contains("did you mean ORW_ADMINS?"));
    assert!(reason("ORW_COLOUR_OF_THE_SKY", "x").contains("config"));
    assert!(
        load(&[
            ("ORW_TEST_PG_BIN", "/usr/bin"),
            ("ORW_RECEIVE_SECRET", "whsec_x"),
            ("PATH", "/bin")
        ])
        .is_ok()
    );
    let file = file("targets_alow = []\n");
    let mut sources = environment(&[("ORW_DATABASE_URL", URL)]);
    sources.file = Some(file.path().to_owned());
    let problems = Settings::load(&sources).unwrap_err().problems;
    assert_eq!(problems[0].name, "targets_alow");
    assert!(problems[0].reason.contains("did you mean targets_allow?"));
}

#[test]
fn everything_wrong_is_said_at_once_and_a_missing_database_too() {
    let error = Settings::load(&environment(&[("ORW_LISTEN", "x"), ("ORW_CAPTURE", "y")])).unwrap_err();
    let mut names: Vec<&str> = error.problems.iter().map(|p| p.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["ORW_CAPTURE", "ORW_DATABASE_URL", "ORW_LISTEN"]);
    assert!(error.to_string().contains("\n  ORW_LISTEN: must be"));
}

#[test]
fn a_master_key_may_be_random_hexadecimal_digits() {
    let digits = "5e".repeat(24);
    let key = |text: &str| {
        load(&[("ORW_MASTER_KEY", text)])
            .unwrap()
            .master_key
            .unwrap()
            .expose_secret()
            .to_owned()
    };
    let made = key(&digits);
    assert_eq!(made, key(&format!(" {digits}\n")));
    assert_ne!(made, key(&"5f".repeat(24)));
    assert_eq!(key(&format!("{KEY}, {digits}")), format!("{KEY},{made}"));
    assert!(reason("ORW_MASTER_KEY", &digits[4..]).contains("not 32"));
}

#[test]
fn a_value_and_its_file_exclude_each_other_within_a_source_only() {
    let key = file(KEY);
    let path = key.path().to_str().unwrap();
    let both = load(&[("ORW_MASTER_KEY", KEY), ("ORW_MASTER_KEY_FILE", path)]).unwrap_err();
    assert!(both.problems[0].reason.contains("leave one out"));
    let toml = file("master_key = \"not a key\"\n");
    let mut sources = environment(&[("ORW_DATABASE_URL", URL), ("ORW_MASTER_KEY_FILE", path)]);
    sources.file = Some(toml.path().to_owned());
    let settings = Settings::load(&sources).unwrap();
    assert_eq!(settings.master_key.unwrap().expose_secret(), KEY);
}

#[test]
fn no_secret_is_shown_or_quoted() {
    let toml = file("master_key = \"0123456789secret\nlisten = 1\n");
    let mut sources = environment(&[
        (
            "ORW_DATABASE_URL",
            "postgres://nc:s3cret@db.example:5432/nextcloud?sslmode=verify-full",
        ),
        ("ORW_ADMINS", "admin:s3cret"),
        ("ORW_MASTER_KEY", "s3cret"),
    ]);
    sources.file = Some(toml.path().to_owned());
    let loaded = Loaded::read(&sources);
    let said = format!("{sources:?} {loaded:?} {}", loaded.settings.as_ref().unwrap_err());
    assert!(!said.contains("s3cret") && !said.contains("0123456789"), "{said}");
    assert!(said.contains("is not TOML: line 1"), "{said}");
    let good = Loaded::read(&environment(&[
        ("ORW_DATABASE_URL", URL),
        ("ORW_ADMINS", "admin:s3cret"),
    ]));
    let said = format!("{good:?}");
    assert!(!said.contains("s3cret"), "{said}");
    assert!(
        said.contains("postgres://nc:***@db.example:5432/nextcloud"),
        "{said}"
    );
    let shorter = Loaded::read(&environment(&[(
        "ORW_DATABASE_URL",
        "host=db user=nc password=s3cret dbname=n",
    )]));
    assert!(!format!("{shorter:?}").contains("s3cret"));
}
