//! The pictures: `docs/pictures/NAME.dot`, drawn by graphviz as `NAME.svg` beside it.
//!
//! The drawings are in the repository, since readers of the pages have no graphviz. Each names the text that it was drawn
//! from, so that one is drawn again only when its text has changed: graphviz's releases draw alike, but not to the byte.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::say::say;
use crate::{apt, process, workspace};

/// Draws each picture whose text changed since it was drawn.
///
/// # Errors
/// Where there is no graphviz and none can be installed, or it refuses a text.
pub(super) fn draw() -> Result<()> {
    let stale: Vec<PathBuf> = texts(&workspace::root())?
        .into_iter()
        .filter(|text| !is_drawn(text))
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    let dot = find_or_install()?;
    for text in stale {
        let svg = process::read(Command::new(&dot).arg("-Tsvg").arg(&text))?;
        let drawn = text.with_extension("svg");
        fs::write(&drawn, signed(&svg, &read(&text)?)).map_err(|error| not_written(&drawn, &error))?;
        say(
            "picture",
            drawn.strip_prefix(workspace::root()).unwrap_or(&drawn).display(),
        );
    }
    Ok(())
}

/// The texts of the pictures.
fn texts(root: &Path) -> Result<Vec<PathBuf>> {
    let folder = root.join("docs/pictures");
    let entries = fs::read_dir(&folder).map_err(|error| Error::new(format!("{}: {error}", folder.display())))?;
    let mut texts: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    texts.retain(|path| path.extension().is_some_and(|extension| extension == "dot"));
    texts.sort();
    Ok(texts)
}

/// Whether the drawing beside a text is of that text.
fn is_drawn(text: &Path) -> bool {
    let drawing = fs::read_to_string(text.with_extension("svg")).unwrap_or_default();
    read(text).is_ok_and(|text| drawing.contains(&signature(&text)))
}

/// A drawing with the digest of its text, and without the size in points that would keep it from filling a page.
fn signed(svg: &str, text: &str) -> String {
    let at = svg.find("<svg").unwrap_or_default();
    format!("{}\n{}\n", signature(text), &svg[at..])
}

fn signature(text: &str) -> String {
    format!("<!-- Drawn by `cargo xtask docs`; text {:016x}. -->", digest(text))
}

/// FNV-1a: it tells a text that changed from one that did not, and need not withstand anybody.
fn digest(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| Error::new(format!("{}: {error}", path.display())))
}

fn not_written(path: &Path, error: &std::io::Error) -> Error {
    Error::new(format!("{} cannot be written: {error}", path.display()))
}

/// Graphviz: on the `PATH`, else installed on Debian.
fn find_or_install() -> Result<PathBuf> {
    if let Some(path) = process::find_on_path("dot") {
        return Ok(path);
    }
    say("graphviz", "installing it by apt …");
    let installed = if apt::is_here() {
        apt::update(&["graphviz"]).and_then(|()| apt::install(&["graphviz"]))
    } else {
        Err(Error::new("not a Debian"))
    };
    installed.map_err(|error| {
        Error::new(format!(
            "a picture changed, and there is no graphviz to draw it: {error}"
        ))
    })?;
    process::find_on_path("dot").ok_or_else(|| Error::new("apt-get installed graphviz, but there is no `dot`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_picture_is_drawn_from_the_text_beside_it() {
        let texts = texts(&workspace::root()).expect("there are pictures");
        assert!(texts.len() >= 2, "{texts:?}");
        for text in texts {
            assert!(
                is_drawn(&text),
                "{} changed; `cargo xtask docs` draws it again",
                text.display()
            );
        }
    }

    #[test]
    fn a_text_that_changed_has_another_signature() {
        assert_eq!(digest(""), 0xcbf2_9ce4_8422_2325);
        assert_ne!(signature("digraph { a }"), signature("digraph { b }"));
        assert!(signed("<?xml?>\n<svg>x</svg>", "a").ends_with("\n<svg>x</svg>\n"));
    }
}
