//! `cargo xtask fuzz`: the fuzz targets on libFuzzer, for as long as somebody wants.
//!
//! The instrumentation is the compiler's own, without a sanitizer: the host is safe code, so that what there is to be found
//! are panics and broken promises, and a stable toolchain will do. libFuzzer itself is built from source, which takes a C++
//! compiler.

use std::ffi::OsString;

use crate::build::Build;
use crate::costs;
use crate::error::{Error, Result};
use crate::process;
use crate::say::say;
use crate::workspace;

/// The targets of `fuzz/`.
const TARGETS: [&str; 10] = [
    "decode", "changes", "answer", "pipeline", "state", "lines", "csv", "avro", "protobuf", "elements",
];

/// Counters on every edge, and every comparison, for libFuzzer to read.
const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                            -Cllvm-args=-sanitizer-coverage-trace-compares \
                            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                            -Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1";

/// Seconds for each target, unless told otherwise.
const SECONDS: u64 = 60;

/// Runs the targets that `args` names, or all, one after the other; `--seconds N` says how long each.
///
/// # Errors
/// When an argument means nothing, the build fails, or a target found something: it says where the input is.
pub(crate) fn run(args: &[OsString]) -> Result<()> {
    let (mut targets, mut seconds) = (Vec::new(), SECONDS);
    let mut args = args.iter().map(|arg| arg.to_string_lossy());
    while let Some(arg) = args.next() {
        match (&*arg, TARGETS.iter().find(|target| **target == arg)) {
            (_, Some(target)) => targets.push(*target),
            ("--seconds", None) => {
                let given = args.next().unwrap_or_default();
                seconds = given
                    .parse()
                    .map_err(|_| Error::new(format!("--seconds is \"{given}\"; accepted is a number such as 600")))?;
            }
            _ => {
                return Err(Error::new(format!(
                    "there is no fuzz target \"{arg}\"; there are {}",
                    TARGETS.join(", ")
                )));
            }
        }
    }
    if targets.is_empty() {
        targets = TARGETS.to_vec();
    }

    let root = workspace::root();
    let folder = root.join("target/fuzz");
    // Build scripts are not instrumented where a target is named.
    let triple = triple()?;
    let mut build = process::cargo();
    build
        .current_dir(root.join("fuzz"))
        .args(["build", "--release", "--bins", "--target", &triple, "--target-dir"])
        .arg(&folder)
        .env("RUSTFLAGS", INSTRUMENTED);
    Build::new("fuzz targets", build, &costs::OPTIMISED).run()?;
    for target in targets {
        let found = folder.join("corpus").join(target);
        std::fs::create_dir_all(&found)
            .map_err(|cause| Error::new(format!("cannot make {}: {cause}", found.display())))?;
        say(
            "fuzz",
            format_args!("{target}, {seconds} s; new inputs in {}", found.display()),
        );
        let mut fuzz = std::process::Command::new(folder.join(&triple).join("release").join(target));
        fuzz.current_dir(&root)
            .arg(&found)
            .arg(root.join("tests/fuzz/corpus").join(target))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/found-{target}-", folder.display()))
            .args([
                "-print_final_stats=1",
                "-timeout=10",
                "-rss_limit_mb=4096",
                "-verbosity=0",
            ]);
        process::run(&mut fuzz).map_err(|error| {
            Error::new(format!(
                "{error}: target {target} found something; put the input that is named above into \
                 tests/fuzz/corpus/{target} and run `cargo xtask test -p weir-tests --test all fuzz`"
            ))
        })?;
    }
    Ok(())
}

/// The triple that the compiler builds for by itself.
fn triple() -> Result<String> {
    let told = process::read(std::process::Command::new("rustc").arg("-vV"))?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| Error::new("rustc -vV does not say which host it is for"))
}
