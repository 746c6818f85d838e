//! Schemas of Avro, from their JSON to types.
//!
//! Names are resolved as the specification has it: one without dots is of the namespace around it, and the first definition of a
//! name is the one that is meant. A logical type that does not go with its type is left out of account, as the specification
//! demands. Defaults, aliases and orders are for those who write or resolve schemas; nothing here does.

use crate::{
    definition::TimeUnit,
    plan::avro::{AvroRecord, AvroType, AvroTypeId, AvroTypes},
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a schema says.
pub(super) struct AvroSchema {
    pub(super) types: AvroTypes,
    pub(super) root: AvroTypeId,
}

impl AvroSchema {
    /// Reads a schema.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let json: Value = serde_json::from_slice(text).map_err(|cause| format!("it is not JSON: {cause}"))?;
        let mut parser = Parser::default();
        let root = parser.schema(&json, "")?;
        Ok(Self {
            types: parser.types,
            root,
        })
    }
}

#[derive(Default)]
struct Parser {
    types: AvroTypes,
    /// Records, enums and fixed types by name and namespace.
    named: BTreeMap<String, AvroTypeId>,
}

const PRIMITIVES: [(&str, AvroType); 8] = [
    ("null", AvroType::Null),
    ("boolean", AvroType::Boolean),
    ("int", AvroType::Int),
    ("long", AvroType::Long),
    ("float", AvroType::Float),
    ("double", AvroType::Double),
    ("bytes", AvroType::Bytes),
    ("string", AvroType::Text),
];

impl Parser {
    fn schema(&mut self, json: &Value, namespace: &str) -> Result<AvroTypeId, String> {
        match json {
            Value::String(name) => self.of_name(name, namespace),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(keys) => self.object(keys, namespace),
            other => Err(format!(
                "found {other} where a schema stands; accepted is a name, a list of schemas, or an object with a \"type\""
            )),
        }
    }

    fn of_name(&mut self, name: &str, namespace: &str) -> Result<AvroTypeId, String> {
        if let Some((_, primitive)) = PRIMITIVES.iter().find(|(known, _)| *known == name) {
            return Ok(self.types.add(primitive.clone()));
        }
        let full = full_name(name, namespace);
        self.named.get(&full).copied().ok_or_else(|| {
            let known: Vec<&str> = PRIMITIVES.iter().map(|(name, _)| *name).collect();
            let named: Vec<&str> = self.named.keys().map(String::as_str).collect();
            let named = match named.is_empty() {
                true => String::new(),
                false => format!(", and those that are defined before it: {}", named.join(", ")),
            };
            format!("there is no type \"{full}\"; accepted are {}{named}", known.join(", "))
        })
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Result<AvroTypeId, String> {
        let branches: Vec<AvroTypeId> = branches
            .iter()
            .map(|branch| self.schema(branch, namespace))
            .collect::<Result<_, _>>()?;
        let is_union = |branch: &AvroTypeId| matches!(self.types.get(*branch), AvroType::Union(_));
        if branches.iter().any(is_union) {
            return Err("a union is within another; accepted is one union with all branches".to_owned());
        }
        Ok(self.types.add(AvroType::Union(branches)))
    }

    fn object(&mut self, keys: &Map<String, Value>, namespace: &str) -> Result<AvroTypeId, String> {
        let of_type = match keys.get("type") {
            Some(Value::String(of_type)) => of_type.as_str(),
            Some(inner) => return self.schema(inner, namespace),
            None => return Err("an object has no \"type\"".to_owned()),
        };
        let logical = keys.get("logicalType").and_then(Value::as_str).unwrap_or_default();
        match of_type {
            "record" | "error" => self.record(keys, namespace),
            "enum" => {
                let (full, _) = self.name(keys, namespace)?;
                let symbols = list(keys, "symbols", &full)?.iter().map(|symbol| match symbol {
                    Value::String(symbol) => Ok(symbol.clone()),
                    other => Err(format!("enum {full}: found the symbol {other}; accepted is a text")),
                });
                let symbols = symbols.collect::<Result<_, _>>()?;
                self.define(full, AvroType::Enum(symbols))
            }
            "fixed" => {
                let (full, _) = self.name(keys, namespace)?;
                let size = keys
                    .get("size")
                    .and_then(Value::as_u64)
                    .and_then(|size| usize::try_from(size).ok());
                let size =
                    size.ok_or_else(|| format!("fixed type {full} has no \"size\"; accepted is a number of bytes"))?;
                let of = match (logical, size) {
                    ("decimal", _) => decimal(keys, Some(size))?.unwrap_or(AvroType::Fixed(size)),
                    ("uuid", 16) => AvroType::Uuid,
                    _ => AvroType::Fixed(size),
                };
                self.define(full, of)
            }
            "array" => {
                let items = self.schema(keys.get("items").ok_or("an array has no \"items\"")?, namespace)?;
                Ok(self.types.add(AvroType::Array(items)))
            }
            "map" => {
                let values = self.schema(keys.get("values").ok_or("a map has no \"values\"")?, namespace)?;
                Ok(self.types.add(AvroType::Map(values)))
            }
            "bytes" if logical == "decimal" => {
                let of = decimal(keys, None)?.unwrap_or(AvroType::Bytes);
                Ok(self.types.add(of))
            }
            "int" if logical == "date" => Ok(self.types.add(AvroType::Date)),
            "long" => {
                let unit = match logical {
                    "timestamp-millis" | "local-timestamp-millis" => Some(TimeUnit::Milliseconds),
                    "timestamp-micros" | "local-timestamp-micros" => Some(TimeUnit::Microseconds),
                    "timestamp-nanos" | "local-timestamp-nanos" => Some(TimeUnit::Nanoseconds),
                    _ => None,
                };
                Ok(self.types.add(unit.map_or(AvroType::Long, AvroType::Timestamp)))
            }
            name => self.of_name(name, namespace),
        }
    }

    fn record(&mut self, keys: &Map<String, Value>, namespace: &str) -> Result<AvroTypeId, String> {
        let (full, namespace) = self.name(keys, namespace)?;
        // Its fields may be of the record itself.
        let id = self.define(full.clone(), AvroType::Null)?;
        let mut fields: Vec<(String, AvroTypeId)> = Vec::new();
        for field in list(keys, "fields", &full)? {
            let name = field.get("name").and_then(Value::as_str);
            let name = name.ok_or_else(|| format!("record {full}: a field has no \"name\""))?;
            let in_field = |what: String| format!("field \"{name}\" of record {full}: {what}");
            if fields.iter().any(|(other, _)| other == name) {
                return Err(in_field("the record has two fields of that name".to_owned()));
            }
            let of_type = field
                .get("type")
                .ok_or_else(|| in_field("it has no \"type\"".to_owned()))?;
            // A logical type may stand beside a name, which is no place for it; it is of the type there.
            fields.push((name.to_owned(), self.schema(of_type, &namespace).map_err(in_field)?));
        }
        self.types.set(id, AvroType::Record(AvroRecord { name: full, fields }));
        Ok(id)
    }

    fn define(&mut self, full: String, of: AvroType) -> Result<AvroTypeId, String> {
        let id = self.types.add(of);
        match self.named.insert(full.clone(), id) {
            None => Ok(id),
            Some(_) => Err(format!(
                "the type \"{full}\" is defined twice; name it the second time, without its definition"
            )),
        }
    }

    /// The name of a type with its namespace, and the namespace for what is within.
    fn name(&self, keys: &Map<String, Value>, around: &str) -> Result<(String, String), String> {
        let of_type = keys.get("type").and_then(Value::as_str).unwrap_or_default();
        let name = keys.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| format!("a type \"{of_type}\" has no \"name\""))?;
        let namespace = keys.get("namespace").and_then(Value::as_str).unwrap_or(around);
        let full = full_name(name, namespace);
        let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        Ok((full, namespace))
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}

fn list<'j>(keys: &'j Map<String, Value>, key: &str, full: &str) -> Result<&'j Vec<Value>, String> {
    let list = keys.get(key).and_then(Value::as_array);
    list.ok_or_else(|| format!("type {full} has no list \"{key}\""))
}

/// The decimals that a schema describes; nothing where it describes none that there can be.
fn decimal(keys: &Map<String, Value>, size: Option<usize>) -> Result<Option<AvroType>, String> {
    let number = |key: &str| keys.get(key).map(Value::as_u64);
    let scale = match number("scale") {
        None => 0,
        Some(Some(scale)) => scale,
        Some(None) => return Err("a decimal has a \"scale\" that is no whole number".to_owned()),
    };
    let Some(Some(precision)) = number("precision") else {
        return Ok(None);
    };
    let scale = u8::try_from(scale).ok().filter(|scale| u64::from(*scale) <= precision);
    Ok(scale.map(|scale| AvroType::Decimal { size, scale }))
}
