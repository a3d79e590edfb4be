//! The laws of the fuzz targets, on their seeds and on random input: what `fuzz/run.sh` looks for in hours holds for the easy
//! cases in every run, and no target rots.

#[path = "../../fuzz/targets/mod.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::support::dice::Dice;

/// Random inputs for one target.
const INPUTS: u64 = 3000;

/// Runs one target on one input. A failure names the input in a form that can be pasted into a file of `fuzz/seeds`.
fn check(name: &str, target: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        println!("fuzz target {name} fails for b\"{}\"", input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn number(dice: &mut Dice, below: usize) -> usize {
    usize::try_from(dice.roll(below.max(1) as u64)).unwrap()
}

fn bytes(dice: &mut Dice, most: usize) -> Vec<u8> {
    (0..number(dice, most)).map(|_| dice.roll(256) as u8).collect()
}

/// A seed with some of its bytes changed, removed, repeated, or replaced by a part of another seed.
fn mutated(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = seeds[number(dice, seeds.len())].clone();
    for _ in 0..=number(dice, 4) {
        let (a, b) = (number(dice, input.len() + 1), number(dice, input.len() + 1));
        let range = a.min(b)..a.max(b).min(a.min(b) + 12);
        let part = match dice.roll(4) {
            0 => bytes(dice, 4),
            1 => Vec::new(),
            2 => input[range.clone()].repeat(2 + number(dice, 3)),
            _ => {
                let other = &seeds[number(dice, seeds.len())];
                let from = number(dice, other.len());
                other[from..(from + number(dice, 16)).min(other.len())].to_vec()
            }
        };
        input.splice(range, part);
    }
    input
}

#[test]
fn the_laws_of_the_fuzz_targets_hold() {
    for (name, target) in targets::TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in &seeds {
            check(name, target, seed);
        }
        let mut dice = Dice::new(name.len() as u64);
        for _ in 0..INPUTS {
            let input = match dice.roll(3) {
                0 => bytes(&mut dice, 64),
                _ => mutated(&mut dice, &seeds),
            };
            check(name, target, &input);
        }
    }
}

#[test]
fn every_target_has_a_dictionary_and_every_seed_a_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for (name, _) in targets::TARGETS {
        assert!(fuzz.join(format!("targets/{name}.dict")).is_file(), "{name}");
    }
    for entry in std::fs::read_dir(fuzz.join("seeds")).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(
            targets::TARGETS.iter().any(|(known, _)| name == *known),
            "{name:?}"
        );
    }
}
