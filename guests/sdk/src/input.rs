//! Columns in: what a rule reads of an event.

use crate::abi::{Column, ColumnType, ColumnValues, InputColumn};

/// What a rule reads of an event, one field for each column. Derived.
///
/// The column has the field's name, unless `#[column("name")]` says another. As an `Option` a field takes nulls too. The
/// host refuses to run a pipeline whose column may be null where the field is not an `Option`.
///
/// | a field of type | reads a column of type | with the feature |
/// | --- | --- | --- |
/// | `i64` | `int` | |
/// | `f64` | `double` | |
/// | `bool` | `boolean` | |
/// | `&'a str` | `text` | |
/// | `&'a [u8]` | `bytes` | |
/// | `rust_decimal::Decimal` | `decimal` of any digits; a value has at most 28 | `decimal` |
/// | `jiff::Timestamp` | `timestamp` | `jiff` |
/// | `jiff::civil::Date` | `date` | `jiff` |
/// | `serde_json::Value`, `Json<T>` | `json` | `json` |
/// | `Vec` of `i64`, `f64`, `bool` or `String`, or of an `Option` of one of them | `list` of that | `json` |
///
/// A value that the type cannot hold makes a dead letter of its event: a decimal of more digits, a null in a
/// `Vec<i64>`, JSON of another form.
///
/// ```
/// use weir_guest::Input;
///
/// #[derive(Input)]
/// struct Order<'a> {
///     id: i64,
///     customer_tel: Option<&'a str>,
///     #[column("account_payble")]
///     payable: Option<f64>,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a rule cannot read a row as `{Self}`",
    label = "not an input",
    note = "what a rule reads is a struct that derives `Input`, with a field for each column"
)]
pub trait Input<'a>: Sized {
    /// A reader for each column.
    #[doc(hidden)]
    type Readers;

    /// The columns, in the order of the fields.
    fn columns() -> Vec<InputColumn>;

    #[doc(hidden)]
    fn readers(columns: &'a [Column], rows: usize) -> Self::Readers;

    #[doc(hidden)]
    fn read(readers: &Self::Readers, row: usize) -> Self;
}

/// A type that a field of an [`Input`] may have.
#[diagnostic::on_unimplemented(
    message = "a rule cannot read a column as `{Self}`",
    label = "not the type of a column",
    note = "a field of an input is an `i64`, `f64`, `bool`, `&'a str` or `&'a [u8]`, or an `Option` of one of them",
    note = "with a feature of `weir-guest` it may be more: a `Decimal` (`decimal`), a `Timestamp` or `Date` of jiff (`jiff`), a `Value`, `Json` or `Vec` (`json`)"
)]
pub trait InputField<'a>: Sized {
    #[doc(hidden)]
    type Reader;

    #[doc(hidden)]
    const TYPE: ColumnType;

    #[doc(hidden)]
    const NULLABLE: bool;

    #[doc(hidden)]
    fn reader(name: &'static str, column: &'a Column, rows: usize) -> Self::Reader;

    #[doc(hidden)]
    fn read(reader: &Self::Reader, row: usize) -> Self;
}

/// A value that a column holds: the types of the contract, without null.
pub trait InputValue<'a>: Sized {
    #[doc(hidden)]
    type Reader;

    #[doc(hidden)]
    const TYPE: ColumnType;

    /// `name` is the column's, for what is said of a value that cannot be read.
    #[doc(hidden)]
    fn reader(name: &'static str, values: &'a ColumnValues, rows: usize) -> Self::Reader;

    #[doc(hidden)]
    fn read(reader: &Self::Reader, row: usize) -> Self;
}

impl<'a, T: InputValue<'a>> InputField<'a> for T {
    type Reader = T::Reader;
    const TYPE: ColumnType = T::TYPE;
    const NULLABLE: bool = false;

    fn reader(name: &'static str, column: &'a Column, rows: usize) -> Self::Reader {
        assert!(
            column.validity.is_none(),
            "the host sent nulls for a column that takes none"
        );
        T::reader(name, &column.values, rows)
    }

    #[inline(always)]
    fn read(reader: &Self::Reader, row: usize) -> Self {
        T::read(reader, row)
    }
}

impl<'a, T: InputValue<'a>> InputField<'a> for Option<T> {
    type Reader = (Option<&'a [u8]>, T::Reader);
    const TYPE: ColumnType = T::TYPE;
    const NULLABLE: bool = true;

    fn reader(name: &'static str, column: &'a Column, rows: usize) -> Self::Reader {
        let validity = column.validity.as_deref().map(|validity| &validity[..rows]);
        (validity, T::reader(name, &column.values, rows))
    }

    #[inline(always)]
    fn read((validity, reader): &Self::Reader, row: usize) -> Self {
        match validity {
            Some(validity) if validity[row] == 0 => None,
            _ => Some(T::read(reader, row)),
        }
    }
}

impl<'a> InputValue<'a> for i64 {
    type Reader = &'a [i64];
    const TYPE: ColumnType = ColumnType::Int;

    fn reader(_: &'static str, values: &'a ColumnValues, rows: usize) -> Self::Reader {
        match values {
            ColumnValues::Int(values) => &values[..rows],
            other => wrong_type(ColumnType::Int, other),
        }
    }

    #[inline(always)]
    fn read(reader: &Self::Reader, row: usize) -> Self {
        reader[row]
    }
}

impl<'a> InputValue<'a> for f64 {
    type Reader = &'a [f64];
    const TYPE: ColumnType = ColumnType::Double;

    fn reader(_: &'static str, values: &'a ColumnValues, rows: usize) -> Self::Reader {
        match values {
            ColumnValues::Double(values) => &values[..rows],
            other => wrong_type(ColumnType::Double, other),
        }
    }

    #[inline(always)]
    fn read(reader: &Self::Reader, row: usize) -> Self {
        reader[row]
    }
}

impl<'a> InputValue<'a> for bool {
    type Reader = &'a [u8];
    const TYPE: ColumnType = ColumnType::Boolean;

    fn reader(_: &'static str, values: &'a ColumnValues, rows: usize) -> Self::Reader {
        match values {
            ColumnValues::Boolean(values) => &values[..rows],
            other => wrong_type(ColumnType::Boolean, other),
        }
    }

    #[inline(always)]
    fn read(reader: &Self::Reader, row: usize) -> Self {
        reader[row] != 0
    }
}

impl<'a> InputValue<'a> for &'a str {
    type Reader = (&'a [u32], &'a str);
    const TYPE: ColumnType = ColumnType::Text;

    fn reader(_: &'static str, values: &'a ColumnValues, rows: usize) -> Self::Reader {
        match values {
            ColumnValues::Text(texts) => (&texts.offsets[..=rows], text_of(&texts.data)),
            other => wrong_type(ColumnType::Text, other),
        }
    }

    #[inline(always)]
    fn read((offsets, data): &Self::Reader, row: usize) -> Self {
        &data[offsets[row] as usize..offsets[row + 1] as usize]
    }
}

impl<'a> InputValue<'a> for &'a [u8] {
    type Reader = (&'a [u32], &'a [u8]);
    const TYPE: ColumnType = ColumnType::Bytes;

    fn reader(_: &'static str, values: &'a ColumnValues, rows: usize) -> Self::Reader {
        match values {
            ColumnValues::Text(bytes) => (&bytes.offsets[..=rows], &bytes.data),
            other => wrong_type(ColumnType::Bytes, other),
        }
    }

    #[inline(always)]
    fn read((offsets, data): &Self::Reader, row: usize) -> Self {
        &data[offsets[row] as usize..offsets[row + 1] as usize]
    }
}

/// The host's text, which the contract promises to be UTF-8.
///
/// Natively anyone can call with anything, so there it is checked.
pub(crate) fn text_of(data: &[u8]) -> &str {
    if cfg!(target_family = "wasm") {
        // SAFETY: the contract promises UTF-8, and the host, which wrote these bytes, can do as it likes with this memory
        // anyway. Checking costs more than all else that a rule does with a text.
        unsafe { str::from_utf8_unchecked(data) }
    } else {
        str::from_utf8(data).expect("the data of a text column is UTF-8")
    }
}

#[cold]
pub(crate) fn wrong_type(reads: ColumnType, values: &ColumnValues) -> ! {
    let sent = match values {
        ColumnValues::Int(_) => "int",
        ColumnValues::Double(_) => "double",
        ColumnValues::Boolean(_) => "boolean",
        ColumnValues::Text(_) => "text",
        ColumnValues::Decimal(_) => "decimal",
    };
    panic!(
        "the host sent a column of type {sent} where the rule reads {}",
        word(&reads)
    );
}

/// The contract's word for a type.
fn word(of: &ColumnType) -> &'static str {
    match of {
        ColumnType::Int => "int",
        ColumnType::Double => "double",
        ColumnType::Boolean => "boolean",
        ColumnType::Text => "text",
        ColumnType::Decimal(_) | ColumnType::AnyDecimal => "decimal",
        ColumnType::Timestamp => "timestamp",
        ColumnType::Date => "date",
        ColumnType::Bytes => "bytes",
        ColumnType::Json => "json",
        ColumnType::List(_) => "list",
    }
}
