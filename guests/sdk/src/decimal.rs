//! Decimals: numbers without rounding.

use crate::abi::{ColumnType, ColumnValues, DecimalType, DecimalValues};
use crate::computed::{ColumnBuilder, OutputField};

/// A column of decimals of so many digits, `SCALE` of them behind the point.
///
/// An [`Output`](crate::Output)'s field with `#[decimal(18, 2)]` has one. A type of a rule's own can give one too, without
/// any crate of decimals:
///
/// ```
/// use weir_guest::{Computed, DecimalColumn};
///
/// /// An amount in cents.
/// struct Cents(i64);
///
/// impl Computed for Cents {
///     type Column = DecimalColumn<18, 2>;
///
///     fn append_to(&self, column: &mut DecimalColumn<18, 2>) {
///         column.push_unscaled(self.0.into());
///     }
/// }
/// ```
pub struct DecimalColumn<const PRECISION: u8, const SCALE: u8> {
    name: &'static str,
    /// Two for each row, the lower half first.
    unscaled: Vec<i64>,
}

/// By the contract.
const PRECISION_MAX: usize = 38;

/// The powers of ten that there are decimals of.
const TEN_TO: [i128; PRECISION_MAX + 1] = {
    let mut powers = [1; PRECISION_MAX + 1];
    let mut exponent = 1;
    while exponent <= PRECISION_MAX {
        powers[exponent] = 10 * powers[exponent - 1];
        exponent += 1;
    }
    powers
};

impl<const PRECISION: u8, const SCALE: u8> DecimalColumn<PRECISION, SCALE> {
    const DIGITS: DecimalType = {
        assert!(
            PRECISION >= 1 && PRECISION as usize <= PRECISION_MAX && SCALE <= PRECISION,
            "a decimal has 1 to 38 digits, and no more than that behind the point"
        );
        DecimalType {
            precision: PRECISION,
            scale: SCALE,
        }
    };

    /// Appends a value by its digits without the point: -105 is -1.05 where the scale is 2.
    ///
    /// # Panics
    ///
    /// It has more than `PRECISION` digits.
    #[inline]
    pub fn push_unscaled(&mut self, unscaled: i128) {
        if unscaled.unsigned_abs() >= TEN_TO[usize::from(Self::DIGITS.precision)].unsigned_abs() {
            self.too_long(&format!("{unscaled} without its point"));
        }
        self.unscaled.push(unscaled as i64);
        self.unscaled.push((unscaled >> 64) as i64);
    }

    #[cold]
    fn too_long(&self, value: &str) -> ! {
        panic!(
            "column `{}` would be {value}; accepted are up to {} digits before the point",
            self.name,
            PRECISION - SCALE
        );
    }
}

impl<const PRECISION: u8, const SCALE: u8> ColumnBuilder for DecimalColumn<PRECISION, SCALE> {
    const TYPE: ColumnType = ColumnType::Decimal(Self::DIGITS);

    fn with_capacity(name: &'static str, rows: usize) -> Self {
        DecimalColumn {
            name,
            unscaled: Vec::with_capacity(2 * rows),
        }
    }

    fn rows(&self) -> usize {
        self.unscaled.len() / 2
    }

    #[inline(always)]
    fn push_filler(&mut self) {
        self.unscaled.extend([0, 0]);
    }

    fn finish(self) -> ColumnValues {
        ColumnValues::Decimal(DecimalValues {
            scale: SCALE,
            unscaled: self.unscaled,
        })
    }
}

/// A type that a field of an [`Output`](crate::Output) with `#[decimal(18, 2)]` may have: a `Decimal`, or an `Option` of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no decimal",
    label = "not a decimal",
    note = "`#[decimal(18, 2)]` is for a `Decimal` of the crate `rust_decimal` or an `Option` of one, with the feature `decimal` of `weir-guest`"
)]
pub trait DecimalField {
    /// The same with its digits in its type.
    #[doc(hidden)]
    type WithDigits<const PRECISION: u8, const SCALE: u8>: OutputField;

    #[doc(hidden)]
    fn with_digits<const PRECISION: u8, const SCALE: u8>(&self) -> Self::WithDigits<PRECISION, SCALE>;
}

#[cfg(feature = "decimal")]
mod values {
    use rust_decimal::Decimal;

    use super::{DecimalColumn, DecimalField, PRECISION_MAX, TEN_TO};
    use crate::abi::{ColumnType, ColumnValues, ParameterType, ParameterValue};
    use crate::input::{InputValue, wrong_type};
    use crate::parameters::WireValue;
    use crate::state::take;
    use crate::{Computed, ParameterField, State};

    /// All digits of a `Decimal` of which each can be any.
    const DIGITS_MAX: usize = 28;

    // ---- in ---------------------------------------------------------------------------------------------------------

    /// A column of decimals.
    pub struct Reader<'a> {
        name: &'static str,
        scale: u8,
        unscaled: &'a [i64],
    }

    impl<'a> InputValue<'a> for Decimal {
        type Reader = Reader<'a>;
        const TYPE: ColumnType = ColumnType::AnyDecimal;

        fn reader(name: &'static str, values: &'a ColumnValues, rows: usize) -> Self::Reader {
            match values {
                ColumnValues::Decimal(decimals) => Reader {
                    name,
                    scale: decimals.scale,
                    unscaled: &decimals.unscaled[..2 * rows],
                },
                other => wrong_type(ColumnType::AnyDecimal, other),
            }
        }

        #[inline(always)]
        fn read(reader: &Self::Reader, row: usize) -> Self {
            let (low, high) = (reader.unscaled[2 * row], reader.unscaled[2 * row + 1]);
            let unscaled = (i128::from(high) << 64) | i128::from(low as u64);
            decimal(unscaled, reader.scale).unwrap_or_else(|| reader.too_long(unscaled))
        }
    }

    impl Reader<'_> {
        #[cold]
        fn too_long(&self, unscaled: i128) -> Decimal {
            // Places behind the point that are 0 need no digits.
            let (mut shorter, mut scale) = (unscaled, self.scale);
            while scale > 0 && shorter % 10 == 0 {
                (shorter, scale) = (shorter / 10, scale - 1);
            }
            decimal(shorter, scale).unwrap_or_else(|| {
                panic!(
                    "column `{}` is {unscaled} with {} digits behind the point; a rule reads decimals of up to {DIGITS_MAX} digits",
                    self.name, self.scale
                )
            })
        }
    }

    fn decimal(unscaled: i128, scale: u8) -> Option<Decimal> {
        let fits = unscaled.unsigned_abs() < TEN_TO[DIGITS_MAX].unsigned_abs();
        let decimal = Decimal::try_from_i128_with_scale(unscaled, scale.into());
        decimal.ok().filter(|_| fits)
    }

    // ---- out --------------------------------------------------------------------------------------------------------

    impl<const PRECISION: u8, const SCALE: u8> DecimalColumn<PRECISION, SCALE> {
        /// Appends a value; there with the feature `decimal`.
        ///
        /// # Panics
        ///
        /// It has more digits behind the point than `SCALE`, other than zeros, or more before it than `PRECISION - SCALE`.
        /// It is never rounded here: `value.round_dp(2)` says that it should be, and when.
        #[inline]
        pub fn push(&mut self, value: Decimal) {
            let scale = value.scale() as usize;
            let wanted = usize::from(SCALE);
            let unscaled = if scale <= wanted {
                value.mantissa().checked_mul(TEN_TO[wanted - scale])
            } else {
                let dropped = TEN_TO[scale - wanted];
                if value.mantissa() % dropped != 0 {
                    self.too_fine(value);
                }
                Some(value.mantissa() / dropped)
            };
            match unscaled {
                Some(unscaled) if unscaled.unsigned_abs() < TEN_TO[usize::from(PRECISION)].unsigned_abs() => {
                    self.push_unscaled(unscaled);
                }
                _ => self.too_long(&value.to_string()),
            }
        }

        #[cold]
        fn too_fine(&self, value: Decimal) -> ! {
            panic!(
                "column `{}` would be {value}; accepted are up to {SCALE} digits behind the point: `round_dp({SCALE})` rounds",
                self.name
            );
        }
    }

    /// A decimal with the digits of its column.
    #[derive(Clone, Copy)]
    pub struct WithDigits<const PRECISION: u8, const SCALE: u8>(Decimal);

    impl<const PRECISION: u8, const SCALE: u8> Computed for WithDigits<PRECISION, SCALE> {
        type Column = DecimalColumn<PRECISION, SCALE>;

        #[inline(always)]
        fn append_to(&self, column: &mut Self::Column) {
            column.push(self.0);
        }
    }

    impl DecimalField for Decimal {
        type WithDigits<const PRECISION: u8, const SCALE: u8> = WithDigits<PRECISION, SCALE>;

        #[inline(always)]
        fn with_digits<const PRECISION: u8, const SCALE: u8>(&self) -> WithDigits<PRECISION, SCALE> {
            WithDigits(*self)
        }
    }

    impl DecimalField for Option<Decimal> {
        type WithDigits<const PRECISION: u8, const SCALE: u8> = Option<WithDigits<PRECISION, SCALE>>;

        #[inline(always)]
        fn with_digits<const PRECISION: u8, const SCALE: u8>(&self) -> Option<WithDigits<PRECISION, SCALE>> {
            self.map(WithDigits)
        }
    }

    // ---- kept -------------------------------------------------------------------------------------------------------

    /// Bytes of a magnitude: 96 bits.
    const MAGNITUDE_BYTES: usize = 12;
    const NEGATIVE: u8 = 0x80;

    /// Its digits, and a byte for its sign and scale: 1.50 comes back as 1.50 and not as 1.5.
    impl State for Decimal {
        const BYTES_MAX: Option<usize> = Some(MAGNITUDE_BYTES + 1);

        fn layout() -> String {
            "decimal".to_owned()
        }

        fn encode(&self, bytes: &mut Vec<u8>) {
            let magnitude = self.mantissa().unsigned_abs().to_le_bytes();
            let sign = if self.is_sign_negative() { NEGATIVE } else { 0 };
            bytes.extend_from_slice(&magnitude[..MAGNITUDE_BYTES]);
            bytes.push(sign | self.scale() as u8);
        }

        fn encoded_bytes(&self) -> usize {
            MAGNITUDE_BYTES + 1
        }

        fn decode(bytes: &mut &[u8]) -> Option<Self> {
            let mut magnitude = [0; size_of::<i128>()];
            magnitude[..MAGNITUDE_BYTES].copy_from_slice(take(bytes, MAGNITUDE_BYTES)?);
            let [last] = take(bytes, 1)? else { return None };
            let scale = u32::from(last & !NEGATIVE);
            let mut decimal = Decimal::try_from_i128_with_scale(i128::from_le_bytes(magnitude), scale).ok()?;
            // Zero has a sign too.
            decimal.set_sign_negative(last & NEGATIVE != 0);
            Some(decimal)
        }
    }

    // ---- set --------------------------------------------------------------------------------------------------------

    fn parse(text: &str) -> Result<Decimal, String> {
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        let decimal = Decimal::from_str_exact(text).map_err(|error| match digits {
            ..=DIGITS_MAX => format!("\"{text}\" is no decimal: {error}"),
            digits => format!("{text} has {digits} digits; accepted are up to {DIGITS_MAX}"),
        });
        debug_assert!(
            digits <= PRECISION_MAX || decimal.is_err(),
            "the contract's bound is above ours"
        );
        decimal
    }

    /// The default as the rule's source has it.
    fn literal(text: &str) -> String {
        if let Err(error) = parse(text) {
            panic!("the default of a parameter: {error}");
        }
        text.to_owned()
    }

    impl WireValue for Decimal {
        type Literal = &'static str;
        const TYPE: ParameterType = ParameterType::Decimal;
        const WORD: &str = "decimal";

        fn from_value(value: ParameterValue) -> Option<Result<Self, String>> {
            match value {
                ParameterValue::Decimal(text) => Some(parse(&text)),
                _ => None,
            }
        }

        fn value_of(text: &'static str) -> ParameterValue {
            ParameterValue::Decimal(literal(text))
        }
    }

    impl WireValue for Vec<Decimal> {
        type Literal = &'static [&'static str];
        const TYPE: ParameterType = ParameterType::DecimalList;
        const WORD: &str = "decimal-list";

        fn from_value(value: ParameterValue) -> Option<Result<Self, String>> {
            match value {
                ParameterValue::DecimalList(texts) => Some(texts.iter().map(|text| parse(text)).collect()),
                _ => None,
            }
        }

        fn value_of(texts: &'static [&'static str]) -> ParameterValue {
            ParameterValue::DecimalList(texts.iter().copied().map(literal).collect())
        }
    }

    impl ParameterField for Decimal {
        type Wire = Decimal;

        fn from_wire(wire: Decimal) -> Result<Decimal, String> {
            Ok(wire)
        }
    }

    impl ParameterField for Vec<Decimal> {
        type Wire = Vec<Decimal>;

        fn from_wire(wire: Vec<Decimal>) -> Result<Vec<Decimal>, String> {
            Ok(wire)
        }
    }
}
