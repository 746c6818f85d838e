//! Components that are made to keep a compiler busy, or to take all memory: each is refused with the bound that it passed,
//! and costs this process nothing.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use weir::{
    error::ErrorKind,
    wasm::{AnyModule, Binary, ChildCompiler, CompileBounds, Compiler, StageHost},
};
use weir_tests::{
    command::Weir,
    made::{Says, functions, loops, nested, stage, targets, types},
    pipeline, scratch,
    seed::with_seed,
    wait_until,
};

/// The command, which compiles.
const WEIR: &str = env!("CARGO_BIN_EXE_weir-under-test");

/// What a test lets a component cost.
const BOUNDS: CompileBounds = CompileBounds {
    cpu: Duration::from_secs(2),
    wall: Duration::from_secs(60),
    memory_mib: 512,
    code_bytes: 16 << 20,
};

fn host_of(program: &Path, cache: Option<&Path>, bounds: CompileBounds) -> StageHost {
    let program = program.to_owned();
    StageHost::new(cache, Compiler::Child(ChildCompiler { program, bounds })).expect("this machine can run WebAssembly")
}

/// The name that a component gives itself, or why it is refused.
fn load(host: &StageHost, component: &[u8]) -> Result<String, (ErrorKind, String)> {
    let binary = Binary::new(component);
    let loaded = host.load_deployed(&binary);
    loaded.map(|module| module.description.name.clone()).map_err(|error| {
        let message = error.to_string();
        let (module, message) = message.split_once(": ").expect("the module is named");
        assert_eq!(module, format!("module {}", binary.digest()));
        (error.kind(), message.to_owned())
    })
}

/// Checks that a component is refused in one of these ways.
#[track_caller]
fn check_refused(what: &str, component: &[u8], ways: &[&str]) {
    let host = host_of(Path::new(WEIR), None, BOUNDS);
    let begun = Instant::now();
    let (kind, message) = load(&host, component).expect_err(what);
    println!("{what}: {} bytes, {:?}: {message}", component.len(), begun.elapsed());
    assert_eq!(kind, ErrorKind::Definition, "{message}");
    assert!(ways.iter().any(|way| message.starts_with(way)), "{what}: {message}");
}

const TOO_MUCH_CPU: &str = "compiling it took more than 2 s of CPU; accepted is what takes less";
const TOO_MUCH_MEMORY: &str = "compiling it took more than 512 MiB of memory; accepted is what takes less";
const TOO_MUCH_CODE: &str = "its machine code has more than 16777216 bytes; accepted is what has less";
const UNFIT: &str = "this is no component that can be run: ";

fn with(more: &str) -> Vec<u8> {
    stage(&Says::default(), more)
}

#[test]
fn a_component_that_keeps_a_compiler_busy_is_refused_by_name() {
    with_seed(|random| {
        check_refused(
            "nested loops over many locals",
            // Some functions, one after another: a single one that takes as long takes as much memory as there may be.
            &with(&(0..12).map(|_| loops(300, 300, random)).collect::<String>()),
            &[TOO_MUCH_CPU],
        );
    });
}

#[test]
fn components_in_components_are_no_matter_for_the_stack_of_this_process() {
    let component = nested(&with(""), 20_000);
    // A stack on which one call for each of them has no room.
    let small = thread::Builder::new().stack_size(256 << 10).spawn(move || {
        check_refused(
            "20 000 nested components",
            &component,
            &["it has more than 1024 modules and components within it"],
        );
    });
    small
        .expect("a thread can be started")
        .join()
        .expect("the test is fine");
}

#[test]
fn code_that_is_larger_than_may_be_is_refused_by_name() {
    with_seed(|random| {
        let bounds = CompileBounds {
            cpu: Duration::from_secs(60),
            memory_mib: 2048,
            code_bytes: 1 << 20,
            ..BOUNDS
        };
        let host = host_of(Path::new(WEIR), None, bounds);
        let (kind, message) = load(&host, &with(&functions(20_000, random))).expect_err("its code is too large");
        assert_eq!(kind, ErrorKind::Definition);
        assert_eq!(
            message,
            "its machine code has more than 1048576 bytes; accepted is what has less"
        );
    });
}

#[test]
fn whatever_there_is_very_much_of_is_compiled_or_refused_by_name() {
    with_seed(|random| {
        let host = host_of(Path::new(WEIR), None, BOUNDS);
        for (what, component) in [
            ("functions", with(&functions(60_000, random))),
            (
                "targets of jumps",
                with(&(0..20).map(|_| targets(60_000, random)).collect::<String>()),
            ),
            ("types", with(&types(30_000))),
            ("imports", imports(20_000)),
            ("memories", with(&"(memory 0)".repeat(90))),
        ] {
            let begun = Instant::now();
            let outcome = load(&host, &component);
            println!("{what}: {} bytes, {:?}: {outcome:?}", component.len(), begun.elapsed());
            if let Err((kind, message)) = outcome {
                assert_eq!(kind, ErrorKind::Definition, "{what}: {message}");
                let ways = [
                    TOO_MUCH_CPU,
                    TOO_MUCH_MEMORY,
                    TOO_MUCH_CODE,
                    UNFIT,
                    "it needs ",
                    "it does not export",
                    "it cannot describe itself",
                ];
                assert!(ways.iter().any(|way| message.starts_with(way)), "{what}: {message}");
            }
        }
    });
}

/// A component that imports so many functions.
fn imports(count: usize) -> Vec<u8> {
    let each = (0..count).map(|number| format!("(import \"f{number}\" (func))"));
    wat::parse_str(format!("(component {})", each.collect::<String>())).expect("that is a component")
}

#[test]
fn memory_is_bounded_also_where_little_time_is_taken() {
    let bounds = CompileBounds {
        memory_mib: 96,
        cpu: Duration::from_secs(60),
        ..BOUNDS
    };
    let host = host_of(Path::new(WEIR), None, bounds);
    with_seed(|random| {
        let (kind, message) = load(&host, &with(&functions(300_000, random))).expect_err("there is no room for it");
        assert_eq!(kind, ErrorKind::Definition, "{message}");
        assert!(
            message.starts_with("compiling it took more than 96 MiB of memory"),
            "{message}"
        );
    });
}

/// A program in the place of the command: it notes its process, and then does what `then` says.
struct Instead {
    folder: TempDir,
}

impl Instead {
    fn new(then: &str) -> Self {
        let folder = scratch();
        let (script, notes) = (folder.path().join("weir"), folder.path().join("started"));
        fs::write(&script, format!("#!/bin/sh\necho $$ >> {}\n{then}\n", notes.display())).expect("it can be written");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it can be made a program");
        Self { folder }
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("weir")
    }

    /// The processes that were started.
    fn started(&self) -> Vec<u32> {
        let notes = fs::read_to_string(self.folder.path().join("started")).unwrap_or_default();
        notes
            .lines()
            .map(|line| line.parse().expect("it is a number"))
            .collect()
    }
}

fn compiles() -> Instead {
    Instead::new(&format!("exec {WEIR} \"$@\""))
}

fn waits() -> Instead {
    Instead::new("exec sleep 1000")
}

fn is_there(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

#[test]
fn a_component_that_several_want_at_once_is_compiled_once_and_kept() {
    let (instead, cache) = (compiles(), scratch());
    let cache = cache.path().join("cache");
    let component = with("");
    let host = host_of(&instead.program(), Some(&cache), CompileBounds::default());
    thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| load(&host, &component))).collect();
        for one in all {
            assert_eq!(one.join().expect("nobody panics"), Ok("made".to_owned()));
        }
    });
    // All of them hold the module only for a moment; who came late found it on disk.
    assert_eq!(instead.started().len(), 1);
    let again = host_of(&instead.program(), Some(&cache), CompileBounds::default());
    assert_eq!(load(&again, &component), Ok("made".to_owned()));
    assert_eq!(instead.started().len(), 1, "it was kept");

    // What is not as it was is not run, but made anew.
    let files = || {
        fs::read_dir(&cache)
            .expect("there is a cache")
            .map(|file| file.expect("a file").path())
    };
    let file = files().next().expect("something is kept");
    let mut bytes = fs::read(&file).expect("it can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).expect("it can be written");
    let again = host_of(&instead.program(), Some(&cache), CompileBounds::default());
    assert_eq!(load(&again, &component), Ok("made".to_owned()));
    assert_eq!(instead.started().len(), 2, "it was compiled again");
    assert_eq!(files().count(), 1);
}

#[test]
fn what_a_component_is_and_what_it_says_is_found_out_with_one_compilation() {
    let (instead, folder) = (compiles(), scratch());
    let path = folder.path().join("made.wasm");
    fs::write(&path, with("")).expect("it can be written");
    let host = host_of(&instead.program(), None, CompileBounds::default());
    assert!(matches!(host.load_any(&path), Ok(AnyModule::Stage(_))));
    assert_eq!(instead.started().len(), 1);
}

#[test]
fn a_compiler_that_nobody_waits_for_is_killed() {
    let instead = waits();
    let host = host_of(&instead.program(), None, CompileBounds::default());
    let component = Binary::new(with(""));
    let begin = || host.begin_deployed(&component).expect("it can be begun");
    let (one, other) = (begin(), begin());
    wait_until("the compiler to start", || instead.started().len() == 1);
    let process = instead.started()[0];
    drop(one);
    assert!(is_there(process) && !other.is_done(), "one still waits for it");
    drop(other);
    wait_until("the compiler to be gone", || !is_there(process));
    // Whoever wants it now begins anew.
    let again = begin();
    wait_until("the next compiler to start", || instead.started().len() == 2);
    let (told, hears) = channel();
    again.then(move || told.send(()).expect("somebody listens"));
    host.interrupt();
    hears.recv().expect("it is told");
    assert!(again.is_done());
    let (kind, message) = load(&host, component.bytes()).expect_err("it was given up");
    assert_eq!(
        (kind, message.as_str()),
        (ErrorKind::Environment, "compiling it was given up, since weir ends")
    );
    wait_until("that compiler to be gone", || !is_there(instead.started()[1]));
}

#[test]
fn a_few_are_compiled_at_a_time_and_the_next_when_one_of_them_is_done() {
    let instead = waits();
    let host = host_of(&instead.program(), None, CompileBounds::default());
    let begin = |number: usize| {
        let component = Binary::new(with(&format!("(func (export \"f{number}\"))")));
        host.begin_deployed(&component).expect("it can be begun")
    };
    let running = || {
        instead
            .started()
            .into_iter()
            .filter(|process| is_there(*process))
            .count()
    };
    let first = [begin(0), begin(1)];
    wait_until("two compilers", || instead.started().len() == 2);
    let others = [begin(2), begin(3)];
    assert_eq!(instead.started().len(), 2, "the others wait");
    // One goes, one comes.
    let [one, other] = first;
    drop(one);
    wait_until("the third compiler", || instead.started().len() == 3);
    assert_eq!(running(), 2);
    drop(other);
    wait_until("the fourth compiler", || instead.started().len() == 4);
    assert_eq!(running(), 2);
    drop(others);
    wait_until("all to be gone", || running() == 0);
}

#[test]
fn a_compiler_that_does_not_come_back_is_killed_by_the_clock() {
    let instead = waits();
    let bounds = CompileBounds {
        wall: Duration::from_secs(1),
        ..BOUNDS
    };
    let host = host_of(&instead.program(), None, bounds);
    let (kind, message) = load(&host, &with("")).expect_err("it never answers");
    assert_eq!(
        (kind, message.as_str()),
        (
            ErrorKind::Environment,
            "compiling it took more than 1 s by the clock, and less than 2 s of CPU: this machine has no time for it, or somebody \
             stopped the process"
        )
    );
    assert!(!is_there(instead.started()[0]));
}

#[test]
fn a_compiler_that_is_none_is_told_of_as_a_fault_of_the_machine() {
    let check = |program: &Path, words: &str| {
        let (kind, message) = load(&host_of(program, None, BOUNDS), &with("")).expect_err("nobody compiles");
        assert_eq!(kind, ErrorKind::Environment, "{message}");
        assert!(message.contains(words), "{message}");
    };
    check(
        Path::new("/nowhere/weir"),
        "cannot start /nowhere/weir to compile a component: No such file",
    );
    check(&Instead::new("echo hello").program(), "a compiler gave half an answer");
    check(
        &Instead::new("printf '\\033[2Jno\\n' >&2; exit 1").program(),
        "the process that compiles it failed (exit status: 1): \\u{1b}[2Jno",
    );
}

/// The process that compiles, with a pipe to it.
fn compiler() -> Command {
    let mut command = Command::new(WEIR);
    command
        .arg("compile-component")
        .args(["--cpu-s", "60", "--memory-mib", "512", "--code-bytes", "1000000"])
        .stdin(Stdio::piped());
    command
}

#[test]
fn a_compiler_ends_when_the_pipe_to_it_does_and_has_bounds_of_its_own() {
    let mut child = compiler()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it can be started");
    let limits = format!("/proc/{}/limits", child.id());
    let bound = |name: &str| {
        let limits = fs::read_to_string(&limits).expect("it has limits");
        let line = limits
            .lines()
            .find(|line| line.starts_with(name))
            .expect("there is that limit");
        line.trim_start_matches(name)
            .split_whitespace()
            .next()
            .expect("it has a value")
            .to_owned()
    };
    // It sets the last of them before it reads anything.
    wait_until("its bounds", || bound("Max address space") == (512 << 20).to_string());
    assert_eq!(bound("Max cpu time"), "60");
    assert_eq!(bound("Max core file size"), "0");
    assert_eq!(bound("Max file size"), "0");
    assert_eq!(bound("Max open files"), "16");
    let of_process = |file: &str| {
        let path = format!("/proc/{}/{file}", child.id());
        fs::read_to_string(path).expect("this is Linux")
    };
    // Behind the name, which may hold anything: 16 more values, and how nice it is.
    let stat = of_process("stat");
    let (_, values) = stat.rsplit_once(')').expect("it has a name");
    assert_eq!(values.split_whitespace().nth(16), Some("10"), "others come first");
    assert_eq!(of_process("oom_score_adj").trim(), "1000", "it is the first to go");
    drop(child.stdin.take());
    assert!(!child.wait().expect("it ends").success());
}

#[test]
fn a_compiler_at_work_ends_when_the_pipe_to_it_does() {
    with_seed(|random| {
        let mut child = compiler().stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.as_mut().expect("it can be started");
        let component = with(&loops(500, 500, random));
        let mut stdin = child.stdin.take().expect("it has a pipe");
        stdin
            .write_all(&(component.len() as u64).to_le_bytes())
            .and_then(|()| stdin.write_all(&component))
            .expect("it reads");
        drop(stdin);
        // By itself, and long before its time is over: that would be a signal.
        assert_eq!(child.wait().expect("it ends").code(), Some(1));
    });
}

/// A stranger's component is all that the process has to do with: no password of the environment, and no key that
/// somebody presses.
#[test]
fn a_compiler_knows_nothing_of_the_one_that_started_it() {
    let instead = Instead::new(&format!(
        "folder=${{0%/*}}; env > $folder/environment; cat /proc/$$/stat > $folder/stat; exec {WEIR} \"$@\""
    ));
    let host = host_of(&instead.program(), None, CompileBounds::default());
    assert_eq!(load(&host, &with("")), Ok("made".to_owned()));
    let noted = |name: &str| fs::read_to_string(instead.folder.path().join(name)).expect("it was noted");
    assert!(
        std::env::vars_os().count() > 5,
        "there is an environment to keep from it"
    );
    let threads = thread::available_parallelism().map_or(1, usize::from).min(4);
    for variable in noted("environment").lines() {
        let (name, value) = variable.split_once('=').expect("each has a value");
        match name {
            "RAYON_NUM_THREADS" => assert_eq!(value, threads.to_string()),
            // The shell's own.
            "LD_LIBRARY_PATH" | "PWD" | "OLDPWD" | "SHLVL" | "_" => {}
            _ => panic!("{name} is none of its business"),
        }
    }
    let stat = noted("stat");
    let group = stat.split_whitespace().nth(4).map(str::to_owned);
    assert_eq!(group, Some(instead.started()[0].to_string()), "a group of its own");
}

#[test]
fn a_cache_that_others_can_write_to_is_left_alone_and_that_is_said() {
    let (home, pipeline) = (scratch(), pipeline("last-page"));
    let cache = home.path().join("weir");
    let check = || {
        let variables = [("XDG_CACHE_HOME", home.path().to_str().expect("it is text"))];
        let line = ["check", pipeline.to_str().expect("it is text")];
        Weir::at(WEIR)
            .run_in_with(Path::new("."), line, &variables)
            .ends_with(0)
    };
    let kept = || fs::read_dir(&cache).expect("there is a cache").count();
    fs::create_dir(&cache).expect("a folder can be made");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).expect("it can be opened to all");
    let said = check().says("others may write to it (mode 777), and what is kept there is run");
    said.says("rules are compiled at every start. XDG_CACHE_HOME names another folder for the cache");
    assert_eq!(kept(), 0);
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).expect("it can be closed");
    check().says_nothing();
    assert_eq!(kept(), 1);
}

#[test]
fn what_is_in_the_way_of_the_cache_is_named() {
    let (home, pipeline) = (scratch(), pipeline("last-page"));
    let (cache, path) = (home.path().join("weir"), home.path().display());
    let check = |variables: &[(&str, &str)]| {
        let line = ["check", pipeline.to_str().expect("it is text")];
        let outcome = Weir::at(WEIR).run_in_with(home.path(), line, variables);
        outcome.ends_with(0)
    };
    let home_text = path.to_string();
    let check_home = || check(&[("XDG_CACHE_HOME", &home_text)]);
    let words = "where a folder has to be; remove it; rules are compiled at every start";
    fs::write(&cache, "").expect("a file can be made");
    check_home().says(&format!("{path}/weir is a file, {words}"));
    fs::remove_file(&cache).expect("it can be removed");
    std::os::unix::fs::symlink("nowhere", &cache).expect("a link can be made");
    check_home().says(&format!(
        "{path}/weir is a symbolic link to nowhere, which is not there, {words}"
    ));
    fs::remove_file(&cache).expect("it can be removed");
    let below = format!("{path}/file/below");
    fs::write(home.path().join("file"), "").expect("a file can be made");
    check(&[("XDG_CACHE_HOME", &below)]).says(&format!("{path}/file is a file, {words}"));

    // A folder with the name of a file with code.
    check_home().says_nothing();
    let files = fs::read_dir(&cache).expect("there is a cache").flatten();
    let file = files.map(|file| file.path()).next().expect("the code is kept");
    fs::remove_file(&file).expect("it can be removed");
    fs::create_dir(&file).expect("a folder can be made");
    let name = file.file_name().expect("it has a name").display().to_string();
    check_home().says(&format!(
        "cannot keep compiled code in {path}/weir: {name} is a folder, where a file has to be; remove it"
    ));
    fs::remove_dir(&file).expect("it is empty");

    // The specification of these folders lets a path that is not absolute be passed over.
    let relative = [("XDG_CACHE_HOME", "here"), ("HOME", &home_text)];
    check(&relative).says(&format!(
        "XDG_CACHE_HOME is here, which is no absolute path and is passed over: compiled code is kept in {path}/.cache/weir"
    ));
    let relative = [("XDG_CACHE_HOME", ""), ("HOME", "here")];
    check(&relative)
        .says("HOME is here, which is no absolute path and is passed over: rules are compiled at every start");
    let absolute = [("XDG_CACHE_HOME", home_text.as_str()), ("HOME", "here")];
    check(&absolute).says_nothing();
    assert!(!home.path().join("here").exists());
}

/// What is to compile and does something else.
fn program_of(folder: &Path, text: &str) -> PathBuf {
    let program = folder.join("compiler");
    fs::write(&program, format!("#!/bin/sh\n{text}\n")).expect("it can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it can be made a program");
    program
}

#[test]
fn a_compiler_that_the_system_kills_says_nothing_of_the_component_until_it_is_always_so() {
    let folder = scratch();
    let program = program_of(folder.path(), "kill -9 $$");
    let host = host_of(&program, None, BOUNDS);
    let component = with("");
    for (kind, words) in [
        (ErrorKind::Environment, "as the system does where memory is short"),
        (ErrorKind::Environment, "as the system does where memory is short"),
        (ErrorKind::Definition, "that was so 3 times in a row"),
    ] {
        let (found, message) = load(&host, &component).expect_err("nothing compiles it");
        assert_eq!(found, kind, "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn what_was_not_compiled_for_want_of_something_is_compiled_when_that_is_there() {
    let folder = scratch();
    let program = program_of(folder.path(), "kill -9 $$");
    let host = host_of(&program, None, BOUNDS);
    let component = Binary::new(with(""));
    let failed = host.begin_deployed(&component).expect("it can be begun");
    wait_until("the failure", || failed.is_done());
    program_of(folder.path(), &format!("exec '{WEIR}' \"$@\""));
    // Somebody still holds what failed, as a rollout does that waits.
    load(&host, component.bytes()).expect("it is compiled now");
    drop(failed);
}
