//! What a process holds, as the system shows it.

use std::{
    fs,
    time::{Duration, Instant},
};

/// How long memory may take to be given back.
const PATIENCE: Duration = Duration::from_secs(20);

/// Memory of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// What it holds now.
    pub(super) now_bytes: u64,
    /// The most that it held at a time.
    pub(super) peak_bytes: u64,
}

impl Memory {
    pub(super) fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
        let bytes = |name: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .expect("a process has memory");
            let kib = line.split_whitespace().next().expect("a number");
            kib.parse::<u64>().expect("a number") * 1024
        };
        Self {
            now_bytes: bytes("VmRSS:"),
            peak_bytes: bytes("VmHWM:"),
        }
    }
}

/// Memory once it is below `most_bytes`.
///
/// # Panics
/// When it does not get there.
#[track_caller]
pub(super) fn settled(process: u32, most_bytes: u64) -> Memory {
    let begun = Instant::now();
    loop {
        let memory = Memory::of(process);
        if memory.now_bytes < most_bytes {
            return memory;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{memory:?}, where {most_bytes} are the most"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// How many children a process has.
pub(super) fn children(process: u32) -> usize {
    let processes = fs::read_dir("/proc").expect("the system shows processes");
    let of = |entry: std::io::Result<fs::DirEntry>| {
        let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        // Behind the name, which may hold anything: the state, and the parent.
        let parent: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        Some(parent)
    };
    processes.filter_map(of).filter(|&parent| parent == process).count()
}
