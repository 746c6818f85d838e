//! How columns are written: by name in the order of the file, each as a type or as a table.

use super::{Name, SourceColumn, TextFormat};
use crate::model::column::ColumnType;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use std::fmt;

/// Named columns in the order of the file.
#[derive(Debug)]
pub struct ColumnMap<T>(pub Vec<(Name, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ColumnMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Columns<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Columns<T> {
            type Value = ColumnMap<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of columns by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut columns = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    columns.push(entry);
                }
                Ok(ColumnMap(columns))
            }
        }
        deserializer.deserialize_map(Columns(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name)
    }
}

impl ColumnType {
    fn parse<E: de::Error>(name: &str) -> Result<Self, E> {
        Self::ALL.into_iter().find(|known| known.name() == name).ok_or_else(|| {
            E::custom(format!(
                "unknown column type \"{name}\"; expected one of int, double, boolean, text"
            ))
        })
    }
}

impl<'de> Deserialize<'de> for SourceColumn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            #[serde(rename = "type")]
            column_type: ColumnType,
            path: Option<ColumnPath>,
            format: Option<TextFormat>,
        }

        struct Column;
        impl<'de> Visitor<'de> for Column {
            type Value = SourceColumn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column type (int, double, boolean or text) or { type = …, path = …, format = … }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<SourceColumn, E> {
                Ok(SourceColumn {
                    column_type: ColumnType::parse(name)?,
                    path: None,
                    format: None,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SourceColumn, A::Error> {
                let long = Long::deserialize(MapAccessDeserializer::new(map))?;
                let path = long.path.map(|path| path.0);
                Ok(SourceColumn {
                    column_type: long.column_type,
                    path,
                    format: long.format,
                })
            }
        }
        deserializer.deserialize_any(Column)
    }
}

/// A path: `"address.city"`, or `["address", "city"]` for names that hold dots.
struct ColumnPath(Vec<String>);

impl<'de> Deserialize<'de> for ColumnPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Path;
        impl<'de> Visitor<'de> for Path {
            type Value = ColumnPath;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path such as \"address.city\" or [\"address\", \"city\"]")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<ColumnPath, E> {
                let names: Vec<&str> = path.split('.').collect();
                match wrong_path(path, &names) {
                    Some(what) => Err(E::custom(format!(
                        "the path \"{path}\" {what}; for members that are called so, write it as a list: {names:?}"
                    ))),
                    None => Ok(ColumnPath(names.into_iter().map(str::to_owned).collect())),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<ColumnPath, A::Error> {
                let mut path = Vec::new();
                while let Some(name) = names.next_element()? {
                    path.push(name);
                }
                match path.is_empty() {
                    true => Err(de::Error::custom("a path holds at least one name")),
                    false => Ok(ColumnPath(path)),
                }
            }
        }
        deserializer.deserialize_any(Path)
    }
}

/// What of a path is of another notation than ours, which would be null in every event; nothing where it is as it should be.
fn wrong_path(path: &str, names: &[&str]) -> Option<String> {
    if let Some(name) = names.iter().find(|name| is_element(name)) {
        return Some(format!(
            "names an element of an array with \"{name}\", and a path leads through objects alone"
        ));
    }
    if let Some(name) = names.iter().find(|name| name.contains("['") || name.contains("[\"")) {
        return Some(format!(
            "has a name in brackets with \"{name}\"; accepted are names with dots between them"
        ));
    }
    if path.starts_with('/') {
        return Some("is a JSON pointer; accepted are names with dots between them".to_owned());
    }
    if names.first() == Some(&"$") {
        return Some(
            "begins with \"$\"; accepted are names with dots between them, from the event's members on".to_owned(),
        );
    }
    let is_empty = names.iter().any(|name| name.is_empty());
    is_empty.then(|| "has an empty name; accepted are names with dots between them".to_owned())
}

/// Whether a name of a path means elements of an array: `0`, `-1` or `*`, or a name with such in brackets after it.
fn is_element(name: &str) -> bool {
    let inside = name.strip_suffix(']').and_then(|name| name.rsplit_once('['));
    match inside {
        Some((_, inside)) => inside
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"-+*:, ".contains(&byte)),
        None if name == "*" || name.contains("[?") => true,
        None => {
            let number = name.strip_prefix('-').unwrap_or(name);
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        }
    }
}
