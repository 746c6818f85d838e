//! `weir compile-component`: what `weir` starts of itself to compile a component. Not for people.

use crate::{
    error::Result,
    wasm::{CompileBounds, Work},
};
use std::{process::ExitCode, time::Duration};

/// Compiles a component for another weir, within bounds.
#[derive(Debug, clap::Args)]
pub(super) struct CompileComponent {
    /// Seconds of CPU time.
    #[arg(long)]
    cpu_s: u64,
    /// MiB of address space.
    #[arg(long)]
    memory_mib: u64,
    /// Bytes of machine code.
    #[arg(long)]
    code_bytes: u64,
}

impl CompileComponent {
    pub(super) fn run(self) -> Result<ExitCode> {
        let bounds = CompileBounds {
            cpu: Duration::from_secs(self.cpu_s),
            memory_mib: self.memory_mib,
            code_bytes: self.code_bytes,
            ..Default::default()
        };
        Work(bounds).run()?;
        Ok(ExitCode::SUCCESS)
    }
}
