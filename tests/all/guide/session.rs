//! The commands of a page, as somebody would type them who starts with an empty folder.
//!
//! Files that the page shows are written (see [`Block::file`]), and commands of `console` blocks are run by a shell, in the
//! order of the page. What a command writes is what the page shows, but for figures of speed and size: a line `…` stands
//! for any number of lines, and `…` within a line for any text. `UPDATE_EXPECT=1` writes what commands say now into the page.

use super::{
    super::weir,
    page::{Block, Page},
};
use std::{
    env, fs,
    io::{Read, pipe},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use weir_tests::{scratch, workspace};

/// Commands that are run. Others need a server or change the checkout; whoever reads the page runs them.
const RUN: [&str; 8] = ["weir", "cd", "cat", "mkdir", "for", "sed", "cp", "sqlite3"];

/// Runs the commands of a page, and gives how many those were.
pub(super) fn run(page: &Page) -> usize {
    let folder = scratch();
    let shell = Shell::new(folder.path());
    let (mut here, mut commands, mut changes) = (folder.path().join("home"), 0, Vec::new());
    for block in page.blocks.iter().filter(|block| !block.needs_checkout) {
        if let Some(name) = block.file() {
            let path = here.join(name);
            fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder can be made");
            fs::write(&path, &block.text).expect("a file of the page can be written");
        } else if block.language == "console" {
            let mut now = String::new();
            for (command, expected) in typed(block) {
                now += &format!("$ {command}\n");
                let program = command.split_whitespace().next().unwrap_or_default();
                if !RUN.contains(&program) {
                    now += &expected;
                    continue;
                }
                commands += 1;
                // Not every machine has one, and the tables are checked anyhow.
                if program == "sqlite3" && !is_on_path(program) {
                    now += &expected;
                    continue;
                }
                let said = shell.run(&command, &mut here);
                now += if matches(&expected, &said) { &expected } else { &said };
                now += if expected.ends_with("\n\n") && !now.ends_with("\n\n") {
                    "\n"
                } else {
                    ""
                };
            }
            if now != block.text {
                changes.push((block, now));
            }
        }
    }
    report(page, &changes);
    commands
}

fn report(page: &Page, changes: &[(&Block, String)]) {
    if env::var_os("UPDATE_EXPECT").is_some() {
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

/// Where commands find `weir`.
struct Shell {
    programs: PathBuf,
    left: PathBuf,
}

impl Shell {
    fn new(folder: &Path) -> Self {
        let programs = folder.join("bin");
        for made in [&programs, &folder.join("home")] {
            fs::create_dir(made).expect("a folder can be made");
        }
        let program = weir().command().get_program().to_owned();
        symlink(program, programs.join("weir")).expect("a link can be made");
        let left = folder.join("left");
        Self { programs, left }
    }

    /// Runs a command in the folder `here`, and gives what it wrote. `cd` changes the folder.
    fn run(&self, command: &str, here: &mut PathBuf) -> String {
        let (mut output, stdout) = pipe().expect("a pipe can be made");
        let stderr = stdout.try_clone().expect("a pipe can be shared");
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([self.programs.clone()].into_iter().chain(env::split_paths(&path)));
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "eval \"$0\"\npwd >\"$1\"", command])
            .arg(&self.left)
            .current_dir(&*here)
            .env("PATH", path.expect("a folder of tests has no colon"))
            .env("XDG_CACHE_HOME", workspace().join("target/guide-cache"))
            // Building the guests got all that a rule stands on.
            .env("CARGO_NET_OFFLINE", "true")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr);
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

/// The lines of a text without blanks at their ends, figures of speed and size, and the folder of the SDK.
fn lines(text: &str) -> Vec<String> {
    let root = workspace().display().to_string();
    let line = |line: &str| match line.split_once("   in ") {
        Some((events, speed)) if speed.ends_with(" a second") => events.to_owned(),
        _ if line.starts_with("bytes      ") => "bytes".to_owned(),
        _ => line.trim_end().replace(&root, "…"),
    };
    text.trim_end().lines().map(line).collect()
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
}
