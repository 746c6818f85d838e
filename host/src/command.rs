//! The `weir` command: arguments in, exit code out.
//!
//! clap is named here and in `command/`. Each subcommand is a file. Results go to standard output, everything else
//! (progress, errors) to standard error, both through `terminal.rs`.

mod build;
mod check;
mod compile_component;
mod connection;
mod dead_letters;
mod demo;
mod deploy;
mod dev;
mod diff;
mod explain;
mod export;
mod history;
mod log;
mod new;
mod outbox;
mod overridden;
mod picked;
mod project;
mod registry;
mod replay;
mod run;
pub mod sample;
mod schema;
mod shadow;
mod show;
mod signals;
mod signing;
mod status;
mod supervise;
mod table;
mod terminal;
mod test;
mod undeploy;
mod verify;
mod what_if;

use crate::{
    definition::File,
    error::{Context, Error, Result, take_defect},
    fail_point,
    plan::{Now, Plan, Versions},
    text::printable_lines,
    wasm::{CompileBounds, Compiler, StageHost, watch},
};
use clap::{Parser, Subcommand};
use serde_json::json;
use std::{path::Path, process::ExitCode, time::Duration};
use terminal::{Level, say, write_failed};

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  failed on the way: a file, the database, the server, the compiler; or a case failed (test, dev --once)
  2  the arguments, a pipeline file or a module have to be changed first
  3  done, but some rows were refused (table load), some dead letters remain (dead-letters retry), or something
     differs (diff) or does not hold (verify); a version was taken back (deploy --wait-trial)

Examples:
  weir demo
  weir new large-orders
  weir check guests/hourly-orders/pipeline.toml
  weir test large-orders
  weir replay guests/last-page/pipeline.toml --input events.jsonl --database last-page.db
  weir run guests/*/pipeline.toml --nats nats://127.0.0.1:4222
  weir deploy guests/premium-drop/pipeline.toml premium-drop target/guests/premium-drop.wasm";

/// Runs business rules, compiled to WebAssembly, over NATS JetStream event streams, into SQLite tables.
#[derive(Debug, Parser)]
#[command(name = "weir", version, after_help = AFTER_HELP, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Results as JSON, a value on each line, and of an error its kind, message and exit code. docs/JSON.md has an example
    /// of each command.
    #[arg(long, global = true, help_heading = "What is said")]
    json: bool,
    /// Say no more than errors and warnings: no progress, nothing of what goes well. Results are as ever.
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "What is said"
    )]
    quiet: bool,
    /// Say more of what goes on.
    #[arg(short, long, global = true, help_heading = "What is said")]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Replay(replay::Replay),
    #[command(subcommand)]
    Table(table::Table),
    Check(check::Check),
    New(new::New),
    Schema(schema::Schema),
    Build(build::Build),
    Test(test::Test),
    Dev(dev::Dev),
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLetters),
    #[command(subcommand)]
    Outbox(outbox::Outbox),
    Deploy(deploy::Deploy),
    #[command(subcommand)]
    Params(deploy::Params),
    Rollback(deploy::Rollback),
    Undeploy(undeploy::Undeploy),
    #[command(subcommand)]
    Shadow(shadow::Shadow),
    History(history::History),
    #[command(subcommand)]
    Registry(registry::Registry),
    Explain(explain::Explain),
    Export(export::Export),
    Status(status::Status),
    Verify(verify::Verify),
    Diff(diff::Diff),
    Demo(demo::Demo),
    #[command(hide = true)]
    CompileComponent(compile_component::CompileComponent),
    #[command(hide = true)]
    Supervise(supervise::Supervise),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    signals::let_large_writes_fail();
    terminal::set_json(std::env::args_os().any(|argument| argument == "--json"));
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return say_usage(&error),
    };
    let loudest = match (arguments.quiet, arguments.verbose) {
        (true, _) => Level::Warning,
        (false, true) => Level::Debug,
        (false, false) => Level::Info,
    };
    terminal::set_loudest(loudest);
    log::begin(loudest);
    if let (true, Command::Dev(_) | Command::Demo(_)) = (arguments.json, &arguments.command) {
        let error = Error::definition(
            "dev and demo are for people, and have no --json; `weir test --build --json` and `weir replay --json` have",
        );
        end_json(error.kind().name(), &error.to_string(), error.exit_code());
        say!(Error, "weir: {error}");
        return ExitCode::from(error.exit_code());
    }
    let outcome = match arguments.command {
        Command::Run(run) => run.run(),
        Command::Replay(replay) => replay.run(),
        Command::Table(table) => table.run(),
        Command::Check(check) => check.run(),
        Command::New(new) => new.run(),
        Command::Schema(schema) => schema.run(),
        Command::Build(build) => build.run(),
        Command::Test(test) => test.run(),
        Command::Dev(dev) => dev.run(),
        Command::DeadLetters(dead_letters) => dead_letters.run(),
        Command::Outbox(outbox) => outbox.run(),
        Command::Deploy(deploy) => deploy.run(),
        Command::Params(params) => params.run(),
        Command::Rollback(rollback) => rollback.run(),
        Command::Undeploy(undeploy) => undeploy.run(),
        Command::Shadow(shadow) => shadow.run(),
        Command::History(history) => history.run(),
        Command::Registry(registry) => registry.run(),
        Command::Explain(explain) => explain.run(),
        Command::Export(export) => export.run(),
        Command::Status(status) => status.run(),
        Command::Verify(verify) => verify.run(),
        Command::Diff(diff) => diff.run(),
        Command::Demo(demo) => demo.run(),
        Command::CompileComponent(compile) => compile.run(),
        Command::Supervise(supervise) => supervise.run(),
    };
    // Threads may be at work still, where a run was not drained in time: they die of its end, and of nothing else.
    watch::leave();
    // What ran on this thread outside of an engine may have noted one.
    let outcome = outcome.and_then(|code| take_defect().map(|()| code));
    outcome.unwrap_or_else(|error| {
        end_json(error.kind().name(), &error.to_string(), error.exit_code());
        say!(Error, "weir: {error}");
        ExitCode::from(error.exit_code())
    })
}

/// Ends JSON with why there is no more of it. A reader that is gone does not matter any more.
fn end_json(kind: &str, message: &str, code: u8) {
    if terminal::is_json() {
        let _ = terminal::stdout().json(&json!({ "error": error_as_json(kind, message, code) }));
    }
}

fn error_as_json(kind: &str, message: &str, code: u8) -> serde_json::Value {
    json!({ "kind": kind, "message": message, "code": code })
}

/// Help, or what is wrong with the arguments. An argument may hold anything.
fn say_usage(error: &clap::Error) -> ExitCode {
    let text = error.to_string();
    if error.use_stderr() {
        end_json("arguments", text.trim_end(), 2);
    }
    if error.use_stderr() && text != printable_lines(&text) {
        say!(Error, "{}", text.trim_end());
        return ExitCode::from(2);
    }
    error.exit()
}

/// The engine for guests, with the cache of compiled code where one can be kept. What is not there is compiled by children
/// of this process.
fn stage_host() -> Result<StageHost> {
    let bounds = CompileBounds::default();
    let compiler = Compiler::this_program(CompileBounds {
        cpu: Duration::from_secs(fail_point::number("compile-cpu-s", bounds.cpu.as_secs())),
        memory_mib: fail_point::number("compile-memory-mib", bounds.memory_mib),
        ..bounds
    });
    let compiler = compiler.environment(|| "cannot find the file of this program".to_owned())?;
    let cache = StageHost::default_cache();
    say_passed_over(cache.as_deref());
    StageHost::new(cache.as_deref(), compiler.clone()).or_else(|cause| {
        let host = StageHost::new(None, compiler)?;
        say!(
            Warning,
            "weir: {cause}; rules are compiled at every start. XDG_CACHE_HOME names another folder for the cache"
        );
        Ok(host)
    })
}

/// Says which variables for the place of the cache are passed over: a path that is not absolute would lead elsewhere from every
/// folder.
fn say_passed_over(cache: Option<&Path>) {
    let set = ["XDG_CACHE_HOME", "HOME"].map(|name| (name, std::env::var_os(name).unwrap_or_default()));
    let set = set.iter().filter(|(_, value)| !value.is_empty());
    for (name, value) in set.take_while(|(_, value)| !Path::new(value).is_absolute()) {
        let kept = match cache {
            Some(cache) => format!("compiled code is kept in {}", cache.display()),
            None => "rules are compiled at every start".to_owned(),
        };
        say!(
            Warning,
            "weir: {name} is {}, which is no absolute path and is passed over: {kept}",
            Path::new(value).display()
        );
    }
}

/// Reads and checks a pipeline file. `now` stands above what the file says.
fn load_plan(path: &Path, host: &StageHost, now: Option<jiff::Timestamp>) -> Result<Plan> {
    make_plan(&File::read(path)?, host, now, &Versions::new())
}

/// Checks a pipeline, with other modules and parameters than its file's for the steps that `versions` names.
fn make_plan(file: &File, host: &StageHost, now: Option<jiff::Timestamp>, versions: &Versions) -> Result<Plan> {
    let mut plan = Plan::with_versions(file, host, versions)?;
    if let Some(now) = now {
        plan.now = Now::Fixed(now.as_millisecond());
    }
    Ok(plan)
}

/// An instant in RFC 3339.
fn parse_now(text: &str) -> Result<jiff::Timestamp, String> {
    text.parse()
        .map_err(|_| "accepted is an instant in RFC 3339, such as 2026-03-15T12:00:00+08:00".to_owned())
}
