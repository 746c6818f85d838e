//! What cargo says while it builds, read for a bar: which crates are done, how many there are, what is a complaint.
//!
//! Cargo's bar has no form for programs, so its text is read. Where a later cargo words it otherwise, the bar shows less,
//! and the build is the same.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Processor seconds that a crate takes to compile when nothing is known of it.
const SECONDS_USUAL: f64 = 0.8;

/// How far a build is, by what cargo said of it so far.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Units that are done and units that there are; a crate may have several.
    units: Option<(usize, usize)>,
    /// What it works on.
    doing: String,
    /// Crates that take long and are not done: processor seconds.
    costly: HashMap<&'static str, f64>,
    /// How many units this build compiled.
    compiled: usize,
    /// Processor seconds that they took, by the figures.
    spent: f64,
    /// The program that was built last, or was there already.
    executable: Option<PathBuf>,
}

impl Progress {
    /// The progress of a build that may compile `costly` crates, each with the processor seconds that it takes.
    pub(crate) fn new(costly: &[(&'static str, f64)]) -> Progress {
        Progress {
            costly: costly.iter().copied().collect(),
            ..Progress::default()
        }
    }

    /// Takes a line that cargo wrote to standard output under `--message-format=json`.
    pub(crate) fn note_message(&mut self, line: &str) {
        if !line.starts_with(r#"{"reason":"compiler-artifact""#) {
            return;
        }
        self.executable = executable_of_artifact(line).or(self.executable.take());
        let seconds = name_of_artifact(line).and_then(|name| self.costly.remove(&*name));
        if line.contains(r#""fresh":false"#) {
            self.compiled += 1;
            self.spent += seconds.unwrap_or(SECONDS_USUAL);
        }
    }

    /// Takes a line of standard error without its colours, and says whether it was about progress and nothing else.
    pub(crate) fn note_line(&mut self, line: &str) -> Line {
        let Some((verb, rest)) = split_status(line) else {
            return Line::Message;
        };
        let bar = rest.strip_prefix('[').and_then(|bar| bar.split_once("] "));
        let Some((_, state)) = bar else {
            self.doing = format!("{} {rest}", verb.to_lowercase());
            return Line::Status;
        };
        let (count, doing) = state.split_once(": ").unwrap_or((state, ""));
        let count = count.trim().split_once('/');
        if let Some((done, all)) = count.and_then(|(done, all)| Some((done.parse().ok()?, all.parse().ok()?))) {
            self.units = Some((done, all));
        }
        self.doing = doing.trim_end().to_owned();
        Line::Bar
    }

    /// The program that was built last, or was there already.
    pub(crate) fn executable(&self) -> Option<&Path> {
        self.executable.as_deref()
    }

    /// Units that are done and units that there are, once cargo has said it.
    pub(crate) fn units(&self) -> Option<(usize, usize)> {
        self.units
    }

    /// Units that this build has to compile, done or not, once cargo has said it.
    pub(crate) fn to_build(&self) -> Option<usize> {
        let (done, all) = self.units?;
        Some(all.saturating_sub(done) + self.compiled)
    }

    /// What cargo works on, or waits for.
    pub(crate) fn doing(&self) -> &str {
        &self.doing
    }

    /// Processor seconds that what is left takes on the machine where the figures were measured.
    pub(crate) fn seconds_left(&self) -> Option<f64> {
        let (done, all) = self.units?;
        let left = all.saturating_sub(done);
        // Of the costly crates this build may have fewer than there are.
        let costly = self.costly.len().min(left);
        let share = if self.costly.is_empty() {
            0.0
        } else {
            costly as f64 / self.costly.len() as f64
        };
        let usual = (left - costly) as f64 * SECONDS_USUAL;
        Some(self.costly.values().sum::<f64>() * share + usual)
    }

    /// The share of the work that is done, from 0 to 1.
    pub(crate) fn share(&self) -> Option<f64> {
        let left = self.seconds_left()?;
        Some(if left > 0.0 {
            self.spent / (self.spent + left)
        } else {
            1.0
        })
    }
}

/// What a line of cargo's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Its bar, drawn again.
    Bar,
    /// That it begins or ends something: `   Compiling serde v1.0.229`.
    Status,
    /// All else: errors and warnings, for a person to see.
    Message,
}

/// A line of status in its two parts: cargo sets the verb right-aligned to twelve columns.
fn split_status(line: &str) -> Option<(&str, &str)> {
    const VERB_COLUMNS: usize = 12;
    let (verb, rest) = line.split_at_checked(VERB_COLUMNS)?;
    let verb = verb.trim_start();
    let is_verb = verb.starts_with(|c: char| c.is_ascii_uppercase()) && verb.bytes().all(|b| b.is_ascii_alphabetic());
    Some((verb, rest.strip_prefix(' ')?)).filter(|_| is_verb)
}

/// The name of the target that a `compiler-artifact` is of; with ` (test)` after it, if it is compiled with its tests.
fn name_of_artifact(line: &str) -> Option<String> {
    let (_, target) = line.split_once(r#""target":{"#)?;
    let (_, name) = target.split_once(r#""name":""#)?;
    let (name, rest) = name.split_once('"')?;
    let (_, profile) = rest.split_once(r#""profile":{"#)?;
    let (profile, _) = profile.split_once('}')?;
    let suffix = if profile.contains(r#""test":true"#) {
        " (test)"
    } else {
        ""
    };
    Some(format!("{name}{suffix}"))
}

/// The path of the program that a `compiler-artifact` is, if it is one.
fn executable_of_artifact(line: &str) -> Option<PathBuf> {
    let (_, path) = line.split_once(r#""executable":""#)?;
    let mut unescaped = String::new();
    let mut chars = path.chars();
    loop {
        match chars.next()? {
            '"' => return Some(unescaped.into()),
            '\\' => unescaped.push(chars.next()?),
            c => unescaped.push(c),
        }
    }
}

/// `line` without what makes a terminal change colours or clear lines.
pub(crate) fn without_escapes(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut parts = line.split("\u{1b}[");
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(|c: char| ('@'..='~').contains(&c));
        plain.push_str(end.and_then(|end| part.get(end + 1..)).unwrap_or_default());
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAR: &str = "    Building [====>      ] 12/40: wasmtime, weir(build.rs)     ";

    fn artifact(name: &str, is_fresh: bool, is_test: bool) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"path+file:///w/host#weir@0.1.0","target":{{"kind":["lib"],"name":"{name}","src_path":"/w/lib.rs"}},"profile":{{"opt_level":"1","test":{is_test}}},"features":[],"fresh":{is_fresh}}}"#
        )
    }

    #[test]
    fn cargos_bar_says_how_far_it_is_and_at_what() {
        let mut progress = Progress::default();
        assert_eq!(progress.note_line(BAR), Line::Bar);
        assert_eq!(progress.units(), Some((12, 40)));
        assert_eq!(progress.doing(), "wasmtime, weir(build.rs)");
    }

    #[track_caller]
    fn check(line: &str, expect: Line) {
        assert_eq!(Progress::default().note_line(line), expect, "{line:?}");
    }

    #[test]
    fn status_is_told_from_what_a_person_must_see() {
        check("   Compiling serde v1.0.229", Line::Status);
        check("    Blocking waiting for file lock on build directory", Line::Status);
        check(
            "    Finished `dev` profile [optimized] target(s) in 1m 02s",
            Line::Status,
        );
        check("warning: unused variable: `a`", Line::Message);
        check("error[E0308]: mismatched types", Line::Message);
        check(
            "error: could not compile `weir` (lib) due to 1 previous error",
            Line::Message,
        );
        check("  --> host/src/lib.rs:1:16", Line::Message);
        check("Some errors have detailed explanations: E0308, E0425.", Line::Message);
        check("   |", Line::Message);
        check("", Line::Message);
        check("   é é é é é é é é", Line::Message);
    }

    #[test]
    fn what_cargo_waits_for_is_shown() {
        let mut progress = Progress::default();
        progress.note_line("    Blocking waiting for file lock on build directory");
        assert_eq!(progress.doing(), "blocking waiting for file lock on build directory");
        assert_eq!(progress.share(), None);
    }

    #[test]
    fn a_costly_crate_counts_for_what_it_costs() {
        let mut progress = Progress::new(&[("wasmtime", 75.0)]);
        progress.note_line("    Building [>  ] 0/2: a");
        assert_eq!(progress.seconds_left(), Some(75.0 + SECONDS_USUAL));
        progress.note_message(&artifact("a", false, false));
        progress.note_line("    Building [>  ] 1/2: wasmtime");
        assert_eq!(progress.seconds_left(), Some(75.0));
        assert!(progress.share().unwrap() < 0.02);
        progress.note_message(&artifact("wasmtime", false, false));
        progress.note_line("    Building [=> ] 2/2");
        assert_eq!(progress.to_build(), Some(2));
        assert_eq!(progress.share(), Some(1.0));
        assert_eq!(progress.spent, 75.0 + SECONDS_USUAL);
    }

    #[test]
    fn what_was_built_before_costs_nothing() {
        let mut progress = Progress::new(&[("wasmtime", 75.0)]);
        progress.note_message(&artifact("wasmtime", true, false));
        progress.note_line("    Building [=> ] 1/2: weir");
        assert_eq!(progress.seconds_left(), Some(SECONDS_USUAL));
        assert_eq!((progress.spent, progress.to_build()), (0.0, Some(1)));
    }

    #[test]
    fn a_crate_with_its_tests_is_another_than_without() {
        assert_eq!(
            name_of_artifact(&artifact("weir", false, true)).as_deref(),
            Some("weir (test)")
        );
        assert_eq!(
            name_of_artifact(&artifact("weir", false, false)).as_deref(),
            Some("weir")
        );
        assert_eq!(name_of_artifact(r#"{"reason":"build-finished","success":true}"#), None);
    }

    #[test]
    fn the_program_that_was_built_is_known() {
        let mut progress = Progress::default();
        progress.note_message(r#"{"reason":"compiler-artifact","executable":"/a \"b\"/c","fresh":true}"#);
        progress.note_message(r#"{"reason":"compiler-artifact","executable":null,"fresh":true}"#);
        assert_eq!(progress.executable(), Some(Path::new("/a \"b\"/c")));
    }

    #[test]
    fn colours_go() {
        assert_eq!(
            without_escapes("\u{1b}[1m\u{1b}[92m   Compiling\u{1b}[0m a v1"),
            "   Compiling a v1"
        );
        assert_eq!(without_escapes("\u{1b}[Kwarning"), "warning");
        assert_eq!(without_escapes("cut \u{1b}[1"), "cut ");
    }
}
