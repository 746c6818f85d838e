//! The shape of pipeline files and of `weir.toml` as JSON schemas, for editors: made from the structs that read them.
//!
//! They are of draft 7, which is what editors of TOML know. A file that weir takes fits; one that fits may yet be wrong, in
//! what no shape says.

use super::KINDS;
use crate::definition::{Definition, Project, Step};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The shape of a pipeline file.
pub fn of_pipeline() -> Value {
    let mut generator = SchemaSettings::draft07().for_deserialize().into_generator();
    let kinds: Vec<(&str, Value)> = KINDS
        .iter()
        .map(|kind| (kind.key, (kind.schema)(&mut generator).to_value()))
        .collect();
    let mut schema = generator.into_root_schema_for::<Definition<'static>>().to_value();
    let step = schema.pointer_mut(&format!("/definitions/{}", Step::schema_name()));
    if let Some(Value::Object(step)) = step {
        add_kinds(step, kinds);
    }
    finished(schema, "A pipeline of Weir")
}

/// The shape of a `weir.toml`.
pub fn of_project() -> Value {
    let generator = SchemaSettings::draft07().for_deserialize().into_generator();
    let schema = generator.into_root_schema_for::<Project>().to_value();
    finished(schema, "What the pipelines of a Weir project share")
}

/// Adds to a step the key of each kind, of which it has one.
fn add_kinds(step: &mut Map<String, Value>, kinds: Vec<(&str, Value)>) {
    let one_of: Vec<Value> = kinds.iter().map(|(key, _)| json!({ "required": [key] })).collect();
    if let Some(Value::Object(properties)) = step.get_mut("properties") {
        properties.extend(kinds.into_iter().map(|(key, schema)| (key.to_owned(), schema)));
    }
    step.insert("oneOf".to_owned(), one_of.into());
    step.insert("additionalProperties".to_owned(), false.into());
}

fn finished(mut schema: Value, title: &str) -> Value {
    without_null(&mut schema);
    if let Value::Object(members) = &mut schema {
        members.insert("title".to_owned(), title.into());
    }
    schema
}

/// TOML has no null: what may be left out is never that.
fn without_null(schema: &mut Value) {
    let is_null = |schema: &Value| *schema == json!({ "type": "null" }) || *schema == "null";
    match schema {
        Value::Object(members) => {
            for key in ["type", "anyOf"] {
                let Some(Value::Array(choices)) = members.get_mut(key) else {
                    continue;
                };
                choices.retain(|choice| !is_null(choice));
                let only = match choices.as_slice() {
                    [only] => Some(only.clone()),
                    _ => None,
                };
                match (key, only) {
                    ("type", Some(only)) => {
                        members.insert(key.to_owned(), only);
                    }
                    (_, Some(Value::Object(only))) => {
                        members.remove(key);
                        let others = only.into_iter().filter(|(key, _)| key != "description");
                        // Beside a reference editors of draft 7 see nothing else.
                        match members.is_empty() {
                            true => members.extend(others),
                            false => {
                                members.insert("allOf".to_owned(), json!([others.collect::<Map<_, _>>()]));
                            }
                        }
                    }
                    _ => {}
                }
            }
            if let Some(Value::Array(choices)) = members.get_mut("enum") {
                choices.retain(|choice| !choice.is_null());
            }
            if members.get("default").is_some_and(Value::is_null) {
                members.remove("default");
            }
            members.values_mut().for_each(without_null);
        }
        Value::Array(values) => values.iter_mut().for_each(without_null),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{KINDS, of_pipeline};
    use crate::definition::Step;

    /// What a struct has is derived; what a step may be is put together here.
    #[test]
    fn a_step_has_its_keys_and_those_of_all_kinds() {
        let schema = of_pipeline();
        let step = schema
            .pointer("/definitions/Step/properties")
            .and_then(|step| step.as_object());
        let mut found: Vec<&str> = step.unwrap().keys().map(String::as_str).collect();
        let mut keys: Vec<&str> = Step::KEYS
            .into_iter()
            .chain(KINDS.iter().map(|kind| kind.key))
            .collect();
        found.sort_unstable();
        keys.sort_unstable();
        assert_eq!(found, keys);
    }
}
