//! The commands of a page, as somebody would type them who starts with an empty folder.
//!
//! Files that the page shows are written (see [`Block::file`]), and commands of `console` blocks are run by a shell, in the
//! order of the page. What a command writes is what the page shows, but for what differs from run to run: figures of speed
//! and size, times, processes and digests; a line `…` stands for any number of lines, and `…` within a line for any text.
//! `UPDATE_EXPECT=1` writes what commands say now into the page.

use super::page::{Block, Page};
use crate::{command::Weir, scratch, workspace};
use std::{
    env, fs,
    io::{Read, pipe},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Commands that are run. Others need a server or change the checkout; whoever reads the page runs them.
const RUN: [&str; 8] = ["weir", "cd", "cat", "mkdir", "for", "sed", "cp", "sqlite3"];

/// How long what settles may take to say what the page shows, and how long if that is to be written.
const SETTLES_MAX: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(4)];

/// What commands find beside files.
pub trait Surroundings {
    /// What to put into the environment of each command.
    fn variables(&self) -> Vec<(&'static str, String)>;

    /// Does what a line of a `sh` block says, which shows nothing.
    fn prepare(&mut self, line: &str, here: &Path);

    /// Does what a command says that is not for the shell, and gives what it writes.
    fn run(&mut self, command: &str, shell: &Shell, here: &Path) -> Option<String>;

    /// Whether a command only looks, at something that may take a moment to come.
    fn settles(&self, command: &str) -> bool;
}

/// A folder, and no server.
#[derive(Debug)]
pub struct Alone;

impl Surroundings for Alone {
    fn variables(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn prepare(&mut self, _: &str, _: &Path) {}

    fn run(&mut self, _: &str, _: &Shell, _: &Path) -> Option<String> {
        None
    }

    fn settles(&self, _: &str) -> bool {
        false
    }
}

/// Runs the commands of a page, and gives how many those were.
///
/// # Panics
/// When one of them says something else than the page, unless that is to be written.
pub fn run(page: &Page, weir: &Weir, surroundings: &mut dyn Surroundings) -> usize {
    let [settles_max, to_write] = SETTLES_MAX;
    let settles_max = if is_written() { to_write } else { settles_max };
    let folder = scratch();
    let shell = Shell::new(folder.path(), weir, surroundings.variables());
    let (mut here, mut commands, mut changes) = (shell.home.clone(), 0, Vec::new());
    for block in page.blocks.iter().filter(|block| !block.needs_checkout) {
        if let Some(name) = block.file() {
            let path = here.join(name);
            fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder can be made");
            fs::write(&path, &block.text).expect("a file of the page can be written");
        } else if block.language == "sh" {
            block.text.lines().for_each(|line| surroundings.prepare(line, &here));
        } else if block.language == "console" {
            let mut now = String::new();
            for (command, expected) in typed(block) {
                now += &format!("$ {command}\n");
                let program = command.split_whitespace().next().unwrap_or_default();
                // Not every machine has the latter, and the tables are checked anyhow.
                let is_run = RUN.contains(&program) && (program != "sqlite3" || is_on_path(program));
                let mut say = |surroundings: &mut dyn Surroundings| {
                    let done = surroundings.run(&command, &shell, &here);
                    let said = done.or_else(|| is_run.then(|| shell.run(&command, &mut here)));
                    said.map(|said| shell.plain(&said))
                };
                let begun = Instant::now();
                let mut said = say(surroundings);
                commands += usize::from(said.is_some() || RUN.contains(&program));
                while said.as_ref().is_some_and(|said| !matches(&expected, said))
                    && surroundings.settles(&command)
                    && begun.elapsed() < settles_max
                {
                    thread::park_timeout(Duration::from_millis(50));
                    said = say(surroundings);
                }
                let said = said.unwrap_or_else(|| expected.clone());
                now += if matches(&expected, &said) { &expected } else { &said };
                let is_spaced = expected == "\n" || expected.ends_with("\n\n");
                now += if is_spaced && !now.ends_with("\n\n") { "\n" } else { "" };
            }
            if now != block.text {
                changes.push((block, now));
            }
        }
    }
    report(page, &changes);
    commands
}

/// Whether what commands say now is to be written into the page.
fn is_written() -> bool {
    env::var_os("UPDATE_EXPECT").is_some()
}

fn report(page: &Page, changes: &[(&Block, String)]) {
    if is_written() {
        let mut text = page.text.clone();
        for (block, now) in changes.iter().rev() {
            text.replace_range(block.range.clone(), now);
        }
        fs::write(&page.path, text).expect("the page can be written");
    } else if let Some((block, now)) = changes.first() {
        panic!(
            "{}: the commands say something else; UPDATE_EXPECT=1 takes it over\n--- in the page\n{}--- now\n{now}",
            page.place(block),
            block.text
        );
    }
}

/// The commands of a block, each with what it writes.
fn typed(block: &Block) -> Vec<(String, String)> {
    let mut typed: Vec<(String, String)> = Vec::new();
    for line in block.text.lines() {
        match (line.strip_prefix("$ "), typed.last_mut()) {
            (Some(command), _) => typed.push((command.to_owned(), String::new())),
            // A command that goes on.
            (None, Some((command, said))) if said.is_empty() && command.ends_with('\\') => {
                *command += "\n";
                *command += line;
            }
            (None, Some((_, said))) => {
                *said += line;
                *said += "\n";
            }
            (None, None) => panic!("line {}: a `console` block begins with a command", block.line),
        }
    }
    typed
}

/// Where commands are run, and find `weir`.
#[derive(Debug)]
pub struct Shell {
    programs: PathBuf,
    home: PathBuf,
    left: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Shell {
    fn new(folder: &Path, weir: &Weir, variables: Vec<(&'static str, String)>) -> Self {
        let (programs, home, left) = (folder.join("bin"), folder.join("home"), folder.join("left"));
        for made in [&programs, &home] {
            fs::create_dir(made).expect("a folder can be made");
        }
        let program = weir.command().get_program().to_owned();
        symlink(program, programs.join("weir")).expect("a link can be made");
        Self {
            programs,
            home,
            left,
            variables,
        }
    }

    /// What runs a command in the folder `here`.
    ///
    /// # Panics
    /// When a folder of the `PATH` has a colon.
    pub fn command(&self, command: &str, here: &Path) -> Command {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([self.programs.clone()].into_iter().chain(env::split_paths(&path)));
        let mut shell = Command::new("sh");
        shell
            .args(["-c", command])
            .current_dir(here)
            .env("PATH", path.expect("a folder of tests has no colon"))
            .env("XDG_CACHE_HOME", workspace().join("target/guide-cache"))
            // Building the guests got all that a rule stands on.
            .env("CARGO_NET_OFFLINE", "true")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        shell
    }

    /// Runs a command in the folder `here`, and gives what it wrote. `cd` changes the folder.
    fn run(&self, command: &str, here: &mut PathBuf) -> String {
        let (mut output, stdout) = pipe().expect("a pipe can be made");
        let stderr = stdout.try_clone().expect("a pipe can be shared");
        let mut shell = self.command("eval \"$0\"\npwd >\"$1\"", here);
        shell.arg(command).arg(&self.left).stdout(stdout).stderr(stderr);
        let mut child = shell.spawn().expect("there is a shell");
        // The pipe ends when nobody holds its other end any more, `shell` included.
        drop(shell);
        let mut said = String::new();
        output.read_to_string(&mut said).expect("what is said is UTF-8");
        child.wait().expect("a shell can be waited for");
        *here = fs::read_to_string(&self.left)
            .expect("the shell left a folder")
            .trim()
            .into();
        said
    }

    /// What was said, as if it had been on a machine `vm`, in the folder of somebody called Ann.
    fn plain(&self, said: &str) -> String {
        let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let machine = machine.trim();
        let said = said
            .replace(&self.home.display().to_string(), "/home/ann")
            .replace(&workspace().display().to_string(), "/home/ann/weir")
            .replace(&format!("@{machine} "), "@vm ");
        // Before the number of a process.
        let before = format!("{machine} ");
        let mut parts = said.split(&before);
        let mut plain = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let is_process = part.starts_with(|c: char| c.is_ascii_digit());
            plain += if is_process { "vm" } else { machine };
            plain += " ";
            plain += part;
        }
        plain
    }
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Whether a command said what the page shows.
fn matches(expected: &str, said: &str) -> bool {
    let (expected, said) = (lines(expected), lines(said));
    fn rest(expected: &[String], said: &[String]) -> bool {
        match (expected.split_first(), said.split_first()) {
            (None, None) => true,
            (Some((line, after)), _) if line == "…" => {
                rest(after, said) || said.split_first().is_some_and(|(_, said)| rest(expected, said))
            }
            (Some((line, after)), Some((found, said))) => line_matches(line, found) && rest(after, said),
            _ => false,
        }
    }
    rest(&expected, &said)
}

/// The lines of a text without blanks at their ends, and without what differs from run to run.
fn lines(text: &str) -> Vec<String> {
    let root = workspace().display().to_string();
    let is_digit = |c: char| c.is_ascii_digit();
    let line = |line: &str| {
        if let Some((events, speed)) = line.split_once("   in ")
            && speed.ends_with(" a second")
        {
            return events.to_owned();
        }
        if line.starts_with("bytes      ") {
            return "bytes".to_owned();
        }
        if line.contains(" events/s, ") {
            return "events/s".to_owned();
        }
        let line = without_digests(&line.trim_end().replace(&root, "/home/ann/weir"));
        let line = masked(&line, "vm ", is_digit);
        let line = masked(&line, "waited ", is_digit);
        let line = masked(&line, "in force after ", |_| true);
        without_times(&line)
    };
    text.trim_end().lines().map(line).collect()
}

/// `text` without what follows `before`.
fn masked(text: &str, before: &str, belongs: impl Fn(char) -> bool) -> String {
    let mut parts = text.split(before);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked += before;
        masked += part.trim_start_matches(&belongs);
    }
    masked
}

/// `text` with the same word for every SHA-256, whole or shortened.
fn without_digests(text: &str) -> String {
    let is_digest = |word: &str| [12, 64].contains(&word.len()) && word.bytes().all(|c| c.is_ascii_hexdigit());
    let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let words = words.map(|word| {
        let alone = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        match is_digest(alone) {
            true => format!("DIGEST{}", &word[alone.len()..]),
            false => word.to_owned(),
        }
    });
    words.collect()
}

/// `text` with the same for every instant.
fn without_times(text: &str) -> String {
    const SHAPE: &str = "0000-00-00 00:00:00Z";
    let is_instant = |text: &str| {
        let pairs = text.chars().zip(SHAPE.chars());
        text.len() == SHAPE.len() && { pairs }.all(|(c, shape)| c == shape || shape == '0' && c.is_ascii_digit())
    };
    let mut plain = text.to_owned();
    for at in 0..text.len() {
        let found = text.get(at..at + SHAPE.len());
        if found.is_some_and(is_instant) {
            plain.replace_range(at..at + SHAPE.len(), SHAPE);
        }
    }
    plain
}

/// Whether a line is as shown, where `…` stands for any text.
fn line_matches(shown: &str, found: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut left) = found.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return left.is_empty();
    };
    for part in middle {
        let Some(at) = left.find(part) else {
            return false;
        };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

#[test]
fn what_is_shown_stands_for_what_is_said() {
    assert!(matches("a\n…\nd", "a\nb\nc\nd\n"));
    assert!(matches("took … ms", "took 12 ms"));
    assert!(matches(
        "  events   5   in 1 ms, 2 a second",
        "  events   5   in 9 ms, 7 a second"
    ));
    assert!(!matches("  events   5", "  events   6   in 9 ms, 7 a second"));
    assert!(!matches("a\n…\nd", "a\nb\nc\n"));
    assert!(!matches("took … ms", "took 12 s"));
    assert!(!matches("a", "a\nb"));
    assert!(matches(
        "  vm 1, a.db: in force from sequence 3, the events waited 9 µs for it\n  in force after 2 ms",
        "  vm 77, a.db: in force from sequence 3, the events waited 10 µs for it\n  in force after 1.5 s"
    ));
    assert!(!matches("in force from sequence 3", "in force from sequence 4"));
    assert!(matches("1  2026-11-22 21:09:38Z  ann", "1  2027-01-02 03:04:05Z  ann"));
    assert!(matches("module 166eaee57866 with", "module 6c91112a8ad2 with"));
    assert!(!matches("module 166eaee57866 with", "module 6c91112a8a with"));
}
