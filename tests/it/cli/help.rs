//! Help, completions, and what is written where.

use std::path::Path;

use crate::support::sidecar::Sidecar;

/// The program without a database.
fn program() -> Sidecar {
    Sidecar::new("postgres://nobody@127.0.0.1:1/none", Path::new("")).without("ORW_CA_FILE")
}

#[tokio::test]
async fn a_command_shows_its_own_options_and_config_shows_the_settings() {
    for command in [
        &["webhook", "add"][..],
        &["delivery", "list"],
        &["status"],
        &["events"],
    ] {
        for help in ["-h", "--help"] {
            let (code, out, _) = program().cli(&[command, &[help]].concat()).await;
            assert!(code == 0 && out.contains("--json"), "{command:?}: {out}");
            // Help is broken between words.
            let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                words.contains("`openregister-webhooks config --help` lists them"),
                "{out}"
            );
            assert!(
                !out.contains("--database-url") && !out.contains("--poll-interval-ms"),
                "{command:?}: {out}"
            );
        }
    }
    // The flags are taken all the same.
    let (code, _, err) = program().cli(&["status", "--listen", "nonsense"]).await;
    assert!(code == 2 && err.contains("--listen"), "{code} {err}");
    let (code, out, _) = program().cli(&["config", "--help"]).await;
    assert_eq!(code, 0);
    for setting in [
        "--database-url",
        "--poll-interval-ms",
        "ORW_MASTER_KEY\n",
        "ORW_ADMINS\n",
    ] {
        assert!(out.contains(setting), "{setting}: {out}");
    }
}

#[tokio::test]
async fn each_shell_gets_completions_that_name_every_command() {
    for shell in ["bash", "fish", "powershell", "zsh"] {
        let (code, out, err) = program().cli(&["completions", shell]).await;
        assert!(code == 0 && err.is_empty(), "{shell}: {err}");
        for command in ["webhook", "delivery", "status", "doctor"] {
            assert!(out.contains(command), "{shell}: {command}");
        }
    }
    // What bash gets is a script that bash can read.
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, program().cli(&["completions", "bash"]).await.1).unwrap();
    let read = tokio::process::Command::new("bash")
        .arg("-n")
        .arg(&script)
        .status();
    assert!(read.await.unwrap().success());
}

#[tokio::test]
async fn a_result_that_cannot_be_written_is_a_failure_and_a_reader_that_has_gone_is_none() {
    let to = |path: &str| std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let run = async |out: std::process::Stdio| {
        let done = tokio::process::Command::new(env!("CARGO_BIN_EXE_openregister-webhooks"))
            .args(["events", "--json"])
            .stdout(out)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .await
            .unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let (code, err) = run(to("/dev/full").into()).await;
    assert!(
        code == Some(1) && err.contains("could not be written"),
        "{code:?} {err}"
    );
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(run(writer.into()).await, (Some(0), String::new()));
}
