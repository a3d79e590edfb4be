//! The demo succeeds, and leaves nothing behind however it ends.

use crate::support::wait::PATIENCE;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_openregister-webhooks");

/// The directory that the demo names.
fn directory(line: &str) -> Option<PathBuf> {
    let (_, path) = line.split_once("its authority is in ")?;
    Some(PathBuf::from(path.trim_end_matches(')')).parent()?.to_owned())
}

#[test]
fn every_documented_event_of_the_tour_arrives_in_both_generations() {
    // The demo ignores settings of the environment.
    let done = Command::new(PROGRAM)
        .arg("demo")
        .env("ORW_LISTEN", "nonsense")
        .output()
        .unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(
        done.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(said.contains("70 of 70 events arrived"), "{said}");
    assert!(!said.contains("SIGNATURE WRONG"), "{said}");
    assert!(!said.lines().find_map(directory).unwrap().exists());
}

#[test]
fn with_keep_it_stays_and_when_it_is_killed_nothing_stays() {
    let mut demo = Command::new(PROGRAM)
        .args(["demo", "--keep"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(demo.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
    {
        said.push(line);
        if said
            .last()
            .is_some_and(|line| line.starts_with("What arrives at "))
        {
            break;
        }
    }
    let dir = said.iter().find_map(|line| directory(line)).unwrap();
    let sidecars: Vec<String> = said
        .iter()
        .filter_map(|line| {
            Some(
                line.split_once("sidecar http://")?
                    .1
                    .split_once(',')?
                    .0
                    .to_owned(),
            )
        })
        .collect();
    let socket = said
        .iter()
        .find_map(|line| Some(line.split_once("psql -h ")?.1.split_once(' ')?.0))
        .unwrap();
    let socket = PathBuf::from(socket);
    assert!(
        dir.exists() && socket.exists() && sidecars.len() == 2,
        "{said:#?}"
    );
    for sidecar in &sidecars {
        TcpStream::connect(sidecar).unwrap();
    }
    demo.kill().unwrap();
    demo.wait().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while dir.exists()
        || socket.exists()
        || sidecars.iter().any(|sidecar| TcpStream::connect(sidecar).is_ok())
    {
        assert!(
            Instant::now() < deadline,
            "something of {} is still there",
            dir.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
