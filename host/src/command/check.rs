//! `weir check`: a pipeline, checked and drawn; or all of a project.

mod all;

use super::{
    connection::NatsArguments,
    load_plan, overridden,
    project::{database_of, files, project_at},
    stage_host, write_failed,
};
use crate::{
    command::terminal,
    error::{Result, note_defect, take_defect},
    model::{
        column::Field,
        form::{Form, Place},
        ids::{Id, NodeId},
    },
    plan::{At, Change, Node, NodeKind, Now, Output, OutputPort, Plan, SinkPlan, Target, ms_in_us},
    storage::Location,
    text::{duration, printable},
    wasm::StageHost,
};
use serde_json::{Value as Json, json};
use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Checks a pipeline and draws it, with the columns on each edge; of a project checks all.
///
/// Columns in parentheses are checked by decode, or offered by a step, and read by nobody. Where something else is deployed
/// for a step than the file says, that stands below, with both values: as the registry knows it where a server can be
/// reached, else the database.
///
/// Of several pipelines of a project each has a line. They may not feed each other in a circle, and what they share and none
/// of them uses is named.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir check guests/premium-drop/pipeline.toml\n  \
                  weir check guests/premium-drop/pipeline.toml --nats nats://127.0.0.1:4222\n  \
                  weir check shop\n  \
                  weir check shop --pipeline alerts")]
pub(super) struct Check {
    /// The pipeline file; or a folder with pipeline.toml, or of a project.
    #[arg(default_value = ".")]
    pipeline: PathBuf,
    /// Which pipelines of the project; all, when not given.
    #[arg(long = "pipeline", value_name = "NAME")]
    named: Vec<String>,
    /// The database of the pipeline, for what is deployed in place of what the file says. [default: that of weir run]
    #[arg(long, value_name = "FILE")]
    database: Option<Location>,
    #[command(flatten)]
    nats: NatsArguments,
}

impl Check {
    pub(super) fn run(self) -> Result<ExitCode> {
        let host = stage_host()?;
        let files = files(&self.pipeline, &self.named)?;
        let project = project_at(&self.pipeline)?;
        match (files.as_slice(), &project) {
            ([file], _) => self.draw(file, &host)?,
            (files, _) => self.check_all(files, &host)?,
        }
        // Where only some were looked at, the others may use it.
        if let (Some(project), true) = (&project, self.named.is_empty()) {
            self.note_unused(project, &files)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Checks the pipeline in `file`, and draws it.
    fn draw(&self, file: &Path, host: &StageHost) -> Result<()> {
        let plan = load_plan(file, host, None)?;
        let mut out = terminal::stdout();
        if terminal::is_json() {
            let pipeline = as_json(&plan);
            take_defect()?;
            return out.json(&pipeline);
        }
        let lines = draw(&plan);
        take_defect()?;
        for line in lines {
            writeln!(out, "{line}").map_err(|cause| write_failed(&cause))?;
        }
        let overridden = self.overridden(&plan)?;
        if !overridden.is_empty() {
            writeln!(out).map_err(|cause| write_failed(&cause))?;
        }
        for line in overridden {
            writeln!(out, "{}", printable(&line)).map_err(|cause| write_failed(&cause))?;
        }
        Ok(())
    }

    /// What runs in place of what the file of a pipeline says.
    fn overridden(&self, plan: &Plan) -> Result<Vec<String>> {
        let usual = || database_of(&plan.file, &plan.name);
        let database = self.database.clone().unwrap_or_else(usual);
        overridden::lines(plan, &plan.file.path, &self.nats, &database)
    }
}

/// Where the times of events come from, where some step follows them.
fn event_time(plan: &Plan) -> Option<String> {
    let time = plan.event_time;
    if !time.followed {
        return None;
    }
    let columns = plan.inputs.iter().map(|input| {
        let column = input.event_column.and_then(|column| input.columns.get(column.index));
        let column = column.map_or_else(|| "now".to_owned(), |column| format!("column {}", column.field.name));
        match plan.inputs.len() {
            1 => column,
            _ => format!("{column} of {}", input.name),
        }
    });
    let mut parts = vec![columns.collect::<Vec<_>>().join(", ")];
    parts.push(match time.out_of_orderness_us {
        0 => "in order".to_owned(),
        us => format!("up to {} out of order", duration(us)),
    });
    parts.extend(
        time.ahead_max_us
            .map(|us| format!("believed up to {} ahead", duration(us))),
    );
    parts.extend(
        time.idle_after_us
            .map(|us| format!("an input idle after {}", duration(us))),
    );
    let ticks = plan.ticks.as_ref();
    parts.extend(ticks.map(|ticks| format!("a tick every {} of silence", duration(ms_in_us(ticks.every_ms as i64)))));
    Some(format!("event time is {}", parts.join(", ")))
}

/// Whose deployments are taken, where the file says it.
fn trust(plan: &Plan) -> Option<String> {
    let trust = &plan.trust;
    match (trust.is_open(), trust.require, &trust.keys) {
        (true, ..) => None,
        (_, true, None) => Some("deployments are signed, by whom each host trusts".to_owned()),
        (_, true, Some(_)) => Some(format!("deployments are signed by {trust}")),
        (_, false, _) => Some(format!("deployments are not signed, or signed by {trust}")),
    }
}

/// Columns that a line of the diagram holds.
const WIDTH: usize = 100;

fn draw(plan: &Plan) -> Vec<String> {
    let now = match &plan.now {
        Now::StoreTime | Now::StoreTimeOr(_) => "now is the store time".to_owned(),
        Now::Fixed(ms) => format!("now is fixed at {ms} ms"),
        Now::Column(name) => format!("now is column {name}"),
    };
    let mut lines = vec![format!("pipeline {} ({now})", plan.name)];
    lines.extend(event_time(plan));
    lines.extend(trust(plan));
    lines.push(String::new());
    let mut nodes = plan.nodes.iter_enumerated().peekable();
    while let Some((at, node)) = nodes.next() {
        let title = wrap(&title(plan, at, node), WIDTH - 4);
        lines.extend(
            title
                .iter()
                .enumerate()
                .map(|(at, line)| if at == 0 { line.clone() } else { format!("    {line}") }),
        );
        for (number, output) in node.outputs.iter().enumerate() {
            let port = OutputPort {
                node: at,
                output: number,
            };
            let name = if node.outputs.len() > 1 {
                format!("{}: ", output.name)
            } else {
                String::new()
            };
            let columns = wrap(&format!("{name}{}", describe_output(output)), WIDTH - 6);
            for (at, line) in columns.iter().enumerate() {
                lines.push(format!("  {} {line}", if at == 0 { "│" } else { "│  " }));
            }
            for table in plan
                .tables
                .iter()
                .filter(|table| table.update.as_ref().is_some_and(|(from, _)| *from == port))
            {
                lines.push(format!("  ├─► sets lookup table {}", table.name));
            }
            for sink in plan.sinks.iter().filter(|sink| sink.input == port) {
                lines.push(format!("  ├─► {}", describe_sink(sink)));
            }
        }
        match nodes.peek().map(|(_, next)| &next.kind) {
            Some(NodeKind::Source) => lines.push(String::new()),
            Some(_) => lines.push("  ▼".to_owned()),
            None => {}
        }
    }
    for table in &plan.tables {
        let columns: Vec<String> = table.columns.iter().map(|column| field(&column.field)).collect();
        let key: Vec<&str> = table
            .columns
            .iter()
            .take(table.key_len)
            .map(|c| c.field.name.as_str())
            .collect();
        lines.push(String::new());
        lines.push(format!("lookup table {} by {}", table.name, key.join(", ")));
        lines.extend(
            wrap(&columns.join(", "), WIDTH - 4)
                .into_iter()
                .map(|line| format!("  {line}")),
        );
    }
    lines
}

/// The pipeline, for scripts.
fn as_json(plan: &Plan) -> Json {
    let column = |field: &Field, is_read: bool| {
        json!({
            "name": field.name,
            "type": field.column_type.to_string(),
            "nullable": field.nullable,
            "read": is_read,
        })
    };
    let inputs = plan
        .inputs
        .iter()
        .map(|input| json!({ "name": input.name, "subject": input.subject }));
    let steps = plan.nodes.iter().map(|node| {
        let outputs = node.outputs.iter().map(|output| {
            let is_read = |field: &Field| output.schema.iter().any(|held| held.name == field.name);
            let columns = output.offered.iter().map(|field| column(field, is_read(field)));
            json!({
                "name": output.name,
                "changelog": !matches!(output.change, Change::Append),
                "columns": columns.collect::<Vec<_>>(),
            })
        });
        let is_source = matches!(node.kind, NodeKind::Source);
        let from = node
            .inputs()
            .filter(|_| !is_source)
            .filter_map(|port| port_name(plan, port));
        json!({
            "name": node.name,
            "does": what(plan, node),
            "from": from.collect::<Vec<_>>(),
            "outputs": outputs.collect::<Vec<_>>(),
        })
    });
    let tables = plan.tables.iter().map(|table| {
        let columns = table.columns.iter().map(|of_table| column(&of_table.field, true));
        let key = table
            .columns
            .iter()
            .take(table.key_len)
            .map(|of_table| &of_table.field.name);
        json!({ "name": table.name, "key": key.collect::<Vec<_>>(), "columns": columns.collect::<Vec<_>>() })
    });
    let sinks = plan.sinks.iter().map(|sink| {
        let columns: Vec<&str> = sink.fields().map(|field| field.name.as_str()).collect();
        let (kind, name, key) = match &sink.target {
            Target::Table { name, primary_key, .. } => ("table", name, primary_key.as_slice()),
            Target::Append { name } => ("table", name, &[][..]),
            Target::Subject { name } => ("subject", name, &[][..]),
        };
        let key: Vec<&str> = key.iter().filter_map(|&at| columns.get(at).copied()).collect();
        let mut object = json!({
            "kind": kind,
            "name": name,
            "from": port_name(plan, sink.input),
            "primary_key": key,
            "columns": columns,
        });
        let forms: serde_json::Map<String, serde_json::Value> = named_forms(sink)
            .map(|(name, form)| (name.to_owned(), form.to_string().into()))
            .collect();
        if let (false, Some(members)) = (forms.is_empty(), object.as_object_mut()) {
            members.insert("as".to_owned(), forms.into());
        }
        object
    });
    let mut object = json!({
        "pipeline": plan.name,
        "stream": plan.stream,
        "inputs": inputs.collect::<Vec<_>>(),
        "steps": steps.collect::<Vec<_>>(),
        "tables": tables.collect::<Vec<_>>(),
        "sinks": sinks.collect::<Vec<_>>(),
    });
    if let (false, Some(members)) = (plan.trust.is_open(), object.as_object_mut()) {
        members.insert("trust".to_owned(), json!(plan.trust));
    }
    object
}

fn title(plan: &Plan, at: NodeId, node: &Node) -> String {
    let read: Vec<String> = node.inputs().filter_map(|port| port_name(plan, port)).collect();
    let follows = follows(at, node) && read.iter().all(|name| !name.contains('.'));
    let from = match follows {
        true => String::new(),
        false => format!("   ◄ {}", read.join(", ")),
    };
    format!("{}: {}{from}", node.name, what(plan, node))
}

/// What a step does.
fn what(plan: &Plan, node: &Node) -> String {
    let at = At { plan, node };
    match &node.kind {
        NodeKind::Source => {
            let input = plan.inputs.get(node.input.node.input());
            let subject = input.map_or_else(|| missing(node), |input| &input.subject);
            let format = input.map_or_else(|| missing(node), |input| input.format.name());
            format!("stream {}, subject {subject}, {format}", plan.stream)
        }
        NodeKind::Stage(stage) => {
            let description = &stage.module.description;
            let parameters: Vec<String> = stage
                .parameters
                .iter()
                .map(|(name, value)| format!("{name} = {value}"))
                .collect();
            let parameters = if parameters.is_empty() {
                String::new()
            } else {
                format!(", {}", parameters.join(", "))
            };
            format!(
                "rule {} {} ({}){parameters}",
                description.name,
                description.version,
                stage.module.short_digest()
            )
        }
        NodeKind::Operator(operator) => operator.describe(at),
        NodeKind::Lookup(lookup) => {
            let table = plan.tables.get(lookup.table);
            let table = table.map_or_else(|| missing(node), |table| &table.name);
            format!("lookup in {table} by {}", at.own_names(&lookup.on))
        }
    }
}

/// Notes that what a step reads is not there; [`Check::run`] ends with that.
fn missing(node: &Node) -> &'static str {
    note_defect(format_args!("what step \"{}\" reads is not there", node.name));
    "?"
}

/// An edge as pipeline files name it.
fn port_name(plan: &Plan, port: OutputPort) -> Option<String> {
    let output = plan.output(port)?;
    let node = plan.nodes.get(port.node)?;
    Some(match node.outputs.len() {
        1 => node.name.clone(),
        _ => format!("{}.{}", node.name, output.name),
    })
}

/// Whether a step reads the step that stands right above it, and no other.
fn follows(at: NodeId, node: &Node) -> bool {
    let is_above = |port: OutputPort| port.node.number() + 1 == at.number();
    matches!(node.kind, NodeKind::Source) || node.inputs().all(is_above)
}

fn describe_output(output: &Output) -> String {
    let columns: Vec<String> = output
        .offered
        .iter()
        .map(
            |offered| match output.schema.iter().any(|held| held.name == offered.name) {
                true => field(offered),
                false => format!("({})", field(offered)),
            },
        )
        .collect();
    let change = match &output.change {
        Change::Append => "",
        Change::Keyed(_) => "changelog of ",
    };
    format!("{change}{}", columns.join(", "))
}

/// The columns of a sink that are written otherwise than their types usually are.
fn named_forms(sink: &SinkPlan) -> impl Iterator<Item = (&str, Form)> {
    let place = match sink.table() {
        Some(_) => Place::Table,
        None => Place::Subject,
    };
    let named = sink
        .columns
        .iter()
        .filter(move |column| !column.column_form().is_usual(place));
    named.map(|column| (column.field.name.as_str(), column.form))
}

fn describe_sink(sink: &SinkPlan) -> String {
    let names: Vec<&str> = sink.fields().map(|field| field.name.as_str()).collect();
    let forms: BTreeMap<&str, Form> = named_forms(sink).collect();
    let shown = |name: &&str| match forms.get(name) {
        Some(form) => format!("{name} as {form}"),
        None => (*name).to_owned(),
    };
    let columns: Vec<String> = names.iter().map(shown).collect();
    match &sink.target {
        Target::Table {
            name,
            primary_key,
            rows_by,
        } => {
            let key: Vec<&str> = primary_key.iter().filter_map(|&at| names.get(at).copied()).collect();
            let latest = if rows_by.is_some() { ", latest change shows" } else { "" };
            format!("table {name} by {}{latest} ({})", key.join(", "), columns.join(", "))
        }
        Target::Append { name } => format!("table {name}, appended ({})", columns.join(", ")),
        Target::Subject { name } => format!("subject {name} ({})", columns.join(", ")),
    }
}

fn field(field: &Field) -> String {
    format!(
        "{} {}{}",
        field.name,
        field.column_type,
        if field.nullable { "?" } else { "" }
    )
}

/// Breaks a text at spaces into lines of up to `width` characters.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(", ") {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() + 2 <= width => {
                line.push_str(", ");
                line.push_str(word);
            }
            Some(line) => {
                line.push(',');
                lines.push(word.to_owned());
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}
