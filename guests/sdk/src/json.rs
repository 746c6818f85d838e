//! JSON and lists.

use serde_json::Value;
use serde_json::de::{Deserializer, StrRead};

use crate::Computed;
use crate::abi::{ColumnType, ColumnValues, ElementType};
use crate::computed::{ColumnBuilder, Texts};
use crate::input::{InputValue, text_of, wrong_type};

/// JSON in a column, as a type of the rule's own that derives what `serde` asks for. With the feature `json`.
///
/// In an [`Input`](crate::Input) the type is `Deserialize` and may borrow from the batch; JSON that is none of it makes a
/// dead letter of the event. In an [`Output`](crate::Output) it is `Serialize`, and comes to a value other than null.
///
/// ```
/// use weir_guest::{Input, Json, Output, stage};
///
/// #[derive(serde::Deserialize)]
/// struct Address<'a> {
///     city: &'a str,
/// }
///
/// #[derive(serde::Serialize)]
/// struct Route<'a> {
///     from: &'a str,
///     to: &'a str,
/// }
///
/// #[derive(Input)]
/// struct Order<'a> {
///     sender: Json<Address<'a>>,
///     receiver: Option<Json<Address<'a>>>,
/// }
///
/// #[derive(Output)]
/// #[pass(order_no)]
/// struct Sent<'a> {
///     route: Json<Route<'a>>,
/// }
///
/// /// Orders with a receiver.
/// #[stage]
/// fn sent<'a>(order: Order<'a>) -> Option<Sent<'a>> {
///     let (from, to) = (order.sender.0.city, order.receiver?.0.city);
///     Some(Sent { route: Json(Route { from, to }) })
/// }
///
/// let order = Order { sender: Json(Address { city: "Ulm" }), receiver: Some(Json(Address { city: "Jena" })) };
/// assert_eq!(sent(order).expect("it has a receiver").route.0.to, "Jena");
/// ```
///
/// A text with escapes is borrowed by no `&str`: `Cow<str>` and `String` take every text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

// ---- in -------------------------------------------------------------------------------------------------------------

/// A column of JSON or lists.
pub struct Reader<'a> {
    name: &'static str,
    offsets: &'a [u32],
    data: &'a str,
}

impl<'a> Reader<'a> {
    fn new(name: &'static str, of: ColumnType, values: &'a ColumnValues, rows: usize) -> Self {
        match values {
            ColumnValues::Text(texts) => Reader {
                name,
                offsets: &texts.offsets[..=rows],
                data: text_of(&texts.data),
            },
            other => wrong_type(of, other),
        }
    }

    fn read<T: serde::Deserialize<'a>>(&self, row: usize) -> T {
        let text = &self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize];
        let mut deserializer = Deserializer::new(StrRead::new(text));
        // The host bounds the depth, one deeper than serde_json does by itself.
        deserializer.disable_recursion_limit();
        let value = T::deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
        value.unwrap_or_else(|error| panic!("column `{}`: {error}", self.name))
    }
}

impl<'a> InputValue<'a> for Value {
    type Reader = Reader<'a>;
    const TYPE: ColumnType = ColumnType::Json;

    fn reader(name: &'static str, values: &'a ColumnValues, rows: usize) -> Self::Reader {
        Reader::new(name, Self::TYPE, values, rows)
    }

    fn read(reader: &Self::Reader, row: usize) -> Self {
        reader.read(row)
    }
}

impl<'a, T: serde::Deserialize<'a>> InputValue<'a> for Json<T> {
    type Reader = Reader<'a>;
    const TYPE: ColumnType = ColumnType::Json;

    fn reader(name: &'static str, values: &'a ColumnValues, rows: usize) -> Self::Reader {
        Reader::new(name, Self::TYPE, values, rows)
    }

    fn read(reader: &Self::Reader, row: usize) -> Self {
        Json(reader.read(row))
    }
}

// ---- out ------------------------------------------------------------------------------------------------------------

/// A column of JSON.
pub struct JsonColumn {
    name: &'static str,
    texts: Texts,
}

impl JsonColumn {
    /// Appends a value.
    ///
    /// # Panics
    ///
    /// It comes to JSON's null, which no column holds: a null of the column is the `None` of an `Option`. Or it comes to no
    /// JSON, such as a map whose keys are no texts.
    pub fn push<T: serde::Serialize + ?Sized>(&mut self, value: &T) {
        let start = self.texts.data.len();
        if let Err(error) = serde_json::to_writer(&mut self.texts.data, value) {
            panic!("column `{}`: {error}", self.name);
        }
        assert!(
            &self.texts.data[start..] != b"null",
            "column `{}` would be JSON's null; accepted are other values, and `None` of an `Option`",
            self.name
        );
        self.texts.end();
    }
}

impl ColumnBuilder for JsonColumn {
    const TYPE: ColumnType = ColumnType::Json;

    fn with_capacity(name: &'static str, rows: usize) -> Self {
        JsonColumn {
            name,
            texts: Texts::with_capacity(rows),
        }
    }

    fn rows(&self) -> usize {
        self.texts.rows()
    }

    fn push_filler(&mut self) {
        self.texts.end();
    }

    fn finish(self) -> ColumnValues {
        self.texts.finish()
    }
}

impl Computed for Value {
    type Column = JsonColumn;

    fn append_to(&self, column: &mut JsonColumn) {
        column.push(self);
    }
}

impl<T: serde::Serialize> Computed for Json<T> {
    type Column = JsonColumn;

    fn append_to(&self, column: &mut JsonColumn) {
        column.push(&self.0);
    }
}

// ---- lists ----------------------------------------------------------------------------------------------------------

/// What a list column may hold: `i64`, `f64`, `bool`, `String`, or an `Option` of one of them.
#[diagnostic::on_unimplemented(
    message = "a list column cannot hold `{Self}`",
    label = "not an element of a list",
    note = "a list is a `Vec` of `i64`, `f64`, `bool` or `String`, or of an `Option` of one of them"
)]
pub trait ListElement: serde::de::DeserializeOwned + serde::Serialize {
    #[doc(hidden)]
    const TYPE: ElementType;

    /// Whether JSON has it.
    #[doc(hidden)]
    fn is_json(&self) -> bool;
}

macro_rules! list_elements {
    ($($type:ty, $case:ident, $is_json:expr;)*) => {$(
        impl ListElement for $type {
            const TYPE: ElementType = ElementType::$case;

            #[inline(always)]
            fn is_json(&self) -> bool {
                let is_json: fn(&$type) -> bool = $is_json;
                is_json(self)
            }
        }

        impl ListElement for Option<$type> {
            const TYPE: ElementType = ElementType::$case;

            #[inline(always)]
            fn is_json(&self) -> bool {
                self.as_ref().is_none_or(ListElement::is_json)
            }
        }
    )*};
}

list_elements! {
    i64, Int, |_| true;
    f64, Double, |value| f64::is_finite(*value);
    bool, Boolean, |_| true;
    String, Text, |_| true;
}

impl<'a, T: ListElement> InputValue<'a> for Vec<T> {
    type Reader = Reader<'a>;
    const TYPE: ColumnType = ColumnType::List(T::TYPE);

    fn reader(name: &'static str, values: &'a ColumnValues, rows: usize) -> Self::Reader {
        Reader::new(name, Self::TYPE, values, rows)
    }

    fn read(reader: &Self::Reader, row: usize) -> Self {
        reader.read(row)
    }
}

/// A column of lists.
pub struct ListColumn<T> {
    name: &'static str,
    texts: Texts,
    of: std::marker::PhantomData<fn(T)>,
}

impl<T: ListElement> ListColumn<T> {
    /// Appends a list.
    ///
    /// # Panics
    ///
    /// A double in it is not finite.
    pub fn push(&mut self, list: &[T]) {
        if let Some(place) = list.iter().position(|element| !element.is_json()) {
            panic!(
                "column `{}` would have a number that is not finite, at place {place} of the list",
                self.name
            );
        }
        // As the host writes lists: it has the same writer.
        serde_json::to_writer(&mut self.texts.data, list).expect("elements of lists are JSON");
        self.texts.end();
    }
}

impl<T: ListElement> ColumnBuilder for ListColumn<T> {
    const TYPE: ColumnType = ColumnType::List(T::TYPE);

    fn with_capacity(name: &'static str, rows: usize) -> Self {
        ListColumn {
            name,
            texts: Texts::with_capacity(rows),
            of: std::marker::PhantomData,
        }
    }

    fn rows(&self) -> usize {
        self.texts.rows()
    }

    fn push_filler(&mut self) {
        self.texts.end();
    }

    fn finish(self) -> ColumnValues {
        self.texts.finish()
    }
}

impl<T: ListElement> Computed for Vec<T> {
    type Column = ListColumn<T>;

    fn append_to(&self, column: &mut ListColumn<T>) {
        column.push(self);
    }
}

impl<T: ListElement> Computed for &[T] {
    type Column = ListColumn<T>;

    fn append_to(&self, column: &mut ListColumn<T>) {
        column.push(self);
    }
}
