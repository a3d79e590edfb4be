//! Signatures as others verify them: with the `standardwebhooks` packages of PyPI, npm and crates.io, also while a secret is
//! being rotated; and OpenRegister's own header, as its manual tells receivers to check it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use openregister_webhooks::registry::{Caller, Webhook, WebhookId};
use orw_testkit::receiver::Received;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::rig::Rig;
use crate::support::api::Service;
use crate::support::receiver::https;
use crate::support::skipped::skipped;
use crate::support::wait::PATIENCE;

const PYPI: &str = "standardwebhooks==1.1.0";
const NPM: &str = "standardwebhooks@1.1.1";

/// Reads `{body, headers, good: […], bad: […]}`: each good secret must verify it and each bad one must not, nor may any
/// secret verify another body. Says `ok N` for N verified.
const PYTHON: &str = r#"
import json, sys, hmac, hashlib
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
given = json.load(open(sys.argv[1]))
def verifies(secret, body):
    try:
        Webhook(secret).verify(body, given["headers"])
        return True
    except WebhookVerificationError:
        return False
for secret in given["good"]:
    assert verifies(secret, given["body"]), "a good secret does not verify"
    assert not verifies(secret, given["body"] + " "), "another body verifies"
for secret in given["bad"]:
    assert not verifies(secret, given["body"]), "a bad secret verifies"
# What OpenRegister's manual has receivers do.
legacy = hmac.new(given["good"][0].encode(), given["body"].encode(), hashlib.sha256).hexdigest()
assert hmac.compare_digest(legacy, given["headers"]["x-webhook-signature"]), "X-Webhook-Signature"
print("ok", len(given["good"]))
"#;

const NODE: &str = r#"
const { Webhook } = require("standardwebhooks");
const given = JSON.parse(require("fs").readFileSync(process.argv[2], "utf8"));
const verifies = (secret, body) => {
  try { new Webhook(secret).verify(body, given.headers); return true; } catch (e) {
    if (e.name !== "WebhookVerificationError" && e.constructor.name !== "WebhookVerificationError") throw e;
    return false;
  }
};
const check = (holds, what) => { if (!holds) { console.error(what); process.exit(1); } };
for (const secret of given.good) {
  check(verifies(secret, given.body), "a good secret does not verify");
  check(!verifies(secret, given.body + " "), "another body verifies");
}
for (const secret of given.bad) check(!verifies(secret, given.body), "a bad secret verifies");
console.log("ok", given.good.length);
"#;

/// One delivery of `webhook` (which goes to a receiver of ours), as it arrived.
async fn delivered(webhook: &Webhook) -> Received {
    let (rig, receiver) = tokio::join!(Rig::new(), https());
    let mut hook = webhook.clone();
    hook.id = WebhookId(1);
    hook.target = receiver.url("/hook").parse().unwrap();
    rig.webhooks.put(hook);
    let running = rig.dispatcher(&receiver.ca_pem());
    rig.send(1, "a", 0..1).await;
    running.wake(1);
    let got = receiver.wait_for(1, PATIENCE).await.unwrap();
    running.stop().await;
    got[0].clone()
}

fn case(received: &Received, good: &[String], bad: &[String]) -> Value {
    let headers: serde_json::Map<String, Value> = received
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
        .collect();
    json!({"body": std::str::from_utf8(&received.body).unwrap(), "headers": headers, "good": good, "bad": bad})
}

/// Where other people's packages are put, once for all runs.
fn tools() -> PathBuf {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join("verifiers");
    std::fs::create_dir_all(&tools).unwrap();
    tools
}

fn run(command: &mut Command) -> Result<Output, String> {
    let done = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if done.status.success() {
        return Ok(done);
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr)))
}

/// A Python with the package; why not where there is none.
fn python() -> Result<PathBuf, String> {
    let venv = tools().join("python");
    let python = venv.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let known = run(Command::new(&python).args(["-c", "import standardwebhooks"]));
    if known.is_err() {
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", PYPI]))?;
    }
    Ok(python)
}

/// A folder in which Node finds the package.
fn node() -> Result<PathBuf, String> {
    let folder = tools().join("node");
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    if !folder.join("node_modules/standardwebhooks").exists() {
        run(Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(&folder)
            .arg(NPM))?;
    }
    Ok(folder)
}

fn verified_by(name: &str, verifier: Result<Command, String>, file: &Path, good: usize) {
    let mut verifier = match verifier {
        Ok(verifier) => verifier,
        Err(why) => {
            skipped(&format!("verification of signatures by {name}'s package"), &why);
            return;
        }
    };
    let done = run(verifier.arg(file)).unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(said.trim(), format!("ok {good}"), "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_peoples_packages_verify_what_is_sent_during_a_rotation_too() {
    let service = Service::start().await;
    let made = service
        .admin("POST", "/ocs/v2.php/apps/webhook_listeners/api/v1/webhooks")
        .json(&json!({"httpMethod": "POST", "uri": "https://example.com/hook",
            "event": r"OCA\OpenRegister\Event\ObjectCreatedEvent", "secret": "generate", "legacySignature": true}))
        .send()
        .await;
    assert_eq!(made.status, 200, "{}", made.text);
    let (id, first) = (made.data()["id"].as_i64().unwrap(), made.data()["secret"].clone());
    assert_eq!(made.data()["legacySignature"], true);
    let first = first.as_str().unwrap().to_owned();
    let by = Caller {
        user: "admin".into(),
        app_id: None,
        client: None,
    };
    let webhook = |service: &Service| service.registry.snapshot().get(WebhookId(id)).unwrap().clone();
    let before = delivered(&webhook(&service)).await;
    let rotate = async |overlap: u64| {
        let changed = service
            .registry
            .rotate_secret(&by, WebhookId(id), None, Duration::from_secs(overlap))
            .await
            .unwrap();
        changed.secret.unwrap().expose_secret().to_owned()
    };
    let second = rotate(3600).await;
    let during = delivered(&webhook(&service)).await;
    assert_eq!(during.header("webhook-signature").split(' ').count(), 2);
    let third = rotate(0).await;
    let after = delivered(&webhook(&service)).await;
    let unrelated = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned();
    let cases: [(Received, Vec<String>, Vec<String>); 3] = [
        (
            before,
            vec![first.clone()],
            vec![second.clone(), unrelated.clone()],
        ),
        (
            during,
            vec![second.clone(), first.clone()],
            vec![third.clone(), unrelated.clone()],
        ),
        (after, vec![third], vec![first, second, unrelated]),
    ];
    let folder = tempfile::tempdir().unwrap();
    let (python, node) = tokio::task::spawn_blocking(|| (python(), node())).await.unwrap();
    std::fs::write(folder.path().join("verify.py"), PYTHON).unwrap();
    if let Ok(node) = &node {
        std::fs::write(node.join("verify.js"), NODE).unwrap();
    }
    for (at, (received, good, bad)) in cases.iter().enumerate() {
        for secret in good {
            let theirs = standardwebhooks::Webhook::new(secret).unwrap();
            theirs.verify(&received.body, &received.headers).unwrap();
            assert!(theirs.verify(b"{}", &received.headers).is_err());
        }
        for secret in bad {
            let theirs = standardwebhooks::Webhook::new(secret).unwrap();
            assert!(theirs.verify(&received.body, &received.headers).is_err());
        }
        let file = folder.path().join(format!("{at}.json"));
        std::fs::write(&file, case(received, good, bad).to_string()).unwrap();
        let script = |program: &Path, script: PathBuf| {
            let mut command = Command::new(program);
            command.arg(script);
            command
        };
        let by_python = python
            .clone()
            .map(|p| script(&p, folder.path().join("verify.py")));
        verified_by("PyPI", by_python, &file, good.len());
        let by_node = node
            .clone()
            .map(|n| script(Path::new("node"), n.join("verify.js")));
        verified_by("npm", by_node, &file, good.len());
    }
    service.stop().await;
}
