//! What a node can do: the functions and operators, and of which types. The functions that an author calls by name are in one table,
//! which the compiler, the reader of programs and the reference page all ask.

mod table;

pub use table::{FUNCTIONS, Signature};

use crate::types::{Layout, Type};
use serde::{Deserialize, Serialize};

/// A function or an operator. Programs name them by their place, so new ones come at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the table of functions says what they do")]
pub enum Function {
    // Lazy: they look at an argument only in rows that need it.
    And,
    Or,
    /// Conditions and values by turns, and a value for the rest where their number is odd.
    Case,
    Coalesce,
    // Logic.
    Not,
    IsNull,
    IsNotNull,
    IsTrue,
    IsFalse,
    NullIf,
    Reject,
    // Comparison of two of one type, or of two decimals.
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Distinct,
    NotDistinct,
    /// Whether the first is one of the others.
    In,
    AnyEqual,
    // Arithmetic.
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Negate,
    // Types.
    Cast,
    TryCast,
    // Text.
    Concat,
    Like,
    ILike,
    Length,
    OctetLength,
    Upper,
    Lower,
    Trim,
    TrimStart,
    TrimEnd,
    Substring,
    Left,
    Right,
    PadStart,
    PadEnd,
    Replace,
    SplitPart,
    Position,
    StartsWith,
    EndsWith,
    Contains,
    ConcatAll,
    ConcatWith,
    Reverse,
    Repeat,
    InitCap,
    Translate,
    RegexpLike,
    RegexpExtract,
    RegexpReplace,
    // Numbers.
    Abs,
    Sign,
    Ceil,
    Floor,
    Round,
    Truncate,
    Power,
    Sqrt,
    Exp,
    Ln,
    Log10,
    Log2,
    Sin,
    Cos,
    Tan,
    Atan,
    Atan2,
    Least,
    Greatest,
    // Time.
    DateTrunc,
    DatePart,
    DateAdd,
    DateDiff,
    ToTimestamp,
    ToDate,
    FromEpoch,
    ToEpoch,
    FormatTime,
    AtDate,
    StartOfDay,
    MakeDate,
    // JSON.
    JsonGet,
    JsonText,
    JsonType,
    JsonArrayLength,
    ToJson,
    // Lists.
    MakeList,
    Cardinality,
    ElementAt,
    ListContains,
    ArrayJoin,
    // Hashes and encodings.
    Sha256,
    Md5,
    HmacSha256,
    ToHex,
    FromHex,
    ToBase64,
    FromBase64,
}

/// What an argument has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are those of `Type`, but where it is said")]
pub enum Arg {
    Int,
    Double,
    Boolean,
    Text,
    /// Of any precision and scale.
    Decimal,
    Timestamp,
    Date,
    Bytes,
    Json,
    /// Of any element.
    List,
    /// What is in the list before it.
    Element,
    /// Any type.
    Any,
    /// The type of the first argument.
    Same,
    /// A text that names a unit of time; a literal.
    Unit,
    /// A text that names a time zone.
    Zone,
    /// A text that is a regular expression; a literal or a parameter.
    Pattern,
    /// A text that says how a time is written; a literal or a parameter.
    Format,
}

/// The type of what a function gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// Always this.
    Is(Type),
    /// The type of the first argument; of a decimal, one that the compiler chooses.
    First,
    /// What is in the list that is the first argument.
    Element,
}

impl Arg {
    /// Whether an argument of this type is one, as it is. `first` is the type of the first argument.
    pub fn is(self, of: Type, first: Type) -> bool {
        match self {
            Arg::Int => of == Type::Int,
            Arg::Double => of == Type::Double,
            Arg::Boolean => of == Type::Boolean,
            Arg::Text | Arg::Unit | Arg::Zone | Arg::Pattern | Arg::Format => of == Type::Text,
            Arg::Decimal => matches!(of, Type::Decimal { .. }),
            Arg::Timestamp => of == Type::Timestamp,
            Arg::Date => of == Type::Date,
            Arg::Bytes => of == Type::Bytes,
            Arg::Json => of == Type::Json,
            Arg::List => matches!(of, Type::List(_)),
            Arg::Element => matches!(first, Type::List(element) if element.as_type() == of),
            Arg::Any => true,
            Arg::Same => of == first,
        }
    }

    /// Whether it has to be known before the first row.
    pub fn is_prepared(self) -> bool {
        matches!(self, Arg::Unit | Arg::Pattern | Arg::Format)
    }
}

impl Signature {
    /// What the argument at this place has to be; nothing where there is no such place.
    pub fn argument(&self, at: usize) -> Option<Arg> {
        let all = self.arguments.iter().chain(self.optional);
        let last = || self.arguments.last().filter(|_| self.repeats);
        all.clone().nth(at).or_else(last).copied()
    }

    /// Whether it takes so many arguments.
    pub fn takes(&self, count: usize) -> bool {
        count >= self.arguments.len() && (self.repeats || count <= self.arguments.len() + self.optional.len())
    }

    /// Whether it takes arguments of these types, as they are.
    pub fn is_exactly(&self, arguments: &[Type]) -> bool {
        let first = arguments.first().copied().unwrap_or(Type::Int);
        let mut all = arguments.iter().enumerate();
        self.takes(arguments.len())
            && all.all(|(at, of)| self.argument(at).is_some_and(|argument| argument.is(*of, first)))
    }
}

impl Function {
    /// Whether it may be called with arguments of these types to give this type. The compiler makes no other calls, and a program
    /// with another is broken.
    pub fn accepts(self, arguments: &[Type], gives: Type) -> bool {
        use Function as F;
        let both_decimal = |a: Type, b: Type| a.layout() == Layout::Decimal && b.layout() == Layout::Decimal;
        let all_boolean = || arguments.iter().all(|of| *of == Type::Boolean);
        let all_give = |of: &[Type]| !of.is_empty() && of.iter().all(|of| *of == gives);
        match (self, arguments) {
            (F::And | F::Or, _) => !arguments.is_empty() && all_boolean() && gives == Type::Boolean,
            (F::Not | F::IsTrue | F::IsFalse, [_]) => all_boolean() && gives == Type::Boolean,
            (F::Case, _) => {
                let pairs = arguments.chunks(2);
                arguments.len() >= 2
                    && pairs.into_iter().all(|pair| match pair {
                        [condition, value] => *condition == Type::Boolean && *value == gives,
                        [rest] => *rest == gives,
                        _ => false,
                    })
            }
            (F::Coalesce, of) => all_give(of),
            (F::IsNull | F::IsNotNull, [_]) => gives == Type::Boolean,
            (F::NullIf, [first, second]) => first == second && *first == gives,
            (F::Reject, [condition, reason]) => {
                *condition == Type::Boolean && *reason == Type::Text && gives == Type::Boolean
            }
            (F::Equal | F::NotEqual | F::Distinct | F::NotDistinct, [a, b]) => {
                gives == Type::Boolean && (a == b || both_decimal(*a, *b))
            }
            (F::Less | F::LessEqual | F::Greater | F::GreaterEqual, [a, b]) => {
                gives == Type::Boolean && a.has_order() && (a == b || both_decimal(*a, *b))
            }
            (F::In, [first, others @ ..]) => {
                let is_like = |of: &Type| of == first || both_decimal(*first, *of);
                gives == Type::Boolean && !others.is_empty() && others.iter().all(is_like)
            }
            (F::AnyEqual, [of, Type::List(element)]) => gives == Type::Boolean && *of == element.as_type(),
            (F::Add | F::Subtract | F::Multiply | F::Divide | F::Remainder, [a, b]) => match gives {
                Type::Int | Type::Double => *a == gives && *b == gives,
                Type::Decimal { .. } => both_decimal(*a, *b),
                _ => false,
            },
            (F::Negate, [of]) => of.is_number() && *of == gives,
            (F::Cast | F::TryCast, [from]) => castable(*from, gives),
            (F::Concat, of) => matches!(gives, Type::Text | Type::Bytes) && all_give(of),
            (F::Like | F::ILike, [Type::Text, Type::Text]) => gives == Type::Boolean,
            (F::Like | F::ILike, [Type::Text, Type::Text, Type::Text]) => gives == Type::Boolean,
            (F::MakeList, of) => match gives {
                Type::List(element) => of.iter().all(|of| *of == element.as_type()),
                _ => false,
            },
            _ => FUNCTIONS.iter().any(|row| {
                row.function == self && row.is_exactly(arguments) && {
                    let first = arguments.first().copied().unwrap_or(Type::Int);
                    match row.gives {
                        Gives::Is(of) => of == gives,
                        Gives::First => first == gives || both_decimal(first, gives) && self.chooses_scale(),
                        Gives::Element => matches!(first, Type::List(of) if of.as_type() == gives),
                    }
                }
            }),
        }
    }

    /// Whether a decimal comes out with another precision and scale than one goes in.
    fn chooses_scale(self) -> bool {
        matches!(self, Self::Ceil | Self::Floor | Self::Round | Self::Truncate)
    }

    /// Whether it may give null where these of its arguments may be null.
    pub fn may_be_null(self, arguments: &[bool]) -> bool {
        use Function as F;
        let any = || arguments.contains(&true);
        match self {
            F::IsNull | F::IsNotNull | F::IsTrue | F::IsFalse | F::Distinct | F::NotDistinct | F::Reject => false,
            F::ConcatAll | F::MakeList => false,
            F::ConcatWith => arguments.first().copied().unwrap_or(true),
            F::Coalesce | F::Least | F::Greatest => arguments.iter().all(|may| *may),
            F::Case => {
                let values = arguments.chunks(2).filter_map(|pair| pair.last());
                arguments.len().is_multiple_of(2) || values.copied().any(|may| may)
            }
            F::NullIf | F::TryCast | F::SplitPart | F::RegexpExtract | F::JsonGet | F::JsonText | F::ElementAt => true,
            F::JsonArrayLength | F::JsonType | F::AnyEqual | F::ListContains | F::Cast => {
                any() || matches!(self, F::JsonArrayLength | F::AnyEqual | F::ListContains)
            }
            _ => any(),
        }
    }

    /// About what it costs in a row, where adding two ints is 1: what is dear is left out in rows that do not need it.
    pub fn cost(self) -> u32 {
        use Function as F;
        match self {
            F::And | F::Or | F::Not | F::Add | F::Subtract | F::Multiply | F::Negate => 1,
            F::Equal | F::NotEqual | F::Less | F::LessEqual | F::Greater | F::GreaterEqual => 1,
            F::IsNull | F::IsNotNull | F::IsTrue | F::IsFalse | F::Distinct | F::NotDistinct | F::Abs | F::Sign => 1,
            F::Case | F::Coalesce | F::NullIf | F::Divide | F::Remainder | F::In | F::Length | F::OctetLength => 4,
            F::RegexpLike | F::RegexpExtract | F::RegexpReplace | F::Sha256 | F::HmacSha256 | F::Md5 => 200,
            _ => 20,
        }
    }
}

/// Whether a value of one type can be cast to another.
pub fn castable(from: Type, to: Type) -> bool {
    use Type as T;
    if from == to {
        return true;
    }
    match (from, to) {
        (T::Text, _) | (_, T::Text) => true,
        (T::Json, _) => true,
        (T::List(_), T::Json) => true,
        (T::List(_), T::List(_)) => true,
        (from, T::Boolean) => from == T::Int,
        (T::Boolean, to) => to == T::Int,
        (T::Timestamp, T::Date) | (T::Date, T::Timestamp) => true,
        (from, to) => from.is_number() && to.is_number(),
    }
}
