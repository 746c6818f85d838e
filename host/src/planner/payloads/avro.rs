//! Avro: where in the schemas the columns are.

use super::{Binder, Kind, WANTS_INDEX, avro_schema::AvroSchema, fits, fits_list, wanted::Wanted};
use crate::{
    definition::{AvroFormat as Written, Name, SourceColumn},
    error::Result,
    limits::SCHEMA_BYTES_MAX,
    model::{
        column::{ColumnType, ElementType},
        path::PathPart,
    },
    plan::{
        PayloadFormat,
        avro::{AvroFormat, AvroPlace, AvroReader, AvroType, AvroTypeId, AvroTypes, OnPath},
    },
};
use std::{collections::BTreeMap, ops::Range};

impl Binder<'_> {
    pub(super) fn avro(
        &self,
        written: &Written,
        span: Range<usize>,
        columns: &[(Name, SourceColumn)],
    ) -> Result<PayloadFormat> {
        let wanted = Wanted::of(columns);
        // Those that are not in the payload need not be found.
        let mut found: Vec<bool> = columns
            .iter()
            .map(|(name, column)| super::path(name, column).is_none())
            .collect();
        let mut last = None;
        let mut reader = |file: &Name| -> Result<AvroReader> {
            let schema = self.avro_schema(file)?;
            let mut bound = Bound {
                types: &schema.types,
                columns,
                found: &mut found,
            };
            let place = bound.place(schema.root, &wanted).map_err(|(column, reason)| {
                let (file, column) = (file.get_ref(), columns.get(column));
                match column {
                    Some((name, _)) => self.at(name, format!("column \"{}\": schema {file}: {reason}", name.get_ref())),
                    None => self.error(span.clone(), reason),
                }
            })?;
            last = Some((file.get_ref().clone(), schema.root));
            Ok(AvroReader {
                types: schema.types,
                root: place,
            })
        };
        let format = match (&written.schema, &written.schemas) {
            (Some(file), None) => AvroFormat::One(reader(file)?),
            (None, Some(schemas)) if !schemas.get_ref().is_empty() => {
                let mut readers = BTreeMap::new();
                for (number, file) in schemas.get_ref() {
                    let Ok(id) = number.parse::<u32>() else {
                        let accepted = "the number of a schema in the registry, 0 to 4294967295";
                        let message = format!("key `schemas` has \"{number}\"; accepted is {accepted}");
                        return Err(self.at(file, message));
                    };
                    readers.insert(id, reader(file)?);
                }
                AvroFormat::Framed(readers)
            }
            _ => {
                let accepted = "key `schema` with a file, or key `schemas` with a file for each number that stands in front of \
                                payloads, such as { 7 = \"payment.avsc\" }";
                return Err(self.error(span, format!("key `format`: accepted for Avro is {accepted}")));
            }
        };
        let missing = columns.iter().zip(&found).find(|(_, found)| !**found);
        let types = match &format {
            AvroFormat::One(reader) => Some(&reader.types),
            AvroFormat::Framed(readers) => readers.values().last().map(|reader| &reader.types),
        };
        if let (Some(((name, column), _)), Some((file, root)), Some(types)) = (missing, last, types) {
            let path = super::path(name, column);
            let reason = missing_field(types, root, &path.map(|path| path.0).unwrap_or_default());
            return Err(self.at(name, format!("column \"{}\": schema {file}: {reason}", name.get_ref())));
        }
        Ok(PayloadFormat::Avro(format.into()))
    }

    fn avro_schema(&self, file: &Name) -> Result<AvroSchema> {
        let at_file = |message: String| self.at(file, format!("key `format`: {message}"));
        let text = self.file.named(file, "Avro schema", SCHEMA_BYTES_MAX);
        let text = text.map_err(|cause| at_file(cause.to_string()))?;
        AvroSchema::parse(&text).map_err(|reason| at_file(format!("Avro schema {}: {reason}", file.get_ref())))
    }
}

/// A schema that columns are looked for in.
struct Bound<'a> {
    types: &'a AvroTypes,
    columns: &'a [(Name, SourceColumn)],
    /// The columns that some schema has.
    found: &'a mut [bool],
}

impl Bound<'_> {
    /// What becomes of a value of this type.
    ///
    /// # Errors
    /// Which column is not what the schema has, and why.
    fn place(&mut self, id: AvroTypeId, wanted: &Wanted) -> std::result::Result<AvroPlace, (usize, String)> {
        if let Some(column) = wanted.column {
            self.check(id, column).map_err(|reason| (column, reason))?;
            if let Some(found) = self.found.get_mut(column) {
                *found = true;
            }
            return Ok(match self.columns.get(column).map(|(_, column)| column.column_type) {
                Some(ColumnType::List(_)) => AvroPlace::List(id, column),
                _ => AvroPlace::Column(id, column),
            });
        }
        let column = wanted.first_column();
        let on_path = match (wanted.fields.is_empty(), wanted.elements.is_empty()) {
            (true, true) => return Ok(AvroPlace::Skip(id)),
            (false, _) => OnPath::Record,
            (true, false) => OnPath::Array,
        };
        match self.types.get(id) {
            AvroType::Record(record) if on_path == OnPath::Record => {
                let fields = record.fields.iter().map(|(name, of)| match wanted.field(name) {
                    Some(wanted) => self.place(*of, wanted),
                    None => Ok(AvroPlace::Skip(*of)),
                });
                Ok(AvroPlace::Record(fields.collect::<std::result::Result<_, _>>()?))
            }
            AvroType::Array(items) if on_path == OnPath::Array => {
                let elements = wanted.elements.iter().map(|(index, wanted)| {
                    let element = self.place(*items, wanted)?;
                    Ok((*index, element))
                });
                Ok(AvroPlace::Array(
                    *items,
                    elements.collect::<std::result::Result<_, _>>()?,
                ))
            }
            AvroType::Union(branches) => {
                let is_on_path = |branch: &AvroTypeId| match self.types.get(*branch) {
                    AvroType::Record(_) => on_path == OnPath::Record,
                    AvroType::Array(_) => on_path == OnPath::Array,
                    _ => false,
                };
                if !branches.iter().any(is_on_path) {
                    return Err((column, not_on_path(self.types, id, wanted)));
                }
                let branches = branches.iter().map(|branch| match self.types.get(*branch) {
                    AvroType::Null => Ok(AvroPlace::Skip(*branch)),
                    AvroType::Record(_) if on_path == OnPath::Record => self.place(*branch, wanted),
                    AvroType::Array(_) if on_path == OnPath::Array => self.place(*branch, wanted),
                    _ => Ok(AvroPlace::NotOnPath(*branch, column, on_path)),
                });
                Ok(AvroPlace::Union(branches.collect::<std::result::Result<_, _>>()?))
            }
            _ => Err((column, not_on_path(self.types, id, wanted))),
        }
    }

    /// Whether a column can be of this type.
    fn check(&self, id: AvroTypeId, column: usize) -> std::result::Result<(), String> {
        let Some((_, column)) = self.columns.get(column) else {
            return Ok(());
        };
        let column_type = column.column_type;
        let of_branch = |branch: AvroTypeId| {
            let of = self.types.get(branch);
            Some(match (of, column_type) {
                (AvroType::Array(items), ColumnType::List(of)) => self.check_elements(*items, of, column),
                _ => fits(kind(of)?, column),
            })
        };
        self.any_fits(id, of_branch).map_err(|flaws| {
            let of_type = describe(self.types, id);
            match flaws.is_empty() {
                true => format!("the field is {of_type}, which is always null"),
                false => format!("the field is {of_type}, and the column {column_type}: {flaws}"),
            }
        })
    }

    /// Whether elements of this type can be those of a column that is a list.
    fn check_elements(
        &self,
        items: AvroTypeId,
        of: ElementType,
        column: &SourceColumn,
    ) -> std::result::Result<(), String> {
        let of_branch = |branch: AvroTypeId| Some(fits_list(kind(self.types.get(branch))?, of, column));
        self.any_fits(items, of_branch).map_err(|flaws| {
            let of_type = describe(self.types, items);
            match flaws.is_empty() {
                true => format!("its elements are {of_type}, which is always null; accepted is json"),
                false => format!("its elements are {of_type}: {flaws}"),
            }
        })
    }

    /// Whether some branch of a type fits, of those that are not null. Values of the others are dead letters.
    fn any_fits(
        &self,
        id: AvroTypeId,
        fits: impl Fn(AvroTypeId) -> Option<std::result::Result<(), String>>,
    ) -> std::result::Result<(), String> {
        let branches = match self.types.get(id) {
            AvroType::Union(branches) => branches.as_slice(),
            _ => &[id],
        };
        let mut flaws = Vec::new();
        for fits in branches.iter().filter_map(|branch| fits(*branch)) {
            match fits {
                Ok(()) => return Ok(()),
                Err(flaw) => flaws.push(flaw),
            }
        }
        Err(flaws.join("; or "))
    }
}

/// What a type is to columns; nothing for null.
fn kind(of: &AvroType) -> Option<Kind> {
    Some(match of {
        AvroType::Null => return None,
        AvroType::Boolean => Kind::Boolean,
        AvroType::Int | AvroType::Long => Kind::Integer,
        AvroType::Float | AvroType::Double => Kind::Double,
        AvroType::Bytes | AvroType::Fixed(_) => Kind::Bytes,
        AvroType::Text => Kind::Text,
        AvroType::Enum(_) | AvroType::Uuid => Kind::Name { has_number: false },
        AvroType::Array(_) => Kind::List,
        AvroType::Map(_) | AvroType::Record(_) | AvroType::Union(_) => Kind::Nested,
        AvroType::Decimal { scale, .. } => Kind::Decimal { scale: *scale },
        AvroType::Timestamp(_) => Kind::Timestamp,
        AvroType::Date => Kind::Date,
    })
}

/// A type in words.
fn describe(types: &AvroTypes, id: AvroTypeId) -> String {
    match types.get(id) {
        AvroType::Null => "null".to_owned(),
        AvroType::Boolean => "boolean".to_owned(),
        AvroType::Int => "int".to_owned(),
        AvroType::Long => "long".to_owned(),
        AvroType::Float => "float".to_owned(),
        AvroType::Double => "double".to_owned(),
        AvroType::Bytes => "bytes".to_owned(),
        AvroType::Text => "string".to_owned(),
        AvroType::Fixed(size) => format!("fixed of {size} bytes"),
        AvroType::Enum(symbols) => format!("an enum of {}", some(symbols.iter())),
        AvroType::Array(_) => "an array".to_owned(),
        AvroType::Map(_) => "a map".to_owned(),
        AvroType::Union(branches) => {
            let branches: Vec<String> = branches.iter().map(|branch| describe(types, *branch)).collect();
            format!("a union of {}", branches.join(", "))
        }
        AvroType::Record(record) => format!("record {}", record.name),
        AvroType::Decimal { scale, .. } => format!("a decimal of scale {scale}"),
        AvroType::Timestamp(unit) => format!("a timestamp in {}", unit.plural()),
        AvroType::Date => "a date".to_owned(),
        AvroType::Uuid => "a uuid".to_owned(),
    }
}

fn not_on_path(types: &AvroTypes, id: AvroTypeId, wanted: &Wanted) -> String {
    let of_type = describe(types, id);
    if let Some((index, _)) = wanted.elements.first() {
        return format!("the path has index {index} in {of_type}, which has no elements; accepted are arrays");
    }
    let branches = match types.get(id) {
        AvroType::Union(branches) => branches.as_slice(),
        _ => &[id],
    };
    match branches
        .iter()
        .any(|branch| matches!(types.get(*branch), AvroType::Array(_)))
    {
        true => format!("the path leads through {of_type}, which {WANTS_INDEX}"),
        false => format!("the path leads through {of_type}, which has no fields; accepted are records"),
    }
}

/// Why no field is at a path.
fn missing_field(types: &AvroTypes, root: AvroTypeId, path: &[PathPart]) -> String {
    let mut records = vec![root];
    for part in path {
        let branches = records.iter().flat_map(|record| match types.get(*record) {
            AvroType::Union(branches) => branches.clone(),
            _ => vec![*record],
        });
        let branches: Vec<AvroTypeId> = branches.collect();
        let PathPart::Name(name) = part else {
            let items = branches.iter().filter_map(|branch| match types.get(*branch) {
                AvroType::Array(items) => Some(*items),
                _ => None,
            });
            records = items.collect();
            continue;
        };
        let fields = || {
            branches.iter().flat_map(|branch| match types.get(*branch) {
                AvroType::Record(record) => record.fields.as_slice(),
                _ => &[],
            })
        };
        let inner: Vec<AvroTypeId> = fields().filter(|(known, _)| known == name).map(|(_, of)| *of).collect();
        if inner.is_empty() {
            let of: Vec<String> = branches.iter().map(|branch| describe(types, *branch)).collect();
            return format!(
                "there is no field \"{name}\" in {}; it has {}",
                of.join(", "),
                some(fields().map(|(name, _)| name))
            );
        }
        records = inner;
    }
    "there is no such field".to_owned()
}

/// Some names of a list.
pub(super) fn some<'n>(names: impl Iterator<Item = &'n String>) -> String {
    const SHOWN: usize = 20;
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    let more = names.len() > SHOWN;
    names.truncate(SHOWN);
    match (names.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, true) => format!("{} and more", names.join(", ")),
        (false, false) => names.join(", "),
    }
}
