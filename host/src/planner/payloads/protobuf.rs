//! Protobuf: where in the messages of a descriptor set the columns are.

use super::{Binder, Kind, WANTS_INDEX, avro::some, fits, fits_list, wanted::Wanted};
use crate::{
    definition::{Framing, Name, ProtobufFormat as Written, SourceColumn},
    error::Result,
    limits::SCHEMA_BYTES_MAX,
    model::column::ColumnType,
    plan::{
        PayloadFormat,
        protobuf::{
            Known, ProtoColumn, ProtoCount, ProtoElements, ProtoEnum, ProtoField, ProtoKind, ProtoMessage, ProtoPlace,
            ProtoReads, ProtoRival, ProtoTarget, ProtoTypes, ProtobufFormat,
        },
    },
};
use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind as Described, MessageDescriptor,
};
use std::collections::BTreeMap;

impl Binder<'_> {
    pub(super) fn protobuf(&self, written: &Written, columns: &[(Name, SourceColumn)]) -> Result<PayloadFormat> {
        let message = self.message(written)?;
        let mut types = Types::default();
        let root = types.message(&message);
        types.finish();
        let mut bound = Bound {
            types: &types.types,
            columns,
            fields: columns.iter().map(|_| None).collect(),
            places: 0,
        };
        let place = bound.place(root, &Wanted::of(columns)).map_err(|(column, reason)| {
            let file = written.descriptors.get_ref();
            match columns.get(column) {
                Some((name, _)) => self.at(name, format!("column \"{}\": {file}: {reason}", name.get_ref())),
                None => self.at(&written.message, reason),
            }
        })?;
        let Bound { fields, places, .. } = bound;
        let format = ProtobufFormat {
            frame: (written.framing == Framing::Confluent).then(|| place_in_file(&message)),
            root: place,
            columns: fields,
            places,
            types: types.types,
        };
        Ok(PayloadFormat::Protobuf(format.into()))
    }

    /// The message that a payload is.
    fn message(&self, written: &Written) -> Result<MessageDescriptor> {
        let file = &written.descriptors;
        let at_file = |message: String| self.at(file, format!("key `descriptors`: {message}"));
        let bytes = self.file.named(file, "descriptor set", SCHEMA_BYTES_MAX);
        let bytes = bytes.map_err(|cause| at_file(cause.to_string()))?;
        let pool = DescriptorPool::decode(&*bytes).map_err(|cause| {
            at_file(format!(
                "descriptor set {}: {cause}; accepted is what protoc --include_imports --descriptor_set_out writes",
                file.get_ref()
            ))
        })?;
        let name = written.message.get_ref();
        pool.get_message_by_name(name).ok_or_else(|| {
            let known: Vec<String> = pool
                .all_messages()
                .filter(|message| !message.is_map_entry() && message.package_name() != "google.protobuf")
                .map(|message| message.full_name().to_owned())
                .collect();
            let message = format!(
                "key `message`: descriptor set {} has no message \"{name}\"; it has {}",
                file.get_ref(),
                some(known.iter())
            );
            self.at(&written.message, message)
        })
    }
}

/// Which message of its file one is: its number there, or that of each message around it and its own.
fn place_in_file(message: &MessageDescriptor) -> Vec<u64> {
    let mut path = Vec::new();
    let mut of = message.clone();
    loop {
        let parent = of.parent_message();
        let place = match &parent {
            Some(parent) => parent.child_messages().position(|other| other == of),
            None => of.parent_file().messages().position(|other| other == of),
        };
        path.insert(0, place.unwrap_or_default() as u64);
        match parent {
            Some(parent) => of = parent,
            None => return path,
        }
    }
}

/// The types that a message may hold, each once.
#[derive(Default)]
struct Types {
    types: ProtoTypes,
    messages: BTreeMap<String, usize>,
    enums: BTreeMap<String, usize>,
    /// Messages whose fields are still to be looked at.
    open: Vec<(usize, MessageDescriptor)>,
}

impl Types {
    fn message(&mut self, message: &MessageDescriptor) -> usize {
        if let Some(&known) = self.messages.get(message.full_name()) {
            return known;
        }
        let index = self.types.messages.len();
        self.types.messages.push(ProtoMessage {
            name: message.full_name().to_owned(),
            known: known(message.full_name()),
            fields: Vec::new(),
        });
        self.messages.insert(message.full_name().to_owned(), index);
        self.open.push((index, message.clone()));
        index
    }

    /// Looks at the fields of all messages.
    fn finish(&mut self) {
        while let Some((index, message)) = self.open.pop() {
            let oneofs: Vec<String> = message.oneofs().map(|oneof| oneof.full_name().to_owned()).collect();
            let mut fields: Vec<ProtoField> = message.fields().map(|field| self.field(&field, &oneofs)).collect();
            fields.sort_by_key(|field| field.number);
            if let Some(message) = self.types.messages.get_mut(index) {
                message.fields = fields;
            }
        }
    }

    fn field(&mut self, field: &FieldDescriptor, oneofs: &[String]) -> ProtoField {
        let count = match field.cardinality() {
            Cardinality::Repeated if field.is_map() => ProtoCount::Map,
            Cardinality::Repeated => ProtoCount::Repeated,
            _ if field.supports_presence() => ProtoCount::Optional,
            _ => ProtoCount::Implicit,
        };
        let kind = match field.kind() {
            _ if field.is_group() => ProtoKind::Group,
            Described::Double => ProtoKind::Double,
            Described::Float => ProtoKind::Float,
            Described::Int32 => ProtoKind::Int32,
            Described::Int64 => ProtoKind::Int64,
            Described::Uint32 => ProtoKind::Uint32,
            Described::Uint64 => ProtoKind::Uint64,
            Described::Sint32 => ProtoKind::Sint32,
            Described::Sint64 => ProtoKind::Sint64,
            Described::Fixed32 => ProtoKind::Fixed32,
            Described::Fixed64 => ProtoKind::Fixed64,
            Described::Sfixed32 => ProtoKind::Sfixed32,
            Described::Sfixed64 => ProtoKind::Sfixed64,
            Described::Bool => ProtoKind::Bool,
            Described::String => ProtoKind::String,
            Described::Bytes => ProtoKind::Bytes,
            Described::Enum(of) => ProtoKind::Enum(self.of_enum(&of)),
            Described::Message(of) => ProtoKind::Message(self.message(&of)),
        };
        let oneof = field.containing_oneof();
        ProtoField {
            number: field.number(),
            name: field.name().to_owned(),
            kind,
            count,
            oneof: oneof.and_then(|oneof| oneofs.iter().position(|name| name == oneof.full_name())),
        }
    }

    fn of_enum(&mut self, of: &EnumDescriptor) -> usize {
        if let Some(&known) = self.enums.get(of.full_name()) {
            return known;
        }
        let mut names: Vec<(i32, String)> = of
            .values()
            .map(|value| (value.number(), value.name().to_owned()))
            .collect();
        // Of several names of a number the first is its name.
        names.sort_by_key(|(number, _)| *number);
        names.dedup_by_key(|(number, _)| *number);
        let index = self.types.enums.len();
        self.types.enums.push(ProtoEnum { names });
        self.enums.insert(of.full_name().to_owned(), index);
        index
    }
}

/// What a message of this name stands for.
fn known(name: &str) -> Option<Known> {
    let name = name.strip_prefix("google.")?;
    Some(match name {
        "protobuf.Timestamp" => Known::Timestamp,
        "type.Date" => Known::Date,
        "protobuf.Value" => Known::Value,
        "protobuf.Struct" | "protobuf.ListValue" => Known::Inner,
        "protobuf.DoubleValue"
        | "protobuf.FloatValue"
        | "protobuf.Int64Value"
        | "protobuf.UInt64Value"
        | "protobuf.Int32Value"
        | "protobuf.UInt32Value"
        | "protobuf.BoolValue"
        | "protobuf.StringValue"
        | "protobuf.BytesValue" => Known::Inner,
        _ => return None,
    })
}

/// Messages that columns are looked for in.
struct Bound<'a> {
    types: &'a ProtoTypes,
    columns: &'a [(Name, SourceColumn)],
    fields: Vec<Option<ProtoColumn>>,
    places: usize,
}

impl Bound<'_> {
    /// What becomes of the fields of a message.
    ///
    /// # Errors
    /// Which column is not what the descriptors have, and why.
    fn place(&mut self, message: usize, wanted: &Wanted) -> std::result::Result<ProtoPlace, (usize, String)> {
        let types = self.types;
        let Some(message) = types.messages.get(message) else {
            return Err((wanted.first_column(), "there is no such message".to_owned()));
        };
        let number = self.places;
        self.places += 1;
        if let Some((name, missing)) = wanted
            .fields
            .iter()
            .find(|(name, _)| !message.fields.iter().any(|field| field.name == *name))
        {
            let reason = format!(
                "there is no field \"{name}\" in message {}; it has {}",
                message.name,
                some(message.fields.iter().map(|field| &field.name))
            );
            return Err((missing.first_column(), reason));
        }
        let mut read = Vec::new();
        for field in &message.fields {
            let first = self.places;
            let reads = match wanted.field(&field.name) {
                Some(wanted) => Some(self.reads(field, number, wanted)?),
                None => None,
            };
            read.push((reads, first..self.places));
        }
        let places: Vec<_> = read.iter().map(|(_, places)| places.clone()).collect();
        let mut fields = Vec::new();
        for (field, (reads, _)) in message.fields.iter().zip(read) {
            let is_rival = |other: &ProtoField| {
                other.oneof.is_some() && other.oneof == field.oneof && other.number != field.number
            };
            let rivals = message.fields.iter().zip(&places).filter(|(other, _)| is_rival(other));
            let clears = rivals.filter_map(|(rival, places)| {
                let mut columns = Vec::new();
                wanted.field(&rival.name)?.all_columns(&mut columns);
                let places = places.clone();
                Some(ProtoRival { columns, places })
            });
            let clears: Vec<ProtoRival> = clears.collect();
            let reads = match reads {
                Some(reads) => reads,
                None if clears.is_empty() => continue,
                None => ProtoReads::Nothing,
            };
            fields.push(ProtoTarget {
                number: field.number,
                reads,
                clears,
            });
        }
        Ok(ProtoPlace { number, fields })
    }

    fn reads(
        &mut self,
        field: &ProtoField,
        place: usize,
        wanted: &Wanted,
    ) -> std::result::Result<ProtoReads, (usize, String)> {
        let (name, of_type) = (&field.name, describe(self.types, field));
        let Some(index) = wanted.column else {
            let reason = match (field.kind, field.count, wanted.elements.first()) {
                (_, ProtoCount::Repeated, Some(_)) => {
                    return Ok(ProtoReads::Elements(self.elements(field, place, wanted)?));
                }
                (_, _, Some((index, _))) => {
                    format!(
                        "the path has index {index} in \"{name}\", which is {of_type}; accepted are repeated fields"
                    )
                }
                (ProtoKind::Message(message), ProtoCount::Optional | ProtoCount::Implicit, None) => {
                    return Ok(ProtoReads::Fields(self.place(message, wanted)?));
                }
                (_, ProtoCount::Repeated, None) => {
                    format!("the path leads through \"{name}\", which is {of_type} and {WANTS_INDEX}")
                }
                _ => format!(
                    "the path leads through \"{name}\", which is {of_type} and has no fields; accepted are messages"
                ),
            };
            return Err((wanted.first_column(), reason));
        };
        if let Some((_, column)) = self.columns.get(index) {
            let column_type = column.column_type;
            let fits = match (kind(self.types, field), column_type) {
                (Some(Kind::List), ColumnType::List(of)) => {
                    kind(self.types, &element(field)).map(|kind| fits_list(kind, of, column))
                }
                (kind, _) => kind.map(|kind| fits(kind, column)),
            };
            fits.unwrap_or_else(|| Err("groups are passed over, and no column reads one".to_owned()))
                .map_err(|flaw| {
                    (
                        index,
                        format!("the field is {of_type}, and the column {column_type}: {flaw}"),
                    )
                })?;
        }
        if let Some(found) = self.fields.get_mut(index) {
            *found = Some(ProtoColumn {
                field: field.clone(),
                place,
            });
        }
        Ok(ProtoReads::Column(index))
    }

    /// What becomes of the elements of a repeated field.
    fn elements(
        &mut self,
        field: &ProtoField,
        place: usize,
        wanted: &Wanted,
    ) -> std::result::Result<ProtoElements, (usize, String)> {
        let number = self.places;
        self.places += 1;
        let of_element = element(field);
        let mut reads = Vec::new();
        for (index, wanted) in &wanted.elements {
            reads.push((*index, self.reads(&of_element, place, wanted)?));
        }
        Ok(ProtoElements {
            number,
            kind: field.kind,
            reads,
        })
    }
}

/// An element of a repeated field, which is there or not.
fn element(field: &ProtoField) -> ProtoField {
    ProtoField {
        count: ProtoCount::Optional,
        ..field.clone()
    }
}

/// What a field is to columns; nothing for what none can be.
fn kind(types: &ProtoTypes, field: &ProtoField) -> Option<Kind> {
    Some(match (field.kind, field.count) {
        (ProtoKind::Group, _) => return None,
        (_, ProtoCount::Map) => Kind::Nested,
        (_, ProtoCount::Repeated) => Kind::List,
        (ProtoKind::Double | ProtoKind::Float, _) => Kind::Double,
        (
            ProtoKind::Int32
            | ProtoKind::Int64
            | ProtoKind::Uint32
            | ProtoKind::Uint64
            | ProtoKind::Sint32
            | ProtoKind::Sint64
            | ProtoKind::Fixed32
            | ProtoKind::Fixed64
            | ProtoKind::Sfixed32
            | ProtoKind::Sfixed64,
            _,
        ) => Kind::Integer,
        (ProtoKind::Bool, _) => Kind::Boolean,
        (ProtoKind::String, _) => Kind::Text,
        (ProtoKind::Bytes, _) => Kind::Bytes,
        (ProtoKind::Enum(_), _) => Kind::Name { has_number: true },
        (ProtoKind::Message(message), _) => {
            let message = types.messages.get(message)?;
            match (message.known, message.fields.first()) {
                (Some(Known::Timestamp), _) => Kind::Timestamp,
                (Some(Known::Date), _) => Kind::Date,
                (Some(Known::Inner), Some(inner)) => match kind(types, inner)? {
                    Kind::List => Kind::Nested,
                    kind => kind,
                },
                _ => Kind::Nested,
            }
        }
    })
}

/// A field in words.
fn describe(types: &ProtoTypes, field: &ProtoField) -> String {
    let of = match field.kind {
        ProtoKind::Message(message) => {
            let message = types.messages.get(message);
            message.map_or("a message".to_owned(), |message| format!("message {}", message.name))
        }
        ProtoKind::Enum(of) => {
            let names = types.enums.get(of).into_iter().flat_map(|of| &of.names);
            format!("an enum of {}", some(names.map(|(_, name)| name)))
        }
        ProtoKind::Group => "a group".to_owned(),
        kind => format!("{kind:?}").to_lowercase(),
    };
    match field.count {
        ProtoCount::Implicit | ProtoCount::Optional => of,
        ProtoCount::Repeated => format!("repeated {of}"),
        ProtoCount::Map => "a map".to_owned(),
    }
}
