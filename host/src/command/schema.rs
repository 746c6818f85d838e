//! `weir schema`: the shape of pipeline files, for editors.

use crate::{
    command::terminal,
    error::{Context, Result},
    planner::schema,
};
use serde_json::Value;
use std::process::ExitCode;

/// Prints the JSON schema of pipeline files, or of weir.toml: which keys there are, and of which types they are.
///
/// Editors complete and check files with it. `weir new` writes both beside a project, and the first line of its files names
/// them, `#:schema ../.weir/pipeline.schema.json`: Even Better TOML and taplo read that. A file that Weir takes fits the
/// schema; `weir check` finds more.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  weir schema > .weir/pipeline.schema.json
  weir schema project > .weir/project.schema.json")]
pub(super) struct Schema {
    /// Of which file.
    #[arg(value_enum, default_value_t = Of::Pipeline)]
    of: Of,
}

/// A file with a schema.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Of {
    /// A pipeline file.
    Pipeline,
    /// The weir.toml of a project.
    Project,
}

impl Schema {
    pub(super) fn run(self) -> Result<ExitCode> {
        let schema = match self.of {
            Of::Pipeline => schema::of_pipeline(),
            Of::Project => schema::of_project(),
        };
        let mut out = terminal::stdout();
        match terminal::is_json() {
            true => out.json(&schema)?,
            false => out.line(text(&schema)?)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A schema, laid out for people.
pub(super) fn text(schema: &Value) -> Result<String> {
    serde_json::to_string_pretty(schema).environment(|| "cannot write JSON".to_owned())
}
