//! Payloads of Avro: the types of a schema, and where in them the columns are.

use crate::definition::TimeUnit;
use std::collections::BTreeMap;

/// By which schemas payloads are read.
#[derive(Debug)]
pub enum AvroFormat {
    /// By this one.
    One(AvroReader),
    /// By the one whose number stands in front of a payload.
    Framed(BTreeMap<u32, AvroReader>),
}

/// A schema, and where in it the columns are.
#[derive(Debug)]
pub struct AvroReader {
    /// The types of the schema, which may hold each other and themselves.
    pub types: AvroTypes,
    /// What a payload is.
    pub root: AvroPlace,
}

/// A type among those of its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvroTypeId(usize);

/// The types of a schema.
#[derive(Debug, Default)]
pub struct AvroTypes(Vec<AvroType>);

impl AvroTypes {
    /// Adds a type.
    pub fn add(&mut self, of: AvroType) -> AvroTypeId {
        self.0.push(of);
        AvroTypeId(self.0.len() - 1)
    }

    /// Puts a type in the place of one that was added before.
    pub fn set(&mut self, id: AvroTypeId, of: AvroType) {
        if let Some(place) = self.0.get_mut(id.0) {
            *place = of;
        }
    }

    /// The type of this number, which is one of this schema.
    pub fn get(&self, id: AvroTypeId) -> &AvroType {
        self.0.get(id.0).unwrap_or(&AvroType::Null)
    }
}

/// A type of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AvroType {
    /// Nothing.
    Null,
    /// True or false.
    Boolean,
    /// An integer of 32 bits.
    Int,
    /// An integer of 64 bits.
    Long,
    /// A number of 32 bits.
    Float,
    /// A number of 64 bits.
    Double,
    /// Bytes.
    Bytes,
    /// A text.
    Text,
    /// So many bytes.
    Fixed(usize),
    /// One of these names.
    Enum(Vec<String>),
    /// Any number of values.
    Array(AvroTypeId),
    /// Values by name.
    Map(AvroTypeId),
    /// A value of one of these types.
    Union(Vec<AvroTypeId>),
    /// A value for each of these fields.
    Record(AvroRecord),
    /// A decimal: the two's complement of its digits, in so many bytes, or as many as it has.
    Decimal {
        /// How many bytes.
        size: Option<usize>,
        /// How many of its digits stand behind the point.
        scale: u8,
    },
    /// A point in time, as a long of these since 1970-01-01T00:00:00Z.
    Timestamp(TimeUnit),
    /// A day, as an int of days since 1970-01-01.
    Date,
    /// A UUID in sixteen bytes.
    Uuid,
}

/// A record of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvroRecord {
    /// Its name, with its namespace.
    pub name: String,
    /// Its fields, in the order in which a payload has them.
    pub fields: Vec<(String, AvroTypeId)>,
}

/// What becomes of the value at a place of a payload.
#[derive(Debug)]
pub enum AvroPlace {
    /// No column reads it.
    Skip(AvroTypeId),
    /// This column does.
    Column(AvroTypeId, usize),
    /// This column does, which is a list.
    List(AvroTypeId, usize),
    /// Columns read fields of it.
    Record(Vec<AvroPlace>),
    /// Columns read elements of it, which are of this type: each by its index, in their order.
    Array(AvroTypeId, Vec<(usize, AvroPlace)>),
    /// Columns read fields or elements of some of its branches.
    Union(Vec<AvroPlace>),
    /// A branch that has none, where this column reads one.
    NotOnPath(AvroTypeId, usize, OnPath),
}

/// What the path of a column leads through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPath {
    /// A record, by a name.
    Record,
    /// An array, by an index.
    Array,
}
