//! Files that weir makes: who may read them, whatever the umask is, and that none is made or written through what somebody put
//! in its place.

use super::{Folder, NAMES, files::wait_for_position, make_pipe, weir};
use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, symlink},
        net::UnixListener,
        process::CommandExt,
    },
    path::Path,
    process::{Child, Command, Stdio},
};
use weir_tests::{
    command::{Outcome, interrupt},
    wait_until, workspace,
};

const EVENTS: &str = "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"b\"}\n";

/// What lies beside a database under a run.
const BESIDE: [&str; 3] = ["p.db-lock", "p.db-wal", "p.db-shm"];

/// Of somebody else.
const PRECIOUS: &str = "of somebody else\n";

/// The user "nobody" of most systems.
const NOBODY: u32 = 65_534;

/// A command in a folder, with a umask.
fn with_umask(folder: &Folder, umask: libc::mode_t, arguments: &str) -> Command {
    let mut command = weir().command();
    command
        .current_dir(folder.0.path())
        .args(arguments.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let set = move || {
        // SAFETY: it may be called between fork and exec, and cannot fail.
        unsafe { libc::umask(umask) };
        Ok(())
    };
    // SAFETY: it does nothing but this call.
    unsafe { command.pre_exec(set) };
    command
}

#[track_caller]
fn run_with_umask(folder: &Folder, umask: libc::mode_t, arguments: &str) -> Outcome {
    let output = with_umask(folder, umask, arguments)
        .output()
        .expect("weir can be started");
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn mode(path: &Path) -> u32 {
    let found = fs::symlink_metadata(path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
    found.mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode can be set");
}

/// A replay that follows its file, once it has read what there is, and all that SQLite keeps is there.
#[track_caller]
fn follow(folder: &Folder, umask: libc::mode_t) -> Child {
    folder.write("events.jsonl", EVENTS);
    let follow = "replay p.toml --input events.jsonl --database p.db --follow";
    let process = with_umask(folder, umask, follow).spawn().expect("weir can be started");
    wait_for_position(folder, "2");
    wait_until("what SQLite keeps", || {
        BESIDE.iter().all(|file| folder.path(file).exists())
    });
    process
}

#[track_caller]
fn end(mut process: Child) {
    interrupt(&process);
    let status = process.wait().expect("weir ends");
    assert!(status.success(), "{status}");
}

/// Ends one that may not have come to hear of signals yet.
#[track_caller]
fn kill(mut process: Child) {
    process.kill().expect("weir runs");
    process.wait().expect("weir ends");
}

/// The modes of a database and of what is beside it.
fn modes(folder: &Folder) -> Vec<(&'static str, u32)> {
    let files = ["p.db"].into_iter().chain(BESIDE);
    files.map(|file| (file, mode(&folder.path(file)))).collect()
}

fn all(mode: u32) -> Vec<(&'static str, u32)> {
    ["p.db"].into_iter().chain(BESIDE).map(|file| (file, mode)).collect()
}

#[test]
fn a_database_and_what_is_beside_it_are_for_their_owner_alone_whatever_the_umask() {
    // The last would keep the owner from writing.
    for umask in [0o000, 0o022, 0o077, 0o277] {
        let folder = Folder::with(NAMES);
        let process = follow(&folder, umask);
        assert_eq!(modes(&folder), all(0o600), "umask {umask:03o}");
        end(process);
        assert_eq!(mode(&folder.path("p.db")), 0o600, "umask {umask:03o}");
        // Who reads makes a log for a moment, and leaves nothing.
        run_with_umask(&folder, umask, "status p.db").ends_with(0);
        assert_eq!(mode(&folder.path("p.db")), 0o600, "umask {umask:03o}");
    }
}

#[test]
fn a_database_that_is_there_keeps_its_mode_and_lends_it_to_what_is_beside_it() {
    for umask in [0o000, 0o077] {
        let folder = Folder::with(NAMES);
        folder.replay(EVENTS).ends_with(0);
        for file in BESIDE {
            let _ = fs::remove_file(folder.path(file));
        }
        set_mode(&folder.path("p.db"), 0o660);
        let process = follow(&folder, umask);
        // What is new is there a moment before it has its mode.
        wait_until(&format!("the mode 660 under umask {umask:03o}"), || {
            let is_so = |found: fs::Metadata| found.mode() & 0o7777 == 0o660;
            let mut files = ["p.db"].into_iter().chain(BESIDE);
            files.all(|file| fs::symlink_metadata(folder.path(file)).is_ok_and(is_so))
        });
        kill(process);
    }
}

#[test]
fn root_leaves_nothing_beside_a_database_that_its_owner_cannot_open() {
    // SAFETY: it only reads.
    if unsafe { libc::geteuid() } != 0 {
        println!("not tested: only root gives files away");
        return;
    }
    let folder = Folder::with(NAMES);
    folder.replay(EVENTS).ends_with(0);
    for file in BESIDE {
        let _ = fs::remove_file(folder.path(file));
    }
    chown(folder.path("p.db"), Some(NOBODY), Some(NOBODY)).expect("root gives files away");
    let process = follow(&folder, 0o022);
    // They are there a moment before they are given away; and those of whoever looked at the position before it go again.
    for file in BESIDE {
        wait_until(&format!("{file} to be its owner's"), || {
            let found = fs::metadata(folder.path(file));
            found.is_ok_and(|found| (found.uid(), found.gid()) == (NOBODY, NOBODY))
        });
    }
    kill(process);
}

#[test]
fn a_folder_that_everybody_may_write_to_is_warned_of() {
    const WORD: &str = "every user may write to folder ";
    for (mode, is_open) in [(0o777, true), (0o1777, false), (0o770, false)] {
        let folder = Folder::with(NAMES);
        set_mode(folder.0.path(), mode);
        let said = folder.replay(EVENTS).ends_with(0).stderr;
        assert_eq!(said.contains(WORD), is_open, "{mode:o}: {said}");
        if is_open {
            assert!(said.contains("(mode 777)") && said.contains("`chmod o-w`"), "{said}");
        }
    }
}

#[test]
fn what_a_person_edits_may_be_read_by_others_as_far_as_the_umask_says() {
    for (umask, file, folder_mode) in [(0o000, 0o644, 0o755), (0o022, 0o644, 0o755), (0o077, 0o600, 0o700)] {
        let folder = Folder::with(NAMES);
        run_with_umask(&folder, umask, "new large-orders").ends_with(0);
        let project = folder.path("large-orders");
        let folders = [
            "",
            ".weir",
            "pipelines",
            "guests/large-orders/src",
            "cases/large-orders/first",
        ];
        assert_eq!(
            folders.map(|name| mode(&project.join(name))),
            [folder_mode; 5],
            "umask {umask:03o}"
        );
        for name in [
            "Cargo.toml",
            "Cargo.lock",
            "weir.toml",
            ".weir/pipeline.schema.json",
            "guests/large-orders/src/lib.rs",
            "pipelines/large-orders.toml",
            "cases/large-orders/first/input.jsonl",
        ] {
            assert_eq!(mode(&project.join(name)), file, "{name}, umask {umask:03o}");
        }
    }
}

/// A folder with a case whose output is not as expected.
fn case() -> Folder {
    let folder = Folder::with(NAMES);
    fs::create_dir_all(folder.path("cases/first")).expect("a folder can be made");
    folder.write("pipeline.toml", NAMES);
    folder.write("cases/first/input.jsonl", EVENTS);
    folder.write("cases/first/expected.jsonl", "{\"id\":1,\"name\":\"other\"}\n");
    folder
}

#[test]
fn expected_rows_are_written_anew_under_their_mode_and_not_through_a_link() {
    let folder = case();
    let expected = folder.path("cases/first/expected.jsonl");
    set_mode(&expected, 0o640);
    run_with_umask(&folder, 0o000, "test --update").ends_with(0);
    assert_eq!(mode(&expected), 0o640);
    folder.weir("test").ends_with(0);

    let folder = case();
    let expected = folder.path("cases/first/expected.jsonl");
    fs::rename(&expected, folder.path("precious")).expect("it can be moved");
    let before = fs::read(folder.path("precious")).expect("it can be read");
    symlink(folder.path("precious"), &expected).expect("a link can be made");
    folder
        .weir("test --update")
        .ends_with(1)
        .says("expected.jsonl: it is a symbolic link to ")
        .says("weir writes to files alone, never through links");
    assert_eq!(fs::read(folder.path("precious")).expect("it can be read"), before);
    let left = fs::read_dir(folder.path("cases/first"))
        .expect("it can be read")
        .count();
    assert_eq!(left, 2, "nothing is left beside it");
}

/// What somebody may put in the place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    LinkToFile,
    LinkToEmptyFile,
    LinkToNothing,
    SecondName,
    Pipe,
    Folder,
    Socket,
}

use Planted::{LinkToEmptyFile, LinkToFile, LinkToNothing, Pipe, SecondName, Socket};

const PLANTED: [Planted; 7] = [
    LinkToFile,
    LinkToEmptyFile,
    LinkToNothing,
    SecondName,
    Pipe,
    Planted::Folder,
    Socket,
];

impl Planted {
    fn plant(self, folder: &Folder, name: &str) {
        let (path, precious) = (folder.path(name), folder.path("precious"));
        folder.write("precious", PRECIOUS);
        folder.write("empty", "");
        set_mode(&precious, 0o644);
        match self {
            LinkToFile => symlink(precious, path),
            LinkToEmptyFile => symlink(folder.path("empty"), path),
            LinkToNothing => symlink(folder.path("nothing"), path),
            SecondName => fs::hard_link(precious, path),
            Pipe => {
                make_pipe(folder, name);
                Ok(())
            }
            Self::Folder => fs::create_dir(path),
            Socket => UnixListener::bind(path).map(drop),
        }
        .expect("it can be planted");
    }

    /// What it is called.
    fn word(self) -> &'static str {
        match self {
            LinkToFile | LinkToEmptyFile | LinkToNothing => "it is a symbolic link to ",
            SecondName => "it is a file with 2 names (hard links)",
            Pipe => "it is a pipe",
            Self::Folder => "it is a folder",
            Socket => "it is a socket",
        }
    }

    /// Checks that nothing came of it.
    #[track_caller]
    fn check_untouched(self, folder: &Folder, place: &str) {
        let precious = folder.path("precious");
        assert_eq!(
            fs::read_to_string(&precious).expect("it can be read"),
            PRECIOUS,
            "{place}"
        );
        assert_eq!(mode(&precious), 0o644, "{place}");
        let empty = fs::metadata(folder.path("empty")).expect("it is there");
        assert_eq!(empty.len(), 0, "{place}");
        assert!(!folder.path("nothing").exists(), "{place}");
    }
}

#[test]
fn what_is_planted_beside_a_database_is_named_and_left_alone() {
    for is_new in [true, false] {
        for suffix in ["-lock", "-wal", "-shm", "-journal"] {
            for planted in PLANTED {
                let place = format!("{planted:?} at {suffix}, new: {is_new}");
                let folder = Folder::with(NAMES);
                if !is_new {
                    folder.replay(EVENTS).ends_with(0);
                }
                let name = format!("p.db{suffix}");
                let _ = fs::remove_file(folder.path(&name));
                planted.plant(&folder, &name);
                let refused = |outcome: Outcome| {
                    outcome
                        .ends_with(1)
                        .says(&format!("{name}: {}", planted.word()))
                        .says("where weir keeps a file of its own, and it is left alone; remove it");
                };
                refused(folder.replay(EVENTS));
                planted.check_untouched(&folder, &place);
                // Who only reads does not need the lock.
                if !is_new && suffix != "-lock" {
                    refused(folder.weir("status p.db"));
                    planted.check_untouched(&folder, &place);
                }
                assert_eq!(
                    folder.path("p.db").exists(),
                    !is_new,
                    "{place}: a database that was refused"
                );
            }
        }
    }
}

#[test]
fn what_is_planted_in_the_place_of_a_database_is_named_and_left_alone() {
    for (planted, said) in [
        (LinkToEmptyFile, "p.db: it is a symbolic link to "),
        (LinkToNothing, "p.db: it is a symbolic link to "),
        // A database may be named by a link, and by another user's leave is none; this is none.
        (LinkToFile, "p.db: file is not a database"),
        (SecondName, "p.db is a file with 2 names (hard links)"),
        (Pipe, "p.db: it is no file"),
        (Planted::Folder, "p.db: it is no file"),
        (Socket, "p.db: it is no file"),
    ] {
        let folder = Folder::with(NAMES);
        planted.plant(&folder, "p.db");
        folder.replay(EVENTS).ends_with(1).says(said);
        planted.check_untouched(&folder, &format!("{planted:?}"));
    }
}

#[test]
fn a_new_rule_takes_no_name_that_is_there() {
    for planted in PLANTED {
        let folder = Folder::with(NAMES);
        planted.plant(&folder, "large-orders");
        folder
            .weir("new large-orders")
            .ends_with(2)
            .says("large-orders is there already");
        planted.check_untouched(&folder, &format!("{planted:?}"));
    }
}

#[test]
fn one_module_makes_all_files() {
    let makes = [
        "File::create",
        "fs::write(",
        "fs::copy(",
        "create_dir",
        "create_new(",
        ".create(true)",
        "tempfile::",
        "DirBuilder",
    ];
    let mut folders = vec![workspace().join("host/src")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the host can be read") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("it is text");
            // Tests make files as they like.
            let own = text.split("#[cfg(test)]").next().unwrap_or_default();
            files += 1;
            if path.ends_with("host/src/files/private_file.rs") || path.ends_with("tests.rs") {
                continue;
            }
            for makes in makes {
                let line = own
                    .lines()
                    .find(|line| line.contains(makes) && !line.trim_start().starts_with("//"));
                // A folder that goes with its owner is held as one.
                let line = line.filter(|line| !line.contains("tempfile::TempDir"));
                // And what the system shows as files are none.
                let line = line.filter(|line| !line.contains("\"/proc/"));
                assert_eq!(line, None, "{}: private_file makes files", path.display());
            }
        }
    }
    assert!(files > 100, "{files} files");
}
