//! Set-up and chores of the workspace: `cargo xtask help`.
//!
//! A fresh machine has cargo and little else. `setup` gets the rest (a wasm toolchain, `nats-server`, the guests as
//! components), and the other commands begin with it, so that one line is enough to see Weir run. What is found is said
//! on standard error; standard output belongs to the program that is run.

mod apt;
mod build;
mod costs;
mod deny;
mod docs;
mod error;
mod fuzz;
mod guests;
mod manifest;
mod nats_server;
mod process;
mod progress;
mod python;
mod say;
mod setup;
mod venv;
mod version;
mod wasm_target;
mod workspace;

use std::process::{Command, ExitCode};
use std::{env, ffi::OsString, num::NonZero, thread};

use build::Build;
use error::Result;
use guests::{COMPONENT_TOOL, DEMO_PACKAGES, DEMO_PROFILE, Profile, Purpose};

const HELP: &str = "\
Set-up and chores of Weir.

Usage: cargo xtask <command> [args…]

Commands:
  setup                    find or get the wasm toolchain, nats-server and the Python libraries of the tests, and
                           build the guests
  guests [--profile NAME]  build the guests to components in target/guests (profile: guest)
  demo [args…]             set up with the guests of the scenarios alone, then run `weir demo args…`, not optimised
  test [args…]             set up, then run `cargo test --workspace args…`
  campaign [--kills N] [--seed S]
                           set up, then kill what runs N times (200), each time at another place
  campaign --hostile N [--seed S]
                           set up, then deploy N components that mean harm to a host under load
  bench [--json] [args…]   set up, then run the benchmark, optimised
  deny [check…]            hold what Weir depends on to .deny.toml: bans, licenses and sources, which
                           need no network; or advisories, which do
  docs                     draw the pictures, check all links, and make a book of docs/ in target/book
  fuzz [target…] [--seconds N]
                           run fuzz targets on libFuzzer, 60 s each: decode, answer, pipeline, state
  help                     print this

What cargo says while it builds is in target/log. A release binary has no debug information: for the lines of a
backtrace or of a profile, build the same code with `cargo build --profile profiling -p weir`.

Examples:
  cargo xtask demo                         see the three reference scenarios run
  cargo xtask test                         everything that must hold
  cargo xtask test -p weir-tests           the tests that cross a boundary, alone
  cargo xtask fuzz decode --seconds 600    look for payloads that break decoding
  cargo xtask bench --json > figures.json  the figures, for a program to read
  cargo xtask docs                         the documentation, to read in a browser
  cargo xtask campaign --kills 5000 --seed 7
                                           a night of kills
  NATS_SERVER=/opt/nats/nats-server cargo xtask setup
                                           use this server and no other
  WEIR_PYTHON=/opt/python/bin/python3 cargo xtask test
                                           use this Python, which has the libraries, and no other
";

/// The exit code for a command line that means nothing, as usual for command-line tools.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    // A `Vec<String>` would panic on arguments that are no text, and those that are passed on need not be.
    let args: Vec<_> = env::args_os().skip(1).collect();
    let (command, args) = match args.split_first() {
        Some((command, args)) => (command.to_string_lossy(), args),
        None => ("help".into(), [].as_slice()),
    };

    let outcome = match (&*command, args) {
        ("help" | "-h" | "--help", _) => {
            print!("{HELP}");
            Ok(())
        }
        ("setup", []) => setup::run(Purpose::Tests, None).map(|_| ()),
        ("guests", []) => build_guests(&Profile::default()),
        ("guests", [option, name]) if option == "--profile" => build_guests(&Profile::named(&name.to_string_lossy())),
        ("demo", _) => {
            let mut build = cargo(&["build"]);
            build.args(DEMO_PROFILE).args(DEMO_PACKAGES);
            build.args(["--bin", "weir", "--bin", COMPONENT_TOOL]);
            let mut demo = cargo(&["run", "--quiet"]);
            demo.args(DEMO_PROFILE)
                .args(["-p", "weir", "--bin", "weir", "--", "demo"]);
            let build = Build::new("weir", build, &costs::DEMO);
            with_nats_server(Purpose::Demo, Some(build), demo, args)
        }
        // Beside --workspace, cargo passes over a package that is named.
        ("test", _) if names_package(args) => {
            with_nats_server(Purpose::Tests, tests(&[], args), cargo(&["test"]), args)
        }
        ("test", _) => {
            let test = cargo(&["test", "--workspace"]);
            with_nats_server(Purpose::Tests, tests(&["--workspace"], args), test, args)
        }
        ("campaign", _) => match campaign(args) {
            Ok(command) => with_nats_server(Purpose::Runs, tests(&CAMPAIGN, &[]), command, &[]),
            Err(problem) => return usage(&problem),
        },
        ("bench", _) => {
            let build = cargo(&["build", "--release", "-p", "weir-tests", "--bin", "bench"]);
            let bench = cargo(&[
                "run",
                "--release",
                "--quiet",
                "-p",
                "weir-tests",
                "--bin",
                "bench",
                "--",
            ]);
            let build = Build::new("bench", build, &costs::OPTIMISED);
            with_nats_server(Purpose::Runs, Some(build), bench, args)
        }
        ("deny", _) => deny::run(args),
        ("docs", []) => docs::run(),
        ("fuzz", _) => fuzz::run(args),
        ("setup" | "guests" | "docs", _) => {
            return usage(&format!("{command:?} does not take these arguments: {args:?}"));
        }
        _ => return usage(&format!("unknown command {command:?}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the guests without looking for a server, for whoever works on a rule and its unit tests alone.
fn build_guests(profile: &Profile) -> Result<()> {
    let Some((build, modules)) = guests::plan(&wasm_target::find_or_install()?, profile, Purpose::Tests)? else {
        return Ok(());
    };
    build.run()?;
    modules.make_components()
}

/// The tests that a campaign is one of.
const CAMPAIGN: [&str; 4] = ["-p", "weir-tests", "--test", "jetstream"];

/// The test that kills what runs, or that deploys what means harm, for as often as `args` say.
///
/// # Errors
/// What is wrong with them.
fn campaign(args: &[OsString]) -> std::result::Result<Command, String> {
    let mut command = cargo(&["test"]);
    command.args(CAMPAIGN);
    let is_hostile = args.iter().any(|option| option == "--hostile");
    command.args([if is_hostile { "hostile::" } else { "campaign::" }, "--", "--nocapture"]);
    for pair in args.chunks(2) {
        let [option, number] = pair else {
            return Err(format!("{pair:?} needs a number"));
        };
        let variable = match option.to_str() {
            Some("--kills") => "WEIR_KILLS",
            Some("--hostile") => "WEIR_HOSTILE",
            Some("--seed") => "WEIR_SEED",
            _ => return Err(format!("unknown option {option:?} of campaign")),
        };
        command.env(variable, number);
    }
    Ok(command)
}

/// Whether arguments of `cargo test` say which package is meant.
fn names_package(args: &[OsString]) -> bool {
    let own = args.iter().take_while(|arg| *arg != "--");
    own.map(|arg| arg.to_string_lossy())
        .any(|arg| arg.starts_with("-p") || arg.starts_with("--package"))
}

/// The build of the tests that `cargo test` with these arguments runs, or nothing where it builds none or has its own to say.
fn tests(packages: &[&str], args: &[OsString]) -> Option<Build> {
    const OWN: [&str; 6] = ["--doc", "--help", "-h", "--quiet", "-q", "--message-format"];
    let own: Vec<&OsString> = args.iter().take_while(|arg| *arg != "--").collect();
    if own
        .iter()
        .any(|arg| OWN.contains(&arg.to_string_lossy().split('=').next().unwrap_or_default()))
    {
        return None;
    }
    let mut command = cargo(&["test", "--no-run"]);
    command
        .args(packages)
        .args(own.iter().filter(|arg| **arg != "--no-run"));
    Some(Build::new("tests", command, &costs::TESTS))
}

/// A cargo of the user's own toolchain, run at the root of the workspace.
fn cargo(args: &[&str]) -> Command {
    let mut command = process::cargo();
    command.args(args);
    command
}

/// Sets up and builds, then becomes `command` with the user's `args`, so that its exit code is ours.
///
/// # Errors
/// Only if the set-up failed or the program could not be started: otherwise this does not return.
fn with_nats_server(purpose: Purpose, build: Option<Build>, mut command: Command, args: &[OsString]) -> Result<()> {
    let found = setup::run(purpose, build)?;
    command.args(args).env("NATS_SERVER", found.server.path);
    if let Some(python) = found.python {
        command.env(python::VARIABLE, python.path);
    }
    if env::var_os("RUST_TEST_THREADS").is_none() {
        // Tests with servers and processes wait more than they compute.
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        command.env("RUST_TEST_THREADS", (processors + 2).to_string());
    }
    match process::become_program(command)? {}
}

/// Says what was wrong with the command line, and what would have been right.
fn usage(problem: &str) -> ExitCode {
    eprint!("error: {problem}\n\n{HELP}");
    ExitCode::from(EXIT_USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(args: &str, expect: Option<&str>) {
        let args: Vec<OsString> = args.split_whitespace().map(OsString::from).collect();
        let built = tests(&["--workspace"], &args).map(|build| build.words());
        let built = built
            .as_deref()
            .and_then(|words| words.split_once(' '))
            .map(|(_, args)| args);
        assert_eq!(built, expect, "{args:?}");
    }

    #[test]
    fn the_tests_are_built_as_they_will_run() {
        check("", Some("test --no-run --workspace"));
        check(
            "--test all windows",
            Some("test --no-run --workspace --test all windows"),
        );
        check("--no-run", Some("test --no-run --workspace"));
        check("-- --doc --nocapture", Some("test --no-run --workspace"));
    }

    #[test]
    fn nothing_is_built_before_a_cargo_that_has_its_own_to_say() {
        check("--doc", None);
        check("-p weir --help", None);
        check("--message-format=json", None);
    }
}
