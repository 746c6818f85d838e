//! What an aggregate remembers of a group, as bytes that the host keeps.

use std::collections::BTreeMap;

/// What an aggregate remembers of a group; also each field of that. Derived.
///
/// A field is an `i64`, a `u64`, an `f64`, a `bool`, a `String`, a `Vec`, an `Option` or a `BTreeMap` of those, or
/// another struct that derives `State`; with the features of these names also a `Decimal` (`decimal`), and a `Timestamp`
/// or `Date` of jiff (`jiff`). The host keeps the bytes, so a state has to say all that the aggregate knows of a group, in
/// at most 65536 of them.
///
/// ```
/// use weir_guest::State;
///
/// /// What was paid, by kind of claim.
/// #[derive(Default, State)]
/// struct Paid {
///     cents: i64,
///     by_kind: std::collections::BTreeMap<String, i64>,
/// }
///
/// let mut paid = Paid { cents: 300, ..Paid::default() };
/// paid.by_kind.insert("hail".to_owned(), 300);
/// let mut bytes = Vec::new();
/// paid.encode(&mut bytes);
/// assert_eq!(bytes.len(), paid.encoded_bytes());
/// assert_eq!(Paid::decode(&mut &bytes[..]).map(|paid| paid.by_kind["hail"]), Some(300));
/// assert_eq!(Paid::layout(), "{cents: int, by_kind: map<text, int>}");
/// ```
///
/// It can be implemented by hand, for a type whose bytes are to be others. Equal values have to have equal bytes, and
/// what is decoded has to be what was encoded: the host may hand a state back after any row, and does so after as many
/// rows as it likes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that a state can hold",
    label = "not a state",
    note = "a state is a struct that derives `State`; a field is an `i64`, `u64`, `f64`, `bool`, `String`, a `Vec`, `Option` or `BTreeMap` of those, or another struct that derives `State`",
    note = "with a feature of `weir-guest` it may be more: a `Decimal` (`decimal`), a `Timestamp` or `Date` of jiff (`jiff`)"
)]
pub trait State: Sized {
    /// The doc comment of the type, which is the description of the aggregate.
    const DOC: &str = "";

    /// More bytes than this no value has; nothing where there is no bound.
    const BYTES_MAX: Option<usize> = None;

    /// What the bytes mean, in words. A new version of an aggregate goes on with the states of the version before where
    /// both have the same layout.
    fn layout() -> String;

    /// Appends the value.
    fn encode(&self, bytes: &mut Vec<u8>);

    /// How many bytes [`encode`](State::encode) appends.
    fn encoded_bytes(&self) -> usize;

    /// Takes a value from the front of `bytes`; nothing where they are none that [`encode`](State::encode) gives.
    fn decode(bytes: &mut &[u8]) -> Option<Self>;
}

pub(crate) fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

// ---- numbers --------------------------------------------------------------------------------------------------------

macro_rules! numbers {
    ($($type:ty, $word:literal, $canonical:expr;)*) => {$(
        impl State for $type {
            const BYTES_MAX: Option<usize> = Some(size_of::<$type>());

            fn layout() -> String {
                $word.to_owned()
            }

            fn encode(&self, bytes: &mut Vec<u8>) {
                let canonical: fn($type) -> $type = $canonical;
                bytes.extend_from_slice(&canonical(*self).to_le_bytes());
            }

            fn encoded_bytes(&self) -> usize {
                size_of::<$type>()
            }

            fn decode(bytes: &mut &[u8]) -> Option<Self> {
                take(bytes, size_of::<$type>())?.try_into().ok().map(<$type>::from_le_bytes)
            }
        }
    )*};
}

numbers! {
    i64, "int", |value| value;
    u64, "unsigned", |value| value;
    // WebAssembly leaves open which NaN an operation gives, and a state may not depend on the machine.
    f64, "double", |value| if value.is_nan() { f64::NAN } else { value };
}

impl State for bool {
    const BYTES_MAX: Option<usize> = Some(1);

    fn layout() -> String {
        "boolean".to_owned()
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(*self));
    }

    fn encoded_bytes(&self) -> usize {
        1
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        match take(bytes, 1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

// ---- what holds others ----------------------------------------------------------------------------------------------

/// Bytes of a length.
const LENGTH_BYTES: usize = 4;

fn push_length(bytes: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("a state holds at most 2^32 - 1 of anything");
    bytes.extend_from_slice(&length.to_le_bytes());
}

fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let length = take(bytes, LENGTH_BYTES)?.try_into().ok()?;
    Some(u32::from_le_bytes(length) as usize)
}

impl State for String {
    fn layout() -> String {
        "text".to_owned()
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        push_length(bytes, self.len());
        bytes.extend_from_slice(self.as_bytes());
    }

    fn encoded_bytes(&self) -> usize {
        LENGTH_BYTES + self.len()
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let length = take_length(bytes)?;
        str::from_utf8(take(bytes, length)?).ok().map(str::to_owned)
    }
}

impl<T: State> State for Option<T> {
    const BYTES_MAX: Option<usize> = match T::BYTES_MAX {
        Some(bytes) => Some(1 + bytes),
        None => None,
    };

    fn layout() -> String {
        format!("option<{}>", T::layout())
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        self.is_some().encode(bytes);
        if let Some(value) = self {
            value.encode(bytes);
        }
    }

    fn encoded_bytes(&self) -> usize {
        1 + self.as_ref().map_or(0, T::encoded_bytes)
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        match bool::decode(bytes)? {
            true => T::decode(bytes).map(Some),
            false => Some(None),
        }
    }
}

impl<T: State> State for Vec<T> {
    fn layout() -> String {
        format!("list<{}>", T::layout())
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        push_length(bytes, self.len());
        for value in self {
            value.encode(bytes);
        }
    }

    fn encoded_bytes(&self) -> usize {
        LENGTH_BYTES + self.iter().map(T::encoded_bytes).sum::<usize>()
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let length = take_length(bytes)?;
        // No more room at first than the bytes could fill, whatever the length says.
        let mut values = Vec::with_capacity(length.min(bytes.len()));
        for _ in 0..length {
            values.push(T::decode(bytes)?);
        }
        Some(values)
    }
}

impl<K: State + Ord, V: State> State for BTreeMap<K, V> {
    fn layout() -> String {
        format!("map<{}, {}>", K::layout(), V::layout())
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        push_length(bytes, self.len());
        for (key, value) in self {
            key.encode(bytes);
            value.encode(bytes);
        }
    }

    fn encoded_bytes(&self) -> usize {
        let entry = |(key, value): (&K, &V)| key.encoded_bytes() + value.encoded_bytes();
        LENGTH_BYTES + self.iter().map(entry).sum::<usize>()
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut values = BTreeMap::new();
        for _ in 0..take_length(bytes)? {
            values.insert(K::decode(bytes)?, V::decode(bytes)?);
        }
        Some(values)
    }
}

/// For the derive: the sum of the bounds of all fields, if each has one.
#[doc(hidden)]
pub const fn bytes_max(fields: &[Option<usize>]) -> Option<usize> {
    let mut sum = 0;
    let mut field = 0;
    while field < fields.len() {
        match fields[field] {
            Some(bytes) => sum += bytes,
            None => return None,
        }
        field += 1;
    }
    Some(sum)
}
