//! `weir new`: a project with a first pipeline, its rule, and a case of it.

use super::{schema, write_failed};
use crate::{
    command::terminal,
    error::{Context, Error, Result},
    files::private_file,
    planner,
};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Makes a project: a folder with a pipeline, the source that it reads, its rule with unit tests, and a case that it passes.
///
/// Other pipelines and rules go beside the first, into the folders pipelines and guests. The rules are Rust crates of one
/// workspace, also inside of another one. They stand on the crate weir-guest, which is found in the checkout that this weir
/// was built from, or where --sdk says. The folder .weir holds the schemas by which editors complete and check the files.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes:
  0  made
  1  a file cannot be written
  2  the name, the folder or the SDK has to be another one

Example:
  weir new large-orders
  cd large-orders
  weir build
  weir test")]
pub(super) struct New {
    /// The name of folder, crate and pipeline: a-z, digits and `-`, beginning with a letter.
    name: String,
    /// Make a folder with one rule and its pipeline.toml, and no project.
    #[arg(long)]
    alone: bool,
    /// The folder of the crate weir-guest: guests/sdk in a checkout of Weir.
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
}

/// What a file is called, and what is in it; `NAME` and `SDK` stand for what they are made with.
type Template = (&'static str, &'static str);

/// The files of a project.
const PROJECT: [Template; 10] = [
    ("weir.toml", include_str!("new/template/weir.toml")),
    (
        "pipelines/NAME.toml",
        include_str!("new/template/project_pipeline.toml"),
    ),
    ("Cargo.toml", include_str!("new/template/project_manifest.toml")),
    ("clippy.toml", include_str!("new/template/clippy.toml")),
    (
        "guests/NAME/Cargo.toml",
        include_str!("new/template/guest_manifest.toml"),
    ),
    ("guests/NAME/src/lib.rs", include_str!("new/template/lib.rs")),
    ("cases/NAME/first/input.jsonl", include_str!("new/template/input.jsonl")),
    (
        "cases/NAME/first/expected.jsonl",
        include_str!("new/template/expected.jsonl"),
    ),
    (
        "cases/NAME/first/dead_letters.jsonl",
        include_str!("new/template/dead_letters.jsonl"),
    ),
    (".gitignore", "/target\n/data\n*.db*\n"),
];

/// Those of a rule with its pipeline.
const ALONE: [Template; 8] = [
    ("Cargo.toml", include_str!("new/template/manifest.toml")),
    ("clippy.toml", include_str!("new/template/clippy.toml")),
    ("src/lib.rs", include_str!("new/template/lib.rs")),
    ("pipeline.toml", include_str!("new/template/pipeline.toml")),
    ("cases/first/input.jsonl", include_str!("new/template/input.jsonl")),
    (
        "cases/first/expected.jsonl",
        include_str!("new/template/expected.jsonl"),
    ),
    (
        "cases/first/dead_letters.jsonl",
        include_str!("new/template/dead_letters.jsonl"),
    ),
    (".gitignore", "/target\n*.db*\n"),
];

/// Letters of a name, so that it is also one of a pipeline.
const NAME_LETTERS_MAX: usize = 64;

/// What no crate can be called, or what would hide another crate or a folder of cargo's.
const NAMES_TAKEN: [&str; 57] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "unsafe",
    "use",
    "weir-guest",
    "where",
    "while",
];

impl New {
    pub(super) fn run(self) -> Result<ExitCode> {
        let name = &self.name;
        check_name(name)?;
        let folder = Path::new(name);
        if folder.symlink_metadata().is_ok() {
            return Err(Error::definition(format!(
                "{name} is there already, and nothing is overwritten; choose another name, or remove it"
            )));
        }
        let sdk = find_sdk(self.sdk.as_deref())?;
        let sdk_text = sdk.to_str().ok_or_else(|| {
            Error::definition(format!(
                "the path of the SDK, {}, is no UTF-8; --sdk names another",
                sdk.display()
            ))
        })?;
        // A TOML string, whatever is in the path.
        let sdk_quoted = toml::Value::from(sdk_text).to_string();

        private_file::make_shown_folder(folder).environment(|| format!("cannot make {name}"))?;
        let files = match self.alone {
            true => ALONE.as_slice(),
            false => PROJECT.as_slice(),
        };
        for (file, text) in files {
            let text = text.replace("NAME", name).replace("SDK", &sdk_quoted);
            private_file::write_new(&folder.join(file.replace("NAME", name)), text.as_bytes())?;
        }
        if !self.alone {
            for (file, schema) in [
                ("pipeline.schema.json", planner::schema::of_pipeline()),
                ("project.schema.json", planner::schema::of_project()),
            ] {
                let text = schema::text(&schema)? + "\n";
                private_file::write_new(&folder.join(".weir").join(file), text.as_bytes())?;
            }
        }
        // The versions that the SDK was tested with; cargo removes what the rule does not need.
        let lock = sdk.join("../../Cargo.lock");
        if let Ok(versions) = fs::read(&lock) {
            private_file::write_new(&folder.join("Cargo.lock"), &versions)?;
        }
        if terminal::is_json() {
            let made = serde_json::json!({ "rule": name, "folder": name, "sdk": sdk.display().to_string() });
            terminal::stdout().json(&made)?;
            return Ok(ExitCode::SUCCESS);
        }
        let parts = match self.alone {
            true => [
                ("src/lib.rs", "the rule, with its unit tests"),
                ("pipeline.toml", "the pipeline that it stands in"),
                ("cases/first", "events, and what becomes of them"),
            ]
            .as_slice(),
            false => &[
                ("weir.toml", "what pipelines share: the source"),
                ("pipelines/NAME.toml", "a pipeline"),
                ("guests/NAME", "its rule, with unit tests"),
                ("cases/NAME/first", "events, and what becomes of them"),
            ],
        };
        let parts: Vec<(String, &str)> = parts
            .iter()
            .map(|(file, what)| (file.replace("NAME", name), *what))
            .collect();
        let width = parts.iter().map(|(file, _)| file.len()).max().unwrap_or(0);
        let mut out = terminal::stdout();
        out.line(format_args!("made {name}, with the SDK in {}", sdk.display()))?;
        for (file, what) in parts {
            out.line(format_args!("  {file:<width$}  {what}"))?;
        }
        let written = writeln!(out, "next:\n  cd {name}\n  weir build\n  weir test");
        written.map_err(|cause| write_failed(&cause))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn check_name(name: &str) -> Result<()> {
    let accepted = format!(
        "accepted are 1 to {NAME_LETTERS_MAX} of a-z, digits and `-`, beginning with a letter and ending with none but a letter or digit"
    );
    let is_one = name.len() <= NAME_LETTERS_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.ends_with('-');
    if !is_one {
        return Err(Error::definition(format!(
            "\"{name}\" is no name for a rule; {accepted}"
        )));
    }
    if NAMES_TAKEN.contains(&name) {
        return Err(Error::definition(format!(
            "\"{name}\" means something to Rust or cargo; choose another name"
        )));
    }
    Ok(())
}

/// The folder of the crate weir-guest.
fn find_sdk(named: Option<&Path>) -> Result<PathBuf> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/sdk");
    let candidates = match named {
        // The root of a checkout will do.
        Some(named) => vec![named.to_owned(), named.join("guests/sdk")],
        None => vec![built_from],
    };
    if let Some(sdk) = candidates.iter().find(|folder| is_sdk(folder)) {
        return fs::canonicalize(sdk).environment(|| format!("cannot find {}", sdk.display()));
    }
    Err(Error::definition(match named {
        Some(named) => format!(
            "{} does not hold the crate weir-guest; --sdk names the folder guests/sdk of a checkout of Weir",
            named.display()
        ),
        None => "the checkout that this weir was built from is gone, and with it the crate weir-guest; \
                 --sdk names the folder guests/sdk of another"
            .to_owned(),
    }))
}

fn is_sdk(folder: &Path) -> bool {
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).ok();
    let manifest: Option<toml::Table> = manifest.and_then(|text| text.parse().ok());
    let name = manifest
        .as_ref()
        .and_then(|manifest| manifest.get("package")?.get("name")?.as_str());
    name == Some("weir-guest")
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_are_those_of_crates_and_pipelines() {
        for name in ["a", "large-orders", "rule2", &"x".repeat(64)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            "-a",
            "a-",
            "2nd",
            "Large",
            "a_b",
            "a/b",
            "..",
            "a b",
            "é",
            "fn",
            "test",
            "weir-guest",
            &"x".repeat(65),
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
