//! Pipelines as files.

use super::{Pipeline, calendar::Unit, kinds::Edge, sinks::Target};
use std::fmt::Write;
use weir::model::column::ColumnType;

impl Pipeline {
    /// The pipeline file.
    pub fn toml(&self) -> String {
        let mut text = format!("name = {:?}\n", self.name);
        text += &self.time_lines();
        text += &self.source_lines();
        for node in &self.nodes {
            let Some(step) = &node.step else { continue };
            let inputs: Vec<&Edge> = node.from.iter().map(|&from| self.own_edge(from)).collect();
            let (name, from) = (&node.name, &inputs[0].name);
            let _ = writeln!(text, "[[step]]\nname = {name:?}\nunread = true\nfrom = {from:?}");
            text += &step.write(&inputs);
        }
        for sink in &self.sinks {
            let edge = &self.nodes[sink.from.0].outputs[sink.from.1];
            let (name, from, columns) = (&sink.name, &edge.name, edge.names(&sink.columns));
            let _ = writeln!(text, "[[sink]]\nfrom = {from:?}\ncolumns = {columns:?}");
            let _ = match &sink.target {
                Target::Subject => writeln!(text, "subject = {name:?}"),
                Target::Append => writeln!(text, "table = {name:?}"),
                Target::Table(key) => writeln!(text, "table = {name:?}\nprimary_key = {:?}", edge.names(key)),
            };
        }
        text
    }

    fn time_lines(&self) -> String {
        let Some(time) = &self.time else {
            return String::new();
        };
        let mut text = match (time.by_now, time.unit) {
            (true, _) => "now = { column = \"at\" }\n[event_time]\n",
            (_, Unit::Milliseconds) => "[event_time]\ncolumn = \"at\"\n",
            (_, Unit::Seconds) => "[event_time]\ncolumn = \"at\"\nunit = \"s\"\n",
            (_, Unit::Microseconds) => "[event_time]\ncolumn = \"at\"\nunit = \"us\"\n",
        }
        .to_owned();
        if time.out_of_orderness_ms > 0 {
            let _ = writeln!(text, "out_of_orderness = \"{} ms\"", time.out_of_orderness_ms);
        }
        text
    }

    fn source_lines(&self) -> String {
        let mut text = format!("[source]\nstream = {:?}\n", self.stream);
        for input in &self.inputs {
            let section = match self.inputs.len() {
                1 => "source".to_owned(),
                _ => {
                    let _ = writeln!(text, "[source.input.{}]", input.name);
                    format!("source.input.{}", input.name)
                }
            };
            let _ = writeln!(text, "subject = {:?}\n[{section}.columns]", input.subject);
            for (name, column_type) in input.typed() {
                let _ = match column_type {
                    ColumnType::Timestamp => {
                        writeln!(text, "{name} = {{ type = \"timestamp\", format = \"rfc3339\" }}")
                    }
                    ColumnType::Bytes => writeln!(text, "{name} = {{ type = \"bytes\", format = \"base64\" }}"),
                    _ => writeln!(text, "{name} = \"{column_type}\""),
                };
            }
        }
        text
    }
}
