//! `cargo xtask docs`: the documentation as a book in `target/book`, its pictures drawn and its links checked.
//!
//! Once mdBook is there (and graphviz, where a picture changed), nothing of it needs a network.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::say::say;
use crate::version::Version;
use crate::{process, workspace};

mod links;
mod pictures;

/// The release of mdBook that the book is built with.
const MDBOOK: &str = "0.5.4";

/// Draws the pictures, checks all links, and builds the book.
///
/// # Errors
/// Names each dead link; or says what is missing for the rest.
pub(crate) fn run() -> Result<()> {
    pictures::draw()?;
    let count = links::check(&workspace::root())?;
    say(
        "links",
        format_args!("{count} in README.md, docs/ and beside them; none is dead"),
    );
    let mdbook = find_or_install()?;
    process::run(Command::new(&mdbook).arg("build").arg(workspace::root()))?;
    let carried = links::carry(&workspace::root(), &workspace::target().join("book"))?;
    say(
        "book",
        format_args!("target/book/index.html ({carried} files from outside of docs/)"),
    );
    Ok(())
}

/// One on the `PATH` that is recent enough, else the one below `target/`, which is compiled if need be.
fn find_or_install() -> Result<PathBuf> {
    if let Some(path) = process::find_on_path("mdbook") {
        match probe(&path) {
            Ok(()) => return Ok(path),
            Err(error) => say("mdbook", format_args!("passed over: {error}")),
        }
    }
    let folder = workspace::target().join("mdbook");
    let path = folder.join("bin").join("mdbook");
    if probe(&path).is_ok() {
        return Ok(path);
    }
    say(
        "mdbook",
        format_args!("compiling {MDBOOK} into target/mdbook, once; two minutes on two cores …"),
    );
    let mut install = process::cargo();
    install
        .args(["install", "mdbook", "--version", MDBOOK, "--locked", "--quiet"])
        // Neither a server nor a watcher; the search in the book stays.
        .args(["--no-default-features", "--features", "search"])
        .arg("--root")
        .arg(&folder)
        .arg("--target-dir")
        .arg(folder.join("build"));
    process::run(&mut install).map_err(|error| {
        Error::new(format!("no mdbook: {error}")).remedy(format!("cargo install mdbook --version {MDBOOK} --locked"))
    })?;
    // A hundred times the size of the program.
    let _ = std::fs::remove_dir_all(folder.join("build"));
    probe(&path).map(|()| path)
}

/// Refuses one that is not of the release series that `book.toml` is written for.
fn probe(path: &Path) -> Result<()> {
    let answer = process::read(Command::new(path).arg("--version"))?;
    let wanted = Version::find(MDBOOK);
    match (Version::find(answer.trim_start_matches("mdbook v")), wanted) {
        (Some(found), Some(wanted)) if (found.major, found.minor) == (wanted.major, wanted.minor) => Ok(()),
        _ => Err(Error::new(format!(
            "\"{}\" says {answer:?} of its version, and book.toml is for mdBook {MDBOOK}",
            path.display()
        ))),
    }
}
