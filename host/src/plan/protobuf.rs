//! Payloads of Protobuf: the messages of a descriptor set, and where in them the columns are.

use std::ops::Range;

/// What payloads are.
#[derive(Debug)]
pub struct ProtobufFormat {
    /// Which message of its file a payload is, where that stands in front of it, after the number of a schema.
    pub frame: Option<Vec<u64>>,
    /// The messages and enums that a payload may hold.
    pub types: ProtoTypes,
    /// The message that a payload is.
    pub root: ProtoPlace,
    /// What each column is, in the order of the columns; nothing for those that are not in the payload.
    pub columns: Vec<Option<ProtoColumn>>,
    /// How many places there are, the root among them: messages of which fields are read, and fields of which elements are.
    pub places: usize,
}

/// The messages and enums of a descriptor set.
#[derive(Debug, Default)]
pub struct ProtoTypes {
    /// The messages.
    pub messages: Vec<ProtoMessage>,
    /// The enums.
    pub enums: Vec<ProtoEnum>,
}

/// A message.
#[derive(Debug)]
pub struct ProtoMessage {
    /// Its name, with its package.
    pub name: String,
    /// What it is beyond its fields.
    pub known: Option<Known>,
    /// Its fields, in the order of their numbers.
    pub fields: Vec<ProtoField>,
}

/// Messages that stand for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// `google.type.Date`.
    Date,
    /// One whose value is that of its first field: the wrappers, `google.protobuf.Struct` and `google.protobuf.ListValue`.
    Inner,
    /// `google.protobuf.Value`: the one of its fields that is there.
    Value,
}

/// An enum.
#[derive(Debug)]
pub struct ProtoEnum {
    /// The name of each number, in their order.
    pub names: Vec<(i32, String)>,
}

impl ProtoEnum {
    /// What a number is called.
    pub fn name(&self, number: i32) -> Option<&str> {
        let place = self.names.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.names.get(place).map(|(_, name)| name.as_str())
    }
}

/// A field of a message.
#[derive(Clone, Debug)]
pub struct ProtoField {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: ProtoKind,
    /// How many there are.
    pub count: ProtoCount,
    /// Which group of fields it belongs to of which only one is there, where it does.
    pub oneof: Option<usize>,
}

/// How many values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtoCount {
    /// One; what is not there is the default of its kind.
    Implicit,
    /// One or none.
    Optional,
    /// Any number.
    Repeated,
    /// Any number, by name: messages of a key and a value.
    Map,
}

/// What the values of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are called as in Protobuf")]
pub enum ProtoKind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    /// One of these names: an index into [`ProtoTypes::enums`].
    Enum(usize),
    /// An index into [`ProtoTypes::messages`].
    Message(usize),
    /// A group, as old files have it. It is passed over.
    Group,
}

impl ProtoKind {
    /// Whether many values may stand together, without a key in front of each.
    pub fn is_packed(self) -> bool {
        !matches!(self, Self::String | Self::Bytes | Self::Message(_) | Self::Group)
    }
}

/// A message, fields of which are read.
#[derive(Debug)]
pub struct ProtoPlace {
    /// Its number among the places.
    pub number: usize,
    /// The fields that mean something, in the order of their numbers.
    pub fields: Vec<ProtoTarget>,
}

/// What becomes of a field.
#[derive(Debug)]
pub struct ProtoTarget {
    /// Its number.
    pub number: u32,
    /// What reads it.
    pub reads: ProtoReads,
    /// Fields that are not there where this one is.
    pub clears: Vec<ProtoRival>,
}

/// A field that columns read, and that is not there where another one is.
#[derive(Debug)]
pub struct ProtoRival {
    /// The columns at it or within it.
    pub columns: Vec<usize>,
    /// The numbers of the places within it.
    pub places: Range<usize>,
}

/// What reads a field.
#[derive(Debug)]
pub enum ProtoReads {
    /// A column.
    Column(usize),
    /// Columns read fields of it.
    Fields(ProtoPlace),
    /// Columns read elements of it, or fields of those.
    Elements(ProtoElements),
    /// Nothing does.
    Nothing,
}

/// A repeated field, elements of which are read.
#[derive(Debug)]
pub struct ProtoElements {
    /// Its number among the places.
    pub number: usize,
    /// What the elements are.
    pub kind: ProtoKind,
    /// What reads an element, by its index, in their order.
    pub reads: Vec<(usize, ProtoReads)>,
}

/// A column.
#[derive(Debug)]
pub struct ProtoColumn {
    /// The field that it reads.
    pub field: ProtoField,
    /// The place that the field is in.
    pub place: usize,
}
