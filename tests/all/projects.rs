//! Folders that are projects: what commands say of them.
//!
//! A case is a file in `projects/`. Its parts begin with `--- `: the files of a folder by their paths, and then command lines
//! with what each says: results, then errors, then the exit code where it is not 0. `UPDATE_EXPECT=1` writes what is said now.

use super::weir;
use std::{fmt::Write, fs, path::Path};
use weir_tests::{scratch, workspace};

/// How a part begins, and how one that is a command line goes on.
const PART: &str = "--- ";
const COMMAND: &str = "$ weir ";

#[test]
fn commands_take_the_folder_of_a_project() {
    let folder = workspace().join("tests/all/projects");
    let entries = fs::read_dir(&folder)
        .expect("the folder of cases can be read")
        .flatten();
    let mut cases: Vec<_> = entries.map(|entry| entry.path()).collect();
    cases.sort();
    assert!(!cases.is_empty(), "there are cases in {}", folder.display());
    let wrong: Vec<String> = cases.iter().filter_map(|case| check(case).err()).collect();
    assert!(
        wrong.is_empty(),
        "UPDATE_EXPECT=1 takes over what is said:\n{}",
        wrong.join("\n")
    );
}

/// Checks one case; the error is what differs.
fn check(case: &Path) -> Result<(), String> {
    let text = fs::read_to_string(case).expect("a case can be read");
    let folder = scratch();
    let mut said = String::new();
    for part in format!("\n{text}").split(&format!("\n{PART}")) {
        let Some((title, body)) = part.split_once('\n') else {
            continue;
        };
        if title.is_empty() {
            continue;
        }
        writeln!(said, "{PART}{title}").expect("a text can be written to");
        match title.strip_prefix(COMMAND) {
            None => {
                let path = folder.path().join(title);
                fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder can be made");
                // The empty line before the next part is no line of the file.
                fs::write(path, format!("{}\n", body.trim_end())).expect("a file can be written");
                writeln!(said, "{}\n", body.trim_end()).expect("a text can be written to");
            }
            Some(arguments) => {
                let outcome = weir().run_in(folder.path(), arguments.split_whitespace());
                let code = match outcome.code {
                    0 => String::new(),
                    code => format!("exit code {code}\n"),
                };
                writeln!(said, "{}{}{code}", outcome.stdout, outcome.stderr).expect("a text can be written to");
            }
        }
    }
    let said = format!("{}\n", said.trim_end());
    if said == text {
        return Ok(());
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(case, &said).expect("a case can be written");
    }
    let name = case.file_name().expect("a case has a name").to_string_lossy();
    Err(format!("{name}\n--- expected\n{text}\n--- said\n{said}"))
}
