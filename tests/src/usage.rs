//! What a child process used from its start to its end.

use std::{
    fs::File,
    io,
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

/// Time and memory of a process.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Time on the clock.
    pub wall: Duration,
    /// Processor time of all threads, in user and system.
    pub cpu: Duration,
    /// The most memory that it held at a time.
    pub peak_rss_bytes: u64,
}

/// The file in the folder of a command that has what it said.
pub const SAID: &str = "said.txt";

/// Runs `command` to its end. What it says goes to [that file](SAID) in `folder`, and into the error if it fails.
///
/// # Errors
/// When it cannot be run, or does not end with 0.
pub fn run(command: &mut Command, folder: &Path) -> io::Result<Usage> {
    let said = folder.join(SAID);
    File::create(&said)?;
    // Both append: what one says is not written over what the other said.
    let said_by = || File::options().append(true).open(&said);
    command.stdout(said_by()?).stderr(said_by()?);
    let begun = Instant::now();
    let child = command.spawn()?;
    let (status, usage) = wait(child)?;
    let wall = begun.elapsed();
    if status != 0 {
        let said = std::fs::read_to_string(&said).unwrap_or_default();
        return Err(io::Error::other(format!("{command:?} failed:\n{said}")));
    }
    Ok(Usage { wall, ..usage })
}

/// How often the memory of a process is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Waits for the end of a child, and gives its status and what it used but for the time on the clock.
///
/// What the system says of a child's memory at its end begins with what its parent had when it was started. So the child's own
/// highest mark is looked at while it runs.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a child that was waited for is of no more use"
)]
fn wait(child: Child) -> io::Result<(i32, Usage)> {
    let mut status = 0;
    // SAFETY: all-zero bytes are a value of this plain struct.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    let mut peak_rss_bytes = None;
    loop {
        peak_rss_bytes = peak(child.id()).max(peak_rss_bytes);
        // SAFETY: both pointers are to values that live through the call. `child` was not waited for yet, so its number is
        // still its own.
        let waited = unsafe { libc::wait4(child.id() as libc::pid_t, &raw mut status, libc::WNOHANG, &raw mut used) };
        match waited {
            0 => std::thread::sleep(LOOK),
            1.. => break,
            _ => return Err(io::Error::last_os_error()),
        }
    }
    let duration = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    let usage = Usage {
        wall: Duration::ZERO,
        cpu: duration(used.ru_utime) + duration(used.ru_stime),
        peak_rss_bytes: peak_rss_bytes.unwrap_or(used.ru_maxrss as u64 * unit),
    };
    Ok((status, usage))
}

/// The highest mark of a process's memory so far, where the system shows it.
fn peak(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
