//! The `weir` command, as a user runs it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The command. Tests make one of `env!("CARGO_BIN_EXE_weir-under-test")`, which cargo builds before them.
#[derive(Clone, Debug)]
pub struct Weir {
    program: PathBuf,
}

/// What a command said, and how it ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Weir {
    /// The command at `program`.
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
        }
    }

    /// A command that was not started yet, for tests that keep it running.
    ///
    /// Compiled guests are kept below the folder of the binary, so that a test run leaves the user's cache alone and
    /// compiles each guest once.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let cache = self.program.parent().unwrap_or(Path::new(".")).join("weir-test-cache");
        command.env("XDG_CACHE_HOME", cache).stdin(Stdio::null());
        for variable in [
            "NATS_URL",
            "NATS_CREDS",
            "NATS_USER",
            "NATS_PASSWORD",
            "NATS_TOKEN",
            "NATS_CA",
        ] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started, or says what is no UTF-8.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        self.run_in(Path::new("."), arguments)
    }

    /// Runs it to its end in `folder`.
    ///
    /// # Panics
    /// When it cannot be started, or says what is no UTF-8.
    #[track_caller]
    pub fn run_in<S: AsRef<OsStr>>(&self, folder: &Path, arguments: impl IntoIterator<Item = S>) -> Outcome {
        self.run_in_with(folder, arguments, &[])
    }

    /// Runs it to its end in `folder`, with these variables in its environment.
    ///
    /// # Panics
    /// When it cannot be started, or says what is no UTF-8.
    #[track_caller]
    pub fn run_in_with<S: AsRef<OsStr>>(
        &self,
        folder: &Path,
        arguments: impl IntoIterator<Item = S>,
        environment: &[(&str, &str)],
    ) -> Outcome {
        let output = self
            .command()
            .current_dir(folder)
            .envs(environment.iter().copied())
            .args(arguments)
            .output()
            .expect("weir can be started");
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
        }
    }
}

impl Outcome {
    /// Checks the exit code.
    ///
    /// # Panics
    /// With everything that the command said, when it is another one.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        let Self {
            code: found,
            stdout,
            stderr,
        } = &self;
        assert_eq!(
            *found, code,
            "exit code\n--- standard output\n{stdout}--- standard error\n{stderr}"
        );
        self
    }

    /// Checks that standard error holds `text`.
    ///
    /// # Panics
    /// With everything that the command said, when it does not.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "{text:?} is not said\n--- standard error\n{}",
            self.stderr
        );
        self
    }

    /// That it said nothing on standard error, but for modules that take a busy machine a while to compile.
    ///
    /// # Panics
    /// With what it said, when it did.
    #[track_caller]
    pub fn says_nothing(self) -> Self {
        let is_of_compiling = |line: &&str| line.contains(" is being compiled, which may take up to ");
        let said: Vec<&str> = self.stderr.lines().filter(|line| !is_of_compiling(line)).collect();
        assert!(
            said.is_empty(),
            "it says something\n--- standard error\n{}",
            self.stderr
        );
        self
    }
}

/// Ctrl-C, for a process that was not waited for.
///
/// # Panics
/// When it cannot be sent.
#[track_caller]
pub fn interrupt(child: &std::process::Child) {
    let process = i32::try_from(child.id()).expect("process ids are small");
    // SAFETY: a signal to a child that was not waited for, so that its id is its own.
    let sent = unsafe { libc::kill(process, libc::SIGINT) };
    assert_eq!(sent, 0, "the signal can be sent");
}
