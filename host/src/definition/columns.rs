//! How columns are written: by name in the order of the file, each as a type or as a table.

use super::{ColumnFormat, Name, SourceColumn, TimeUnit};
use crate::model::{column::ColumnType, column_type::DECIMAL, decimal::DecimalType};
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

impl ColumnType {
    fn parse<E: de::Error>(name: &str) -> Result<Self, E> {
        if let Some(digits) = name.strip_prefix(DECIMAL) {
            let inside = digits
                .trim()
                .strip_prefix('(')
                .and_then(|digits| digits.strip_suffix(')'));
            let numbers = inside.and_then(|digits| digits.split_once(','));
            let numbers = numbers.map(|(precision, scale)| (precision.trim().parse(), scale.trim().parse()));
            return match numbers {
                Some((Ok(precision), Ok(scale))) => decimal(precision, scale),
                _ => Err(E::custom(format!(
                    "the type \"{name}\" does not say how many digits a number has; accepted is for example \"decimal(18, 2)\": \
                     up to 18 digits, 2 of them behind the point"
                ))),
            };
        }
        Self::named(name).ok_or_else(|| {
            let names: Vec<&str> = Self::names().collect();
            E::custom(format!(
                "unknown column type \"{name}\"; expected one of {}, {DECIMAL}(PRECISION, SCALE)",
                names.join(", ")
            ))
        })
    }
}

fn decimal<E: de::Error>(precision: u8, scale: u8) -> Result<ColumnType, E> {
    DecimalType::new(precision, scale).map(ColumnType::Decimal).ok_or_else(|| {
        let most = DecimalType::PRECISION_MAX;
        E::custom(format!(
            "a decimal cannot have {precision} digits, {scale} of them behind the point; accepted are 1 to {most} digits, none to all of \
             them behind it"
        ))
    })
}

impl<'de> Deserialize<'de> for ColumnFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Pattern {
            strftime: String,
            zone: Option<String>,
        }

        struct Format;
        impl<'de> Visitor<'de> for Format {
            type Value = ColumnFormat;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a format or { strftime = …, zone = … }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<ColumnFormat, E> {
                Ok(match name {
                    "number" => ColumnFormat::Number,
                    "string" => ColumnFormat::String,
                    "rfc3339" => ColumnFormat::Rfc3339,
                    "s" => ColumnFormat::Since(TimeUnit::Seconds),
                    "ms" => ColumnFormat::Since(TimeUnit::Milliseconds),
                    "us" => ColumnFormat::Since(TimeUnit::Microseconds),
                    "ns" => ColumnFormat::Since(TimeUnit::Nanoseconds),
                    "days" => ColumnFormat::Days,
                    "base64" => ColumnFormat::Base64,
                    "hex" => ColumnFormat::Hex,
                    _ => {
                        return Err(E::custom(format!(
                            "unknown format \"{name}\"; expected one of number, string, rfc3339, s, ms, us, ns, days, base64, hex, or \
                             {{ strftime = \"%Y-%m-%d %H:%M:%S\", zone = \"Europe/Berlin\" }}"
                        )));
                    }
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ColumnFormat, A::Error> {
                let Pattern { strftime, zone } = Pattern::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ColumnFormat::Strftime {
                    pattern: strftime,
                    zone,
                })
            }
        }
        deserializer.deserialize_any(Format)
    }
}

impl<'de> Deserialize<'de> for SourceColumn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            #[serde(rename = "type")]
            column_type: String,
            precision: Option<u8>,
            scale: Option<u8>,
            path: Option<ColumnPath>,
            format: Option<ColumnFormat>,
            #[serde(default)]
            required: bool,
        }

        struct Column;
        impl<'de> Visitor<'de> for Column {
            type Value = SourceColumn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column type such as text or { type = …, path = …, format = …, required = … }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<SourceColumn, E> {
                Ok(SourceColumn {
                    column_type: ColumnType::parse(name)?,
                    path: None,
                    format: None,
                    required: false,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SourceColumn, A::Error> {
                let long = Long::deserialize(MapAccessDeserializer::new(map))?;
                let path = long.path.map(|path| path.0);
                let column_type = match (long.precision, long.scale) {
                    (None, None) => ColumnType::parse(&long.column_type)?,
                    (Some(precision), scale) if long.column_type == DECIMAL => decimal(precision, scale.unwrap_or(0))?,
                    _ => {
                        return Err(de::Error::custom(format!(
                            "the keys precision and scale go with type = \"{DECIMAL}\", and a scale with a precision"
                        )));
                    }
                };
                Ok(SourceColumn {
                    column_type,
                    path,
                    format: long.format,
                    required: long.required,
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
