//! The commands of the README and of the manual, run as they stand there.
//!
//! A block of commands is a fence marked `sh`, `console` (commands behind `$ `, and what they print) or `sql`. The blocks of a page run in
//! their order, in a directory of their own, with a private database. An invisible comment before a block says what is special:
//!
//! * `<!-- docs-test: not run: REASON -->`: it is not run, and the count at the end gives the reason;
//! * `terminal until "TEXT"`: a terminal of its own, in which it goes on; the page goes on when it has printed the text;
//! * `types "TEXT"`: what is typed; `exit N`: its exit code; `shows "TEXT"`: what it prints; `until "TEXT"`: it is repeated until it
//!   prints that; `as the superuser`: for SQL; `in each terminal`: once in each of the four that the page has open.
//!
//! A comment that begins with `now` is what people do between blocks: `now write an object`, `now wait for "TEXT"` (in some terminal),
//! `now end "TEXT"` (the terminal that runs this), `now in "second"` (they type there from here on; what was exported in another terminal
//! does not hold there). The first line of a page may name its scene: `scene database` (there is one with
//! OpenRegister's tables), `scene running` (the sidecar is installed and runs, with a webhook, for which the word `ID` stands, a file `secret`, and an event
//! that was delivered).

mod messages;
pub(crate) mod page;
mod session;
mod stage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::page::{Block, Page, Step};
use self::stage::Stage;
use crate::support::skipped::skipped;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What became of the blocks of pages.
#[derive(Debug, Default)]
struct Tally {
    run: usize,
    not_run: BTreeMap<String, usize>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.run += other.run;
        for (reason, count) in other.not_run {
            *self.not_run.entry(reason).or_default() += count;
        }
    }
}

/// Runs the blocks of a page.
///
/// # Errors
/// The page, the line and the reason, where one fails.
async fn walk(page: &Page) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let runs = page
        .steps
        .iter()
        .any(|step| matches!(step, Step::Block(block) if block.not_run.is_none()));
    let mut stage = if runs {
        Some(Stage::set_up(page).await)
    } else {
        None
    };
    for step in &page.steps {
        match (step, stage.as_mut()) {
            (
                Step::Block(Block {
                    not_run: Some(reason),
                    ..
                }),
                _,
            ) => {
                *tally.not_run.entry(reason.clone()).or_default() += 1;
            }
            (Step::Block(block), Some(stage)) => {
                let done = stage.run(block).await;
                done.map_err(|why| format!("{}:{}: {why}\n{}", page.name, block.line, block.text))?;
                tally.run += 1;
            }
            (Step::Now { line, action }, Some(stage)) => {
                let done = stage.act(action).await;
                done.map_err(|why| format!("{}:{line}: {action:?}: {why}", page.name))?;
            }
            (_, None) => {}
        }
    }
    if let Some(stage) = stage {
        stage.tear_down().await;
    }
    Ok(tally)
}

fn read(name: &str) -> Page {
    let text = std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    Page::parse(name, &text).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// The pages of the manual and the README, by name. Decisions hold no commands.
fn pages() -> Vec<String> {
    let mut found = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if root().join(&path).is_dir() && !path.ends_with("decisions") {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "md") {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn the_readme_works_as_it_stands() {
    let tally = walk(&read("README.md"))
        .await
        .unwrap_or_else(|why| panic!("{why}"));
    assert!(tally.run >= 7, "{tally:?}");
}

#[tokio::test]
async fn the_tutorial_leads_to_a_first_webhook() {
    for program in ["psql", "curl", "openssl"] {
        if let Err(error) = std::process::Command::new(program).arg("--version").output() {
            return skipped("the commands of the tutorial", &format!("{program}: {error}"));
        }
    }
    let tally = walk(&read("docs/tutorial.md"))
        .await
        .unwrap_or_else(|why| panic!("{why}"));
    assert!(tally.run >= 15, "{tally:?}");
}

/// `make docs-test`.
#[tokio::test]
#[ignore = "every page: run by `make docs-test`"]
async fn docs_test_every_block_of_the_manual() {
    let mut tally = Tally::default();
    let mut failed = Vec::new();
    for name in pages() {
        let page = read(&name);
        let began = std::time::Instant::now();
        // One page that fails does not hide another.
        match walk(&page).await {
            Ok(one) => {
                let not_run: usize = one.not_run.values().sum();
                if one.run + not_run > 0 {
                    let seconds = began.elapsed().as_secs_f32();
                    println!("{name}: {} blocks run, {not_run} not, {seconds:.1} s", one.run);
                }
                tally.add(one);
            }
            Err(why) => failed.push(why),
        }
    }
    let not_run: usize = tally.not_run.values().sum();
    println!("\n{} blocks were run, {not_run} were not:", tally.run);
    for (reason, count) in &tally.not_run {
        println!("  {count:>3}  {reason}");
    }
    assert!(
        failed.is_empty(),
        "{} pages failed:\n\n{}",
        failed.len(),
        failed.join("\n\n")
    );
}
