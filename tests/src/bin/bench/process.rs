//! The `weir` command as a child process, and what it used.

use crate::{Result, root, say};
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

/// Builds `weir` as it is shipped, and gives its path.
pub(crate) fn build_weir() -> Result<PathBuf> {
    say(format_args!("building weir"));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "weir", "--bin", "weir"])
        .current_dir(root())
        .status()?;
    match built.success() {
        true => Ok(root().join("target/release/weir")),
        false => Err("weir could not be built".into()),
    }
}

/// What a process used from its start to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Time on the clock.
    pub(crate) wall: Duration,
    /// Processor time of all threads, in user and system.
    pub(crate) cpu: Duration,
    /// The most memory that it held at a time.
    pub(crate) peak_rss_bytes: u64,
}

/// Runs `command` to its end. What it says goes to a file in `folder`, and into the error if it fails.
pub(crate) fn run(command: &mut Command, folder: &Path) -> Result<Usage> {
    let said = folder.join("said.txt");
    command
        .stdout(File::create(&said)?)
        .stderr(File::options().append(true).open(&said)?);
    let begun = Instant::now();
    let child = command.spawn()?;
    let (status, usage) = wait(child)?;
    let wall = begun.elapsed();
    if status != 0 {
        let said = std::fs::read_to_string(&said).unwrap_or_default();
        return Err(format!("{command:?} failed:\n{said}").into());
    }
    Ok(Usage { wall, ..usage })
}

/// Waits for the end of a child, and gives its status and what it used but for the time on the clock.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a child that was waited for is of no more use"
)]
fn wait(child: Child) -> Result<(i32, Usage)> {
    let mut status = 0;
    // SAFETY: all-zero bytes are a value of this plain struct.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to values that live through the call. `child` was not waited for yet, so its number is
    // still its own.
    let waited = unsafe { libc::wait4(child.id() as libc::pid_t, &raw mut status, 0, &raw mut used) };
    if waited < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    let duration = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    let usage = Usage {
        wall: Duration::ZERO,
        cpu: duration(used.ru_utime) + duration(used.ru_stime),
        peak_rss_bytes: used.ru_maxrss as u64 * unit,
    };
    Ok((status, usage))
}
