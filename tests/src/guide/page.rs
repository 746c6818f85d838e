//! The pages of the documentation, as fenced blocks.

use crate::workspace;
use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

/// A Markdown file.
#[derive(Debug)]
pub struct Page {
    /// Its path from the root of the workspace, with `/`.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
    /// Its fenced blocks, in order.
    pub blocks: Vec<Block>,
}

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// The first word after the fence.
    pub language: String,
    /// Whether the word `checkout` follows: the block takes this repository, where the reader made something new.
    pub needs_checkout: bool,
    /// The lines between the fences.
    pub text: String,
    /// Where that text stands in the page.
    pub range: Range<usize>,
    /// The number of the opening fence's line.
    pub line: usize,
    /// The last line of prose before it.
    pub before: String,
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let name = path.strip_prefix(workspace()).unwrap_or(&path).display().to_string();
        let text = fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{name}: {cause}"));
        let blocks = blocks(&text);
        Self {
            name,
            path,
            text,
            blocks,
        }
    }

    /// The page and line of a block, for messages.
    pub fn place(&self, block: &Block) -> String {
        format!("{}:{}", self.name, block.line)
    }
}

impl Block {
    /// The file that the block is the text of: the line before it ends with the file's name, as in "Save this as
    /// `pipeline.toml`:".
    pub fn file(&self) -> Option<&str> {
        let (_, name) = self.before.strip_suffix("`:")?.rsplit_once('`')?;
        (!name.contains(' ') && name.contains('.')).then_some(name)
    }
}

/// The README and every page under `docs/`, in the order of their names.
///
/// # Panics
/// When they cannot be read.
pub fn pages() -> Vec<Page> {
    let mut paths = vec![workspace().join("README.md")];
    let mut folders = vec![workspace().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of pages can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.into_iter().map(Page::read).collect()
}

/// The page of this name.
///
/// # Panics
/// When there is none.
#[track_caller]
pub fn page(name: &str) -> Page {
    Page::read(workspace().join(Path::new(name)))
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut is_open, mut at, mut before) = (false, 0, String::new());
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let end = at + line.len();
        match line.trim_end().strip_prefix("```") {
            Some(_) if is_open => is_open = false,
            Some(language) => {
                is_open = true;
                blocks.push(Block {
                    language: language.split(' ').next().unwrap_or_default().to_owned(),
                    needs_checkout: language.ends_with(" checkout"),
                    text: String::new(),
                    range: end..end,
                    line: number + 1,
                    before: std::mem::take(&mut before),
                });
            }
            None if is_open => {
                if let Some(block) = blocks.last_mut() {
                    block.text += line;
                    block.range.end = end;
                }
            }
            None if line.trim().is_empty() => {}
            None => line.trim_end().clone_into(&mut before),
        }
        at = end;
    }
    blocks
}
