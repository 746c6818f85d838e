//! Each fuzz target over its corpus, and over changed copies of what is in it, for a moment. The corpus grows by what `cargo
//! xtask fuzz` finds; `WEIR_CASES=100` makes a hundred times as many copies.

use std::{fs, panic, path::PathBuf};
use weir_tests::{
    fuzz::{TARGETS, inputs, tables},
    seed::{Random, with_seed},
    workspace,
};

/// Changed copies of a corpus, for each target.
const COPIES: [(&str, usize); 10] = [
    ("decode", 60_000),
    ("changes", 60_000),
    ("answer", 200_000),
    ("pipeline", 1500),
    ("state", 1500),
    ("lines", 60_000),
    ("csv", 30_000),
    ("avro", 30_000),
    ("protobuf", 30_000),
    ("elements", 30_000),
];

/// Pieces that mean something to one target or the other.
const PIECES: [&str; 46] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "1e999",
    "-0",
    "\\u0000",
    "\\ud800",
    "\\",
    "\n",
    "\0",
    "é",
    "9223372036854775808",
    "{\"id\":",
    "\"address\":{\"geo\":{",
    "\"op\":\"d\"",
    "\"op\":\"u\"",
    "\"after\":{",
    "\"before\":{\"id\":1}",
    "\"payload\":{",
    "\"payload\":null",
    "[[step]]\n",
    "[[sink]]\n",
    "[step.window]\n",
    "from = ",
    "window = ",
    "tumbling = \"1 h\"",
    "columns = ",
    "group_by = []",
    "primary_key = ",
    "event_time = ",
    "union = [\"",
    "key = ",
    "\"*\"",
    "lookup = ",
    "ttl = \"1 s\"",
    "emit = \"update\"",
    "\u{ff}",
    "1",
    "}}",
    "name",
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = workspace().join("tests/fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|cause| panic!("{}: {cause}", folder.display()))
        .map(|entry| entry.expect("a folder can be read").path())
        .collect();
    files.sort();
    let mut inputs: Vec<Vec<u8>> = files
        .iter()
        .map(|file| fs::read(file).expect("a file of the corpus can be read"))
        .collect();
    // What is elsewhere in the repository anyway.
    match target {
        "pipeline" => {
            let pipelines = fs::read_dir(workspace().join("tests/all/pipelines")).expect("there are pipelines");
            let mut files: Vec<PathBuf> = pipelines.flatten().map(|entry| entry.path()).collect();
            files.sort();
            inputs.extend(files.iter().filter_map(|file| fs::read(file).ok()));
        }
        "state" => inputs.extend(self::inputs()),
        "lines" => inputs.extend(tables()),
        _ => {}
    }
    inputs
}

fn changed(random: &mut Random, all: &[Vec<u8>]) -> Vec<u8> {
    let mut input = all[random.below(all.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let until = (at + random.below(12)).min(input.len());
        match random.below(7) {
            0 => drop(input.drain(at..until)),
            1 => input.truncate(at),
            2 if at < input.len() => input[at] ^= 1 << random.below(8),
            3 if at < input.len() => input[at] = [0, 1, 127, 128, 254, 255][random.below(6)],
            4 => {
                let piece = random.pick(&PIECES).bytes();
                drop(input.splice(at..until, piece));
            }
            5 => {
                let copy = input[at..until].to_vec();
                drop(input.splice(at..at, copy));
            }
            _ => {
                let other = &all[random.below(all.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(40)).min(other.len());
                drop(input.splice(at..until, other[from..to].iter().copied()));
            }
        }
    }
    input
}

#[test]
fn nothing_that_strangers_send_breaks_what_must_hold() {
    let times: usize = std::env::var("WEIR_CASES").map_or(1, |times| times.parse().expect("WEIR_CASES is a number"));
    with_seed(|random| {
        for (name, run) in TARGETS {
            let all = corpus(name);
            assert!(!all.is_empty(), "{name} has a corpus");
            let copies = COPIES
                .iter()
                .find(|(target, _)| *target == name)
                .map_or(0, |(_, copies)| *copies);
            let try_one = |input: &[u8]| {
                if panic::catch_unwind(|| run(input)).is_err() {
                    panic!("target {name} breaks at {:?}", String::from_utf8_lossy(input));
                }
            };
            all.iter().for_each(|input| try_one(input));
            (0..copies * times).for_each(|_| try_one(&changed(random, &all)));
        }
    });
}
