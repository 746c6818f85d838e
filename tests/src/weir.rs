//! The `weir` command, built anew with the tests that run it: what `host/src/main.rs` is, in this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    weir::command::main()
}
