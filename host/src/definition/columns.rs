//! How columns are written: by name in the order of the file, each as a type or as a table.

use super::{ColumnFormat, ColumnPlace, Name, SourceColumn, TimeUnit, type_name::TypeName};
use crate::{
    limits::PATH_INDEX_MAX,
    model::{
        column::{ColumnType, ElementType},
        column_type::{DECIMAL, LIST},
        decimal::DecimalType,
        path::{PathPart, ValuePath},
    },
};
use schemars::JsonSchema;
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
    pub(super) fn parse<E: de::Error>(name: &str) -> Result<Self, E> {
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
        if let Some(rest) = name.strip_prefix(LIST) {
            let of = rest.trim().strip_prefix('(').and_then(|of| of.strip_suffix(')'));
            return match of {
                Some(of) => list(Self::parse(of.trim())?),
                None => Err(E::custom(format!(
                    "the type \"{name}\" does not say what is in the list; accepted is for example \"list(text)\""
                ))),
            };
        }
        Self::named(name).ok_or_else(|| {
            let names: Vec<&str> = Self::names().collect();
            E::custom(format!(
                "unknown column type \"{name}\"; expected one of {}, {DECIMAL}(PRECISION, SCALE), {LIST}(TYPE)",
                names.join(", ")
            ))
        })
    }
}

/// The type of this name, with what is said beside it: the digits of a decimal, or what is in a list.
pub(super) fn column_type<E: de::Error>(
    written: &str,
    (precision, scale): (Option<u8>, Option<u8>),
    of: Option<&str>,
) -> Result<ColumnType, E> {
    match (precision, scale, of) {
        (None, None, None) => ColumnType::parse(written),
        (Some(precision), scale, None) if written == DECIMAL => decimal(precision, scale.unwrap_or(0)),
        (None, None, Some(of)) if written == LIST => list(ColumnType::parse(of)?),
        (_, _, Some(_)) if written == LIST => Err(E::custom(format!(
            "the keys precision and scale go with type = \"{DECIMAL}\"; a list says them with its type, such as of = \"{DECIMAL}(5, 2)\""
        ))),
        (_, _, Some(_)) => Err(E::custom(format!("the key of goes with type = \"{LIST}\""))),
        _ => Err(E::custom(format!(
            "the keys precision and scale go with type = \"{DECIMAL}\", and a scale with a precision"
        ))),
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

fn list<E: de::Error>(of: ColumnType) -> Result<ColumnType, E> {
    ElementType::of(of).map(ColumnType::List).ok_or_else(|| {
        E::custom(format!(
            "a list cannot hold values of type {of}; accepted are scalar types, and json for anything else: a column of type json \
             holds an array as it was written"
        ))
    })
}

/// The formats that have names.
pub(super) const FORMATS: [(&str, ColumnFormat); 10] = [
    ("number", ColumnFormat::Number),
    ("string", ColumnFormat::String),
    ("rfc3339", ColumnFormat::Rfc3339),
    ("s", ColumnFormat::Since(TimeUnit::Seconds)),
    ("ms", ColumnFormat::Since(TimeUnit::Milliseconds)),
    ("us", ColumnFormat::Since(TimeUnit::Microseconds)),
    ("ns", ColumnFormat::Since(TimeUnit::Nanoseconds)),
    ("days", ColumnFormat::Days),
    ("base64", ColumnFormat::Base64),
    ("hex", ColumnFormat::Hex),
];

/// A pattern of times or dates.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pattern {
    /// The pattern, such as "%Y-%m-%d %H:%M:%S".
    strftime: String,
    /// The time zone of what has no offset, such as "Europe/Berlin".
    zone: Option<String>,
}

impl<'de> Deserialize<'de> for ColumnFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Format;
        impl<'de> Visitor<'de> for Format {
            type Value = ColumnFormat;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a format or { strftime = …, zone = … }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<ColumnFormat, E> {
                let known = FORMATS.iter().find(|(known, _)| *known == name);
                let names = || FORMATS.map(|(known, _)| known).join(", ");
                known.map(|(_, format)| format.clone()).ok_or_else(|| {
                    E::custom(format!(
                        "unknown format \"{name}\"; expected one of {}, or {{ strftime = \"%Y-%m-%d %H:%M:%S\", zone = \
                         \"Europe/Berlin\" }}",
                        names()
                    ))
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

/// A column with more than its type.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend(
    "anyOf" = [{ "required": ["type"] }, { "required": ["from"] }],
    "if" = { "properties": { "from": { "const": "header" } }, "required": ["from"] },
    "then" = { "required": ["name"] },
))]
pub(super) struct LongColumn {
    /// The type.
    #[serde(rename = "type")]
    #[schemars(with = "Option<TypeName>")]
    column_type: Option<String>,
    /// Of a decimal: how many digits it has.
    precision: Option<u8>,
    /// Of a decimal: how many of them stand behind the point.
    scale: Option<u8>,
    /// Of a list: the type of its elements.
    #[schemars(with = "Option<TypeName>")]
    of: Option<String>,
    /// Where it comes from, when that is not the payload.
    from: Option<ColumnFrom>,
    /// Of the subject: which of its names, from 1; all of it, when absent.
    token: Option<usize>,
    /// Of a header: its name.
    name: Option<String>,
    /// The path in the payload, when it is not the column's name.
    path: Option<ColumnPath>,
    /// How its values are written.
    format: Option<ColumnFormat>,
    /// Whether it may not be null.
    #[serde(default)]
    required: bool,
}

/// What of a message a column holds that is not in the payload.
#[derive(Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ColumnFrom {
    /// A change of a row, beside the row itself.
    Envelope,
    /// The subject, or a name of it.
    Subject,
    /// A header.
    Header,
    /// The sequence in the stream.
    Sequence,
    /// When the stream stored it.
    StoreTime,
}

impl LongColumn {
    fn column_type<E: de::Error>(&self) -> Result<ColumnType, E> {
        let written = match (&self.column_type, self.from) {
            (Some(written), _) => written.as_str(),
            (None, None | Some(ColumnFrom::Envelope)) => return Err(E::missing_field("type")),
            (None, Some(ColumnFrom::Subject | ColumnFrom::Header)) => "text",
            (None, Some(ColumnFrom::Sequence)) => "int",
            (None, Some(ColumnFrom::StoreTime)) => "timestamp",
        };
        column_type(written, (self.precision, self.scale), self.of.as_deref())
    }

    fn place<E: de::Error>(&mut self) -> Result<ColumnPlace, E> {
        let (path, token, name) = (self.path.take(), self.token.take(), self.name.take());
        Ok(match (self.from, path, token, name) {
            (None, path, None, None) => ColumnPlace::Payload(path.map(|path| path.0)),
            (Some(ColumnFrom::Envelope), path, None, None) => ColumnPlace::Envelope(path.map(|path| path.0)),
            (Some(ColumnFrom::Subject), None, token, None) => ColumnPlace::Subject { token },
            (Some(ColumnFrom::Header), None, None, Some(name)) => ColumnPlace::Header(name),
            (Some(ColumnFrom::Header), None, None, None) => return Err(E::missing_field("name")),
            (Some(ColumnFrom::Sequence), None, None, None) => ColumnPlace::Sequence,
            (Some(ColumnFrom::StoreTime), None, None, None) => ColumnPlace::StoreTime,
            (_, _, Some(_), _) => return Err(E::custom("the key token goes with from = \"subject\"")),
            (_, _, _, Some(_)) => return Err(E::custom("the key name goes with from = \"header\"")),
            (Some(_), Some(_), ..) => {
                return Err(E::custom(
                    "the key path goes with columns of the payload, which have no key from",
                ));
            }
        })
    }
}

impl<'de> Deserialize<'de> for SourceColumn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Column;
        impl<'de> Visitor<'de> for Column {
            type Value = SourceColumn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column type such as text or { type = …, path = …, format = …, required = … }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<SourceColumn, E> {
                Ok(SourceColumn {
                    column_type: ColumnType::parse(name)?,
                    place: ColumnPlace::Payload(None),
                    format: None,
                    required: false,
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SourceColumn, A::Error> {
                let mut long = LongColumn::deserialize(MapAccessDeserializer::new(map))?;
                Ok(SourceColumn {
                    column_type: long.column_type()?,
                    place: long.place()?,
                    format: long.format,
                    required: long.required,
                })
            }
        }
        deserializer.deserialize_any(Column)
    }
}

/// A path: `"address.city"`, or `["items", 0, "sku"]` for names that hold dots and for elements of arrays.
pub(super) struct ColumnPath(ValuePath);

/// A name or an index.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "accepted in a path are names, and indices from 0 on")]
pub(super) enum Part {
    /// A member of an object.
    Name(String),
    /// An element of an array, from 0.
    Index(usize),
}

impl<'de> Deserialize<'de> for ColumnPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Path;
        impl<'de> Visitor<'de> for Path {
            type Value = ColumnPath;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path such as \"address.city\" or [\"items\", 0, \"sku\"]")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<ColumnPath, E> {
                let names: Vec<&str> = path.split('.').collect();
                match wrong_path(path, &names) {
                    Some(what) => Err(E::custom(format!(
                        "the path \"{path}\" {what}; for members that are called so, write it as a list: {names:?}"
                    ))),
                    None => Ok(ColumnPath(ValuePath::of_names(names))),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<ColumnPath, A::Error> {
                let mut path = Vec::new();
                while let Some(part) = names.next_element()? {
                    path.push(match part {
                        Part::Name(name) => PathPart::Name(name),
                        Part::Index(index) if index <= PATH_INDEX_MAX => PathPart::Index(index),
                        Part::Index(index) => {
                            return Err(de::Error::custom(format!(
                                "a path has index {index}; accepted are 0 to {PATH_INDEX_MAX}"
                            )));
                        }
                    });
                }
                match path.first() {
                    Some(PathPart::Name(_)) => Ok(ColumnPath(ValuePath(path))),
                    Some(PathPart::Index(_)) => Err(de::Error::custom(
                        "a path begins with a name: a payload is an object, and no array",
                    )),
                    None => Err(de::Error::custom("a path holds at least one name")),
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
            "names an element of an array with \"{name}\"; for an element write it as a list with the index as a number, such as \
             [\"items\", 0, \"sku\"]"
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
