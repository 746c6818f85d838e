//! Decimal numbers: an integer, of whose digits the last few stand behind the point.

/// Powers of ten, from 1.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it")]
const TENS: [u128; DecimalType::PRECISION_MAX as usize + 1] = {
    let mut tens = [1; DecimalType::PRECISION_MAX as usize + 1];
    let mut place = 1;
    while place < tens.len() {
        tens[place] = tens[place - 1] * 10;
        place += 1;
    }
    tens
};

/// The decimals of a column: how many digits each has at most, and how many of them stand behind the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DecimalType {
    precision: u8,
    scale: u8,
}

impl DecimalType {
    /// The most digits that a decimal has.
    pub const PRECISION_MAX: u8 = 38;

    /// Those of the most digits, none of them behind the point.
    pub const WIDEST: Self = Self {
        precision: Self::PRECISION_MAX,
        scale: 0,
    };

    /// The most digits for which a double stands: it tells each such decimal from the next.
    pub const DOUBLE_PRECISION_MAX: u8 = 15;

    /// The most digits that an integer of 64 bits holds, whichever they are.
    pub const INT_PRECISION_MAX: u8 = 18;

    /// Decimals of `precision` digits, of which `scale` stand behind the point. Nothing beyond [`DecimalType::PRECISION_MAX`], for
    /// no digit, or where more stand behind the point than there are.
    pub fn new(precision: u8, scale: u8) -> Option<Self> {
        let is_one = (1..=Self::PRECISION_MAX).contains(&precision) && scale <= precision;
        is_one.then_some(Self { precision, scale })
    }

    /// How many digits there are at most.
    pub fn precision(self) -> u8 {
        self.precision
    }

    /// How many of them stand behind the point.
    pub fn scale(self) -> u8 {
        self.scale
    }

    /// Whether a decimal without its point has no more digits than these.
    pub fn holds(self, unscaled: i128) -> bool {
        let bound = TENS.get(usize::from(self.precision));
        bound.is_some_and(|bound| unscaled.unsigned_abs() < *bound)
    }

    /// Reads a number: a sign or none, digits with a point among them or none, and an exponent or none. Gives it without its point.
    /// Nothing where it is no number, has too many digits, or others than zeros behind the last place: it is never rounded.
    pub fn parse(self, text: &[u8]) -> Option<i128> {
        self.parse_short(text).or_else(|| self.parse_any(text))
    }

    /// The same of what most programs write: up to eighteen digits, and no exponent. Nothing of any other number.
    fn parse_short(self, text: &[u8]) -> Option<i128> {
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        if digits.len() > 19 {
            return None;
        }
        let (mut value, mut count, mut point) = (0u64, 0u8, None);
        for &byte in digits {
            match byte.wrapping_sub(b'0') {
                // Nineteen digits are less than 2^64.
                digit @ 0..=9 => (value, count) = (value * 10 + u64::from(digit), count + 1),
                _ if byte == b'.' && point.is_none() => point = Some(count),
                _ => return None,
            }
        }
        let behind = point.map_or(0, |point| count - point);
        let unscaled = self.of_digits(value, behind.into()).filter(|_| count > 0)?;
        Some(if digits.len() < text.len() { -unscaled } else { unscaled })
    }

    /// The decimal whose digits are those of a number, the last `behind` of them behind the point. Nothing where it has too many
    /// digits; where more stand behind the point than it has there, somebody else has to look whether they are zeros.
    #[inline]
    pub fn of_digits(self, digits: u64, behind: usize) -> Option<i128> {
        let tens = TENS.get(usize::from(self.scale).checked_sub(behind)?)?;
        let unscaled = i128::try_from(u128::from(digits).checked_mul(*tens)?).ok()?;
        Some(unscaled).filter(|unscaled| self.holds(*unscaled))
    }

    /// The same of every number.
    fn parse_any(self, text: &[u8]) -> Option<i128> {
        let (is_negative, mut rest) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            (b'+', rest) => (false, rest),
            _ => (false, text),
        };
        // The digits up to the last that is no zero; how many zeros follow; and how many of all stand behind the point.
        let (mut digits, mut zeros, mut behind) = (0u128, 0u32, 0i64);
        let (mut has_digit, mut has_point) = (false, false);
        let mut exponent = 0i64;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'0'..=b'9' => {
                    has_digit = true;
                    behind += i64::from(has_point);
                    match byte - b'0' {
                        0 if digits == 0 => {}
                        0 => zeros += 1,
                        digit => {
                            let shifted = 10u128.checked_pow(zeros + 1)?.checked_mul(digits)?;
                            digits = shifted.checked_add(digit.into())?;
                            zeros = 0;
                        }
                    }
                }
                b'.' if !has_point => has_point = true,
                b'e' | b'E' if has_digit => {
                    exponent = exponent_of(rest)?;
                    break;
                }
                _ => return None,
            }
        }
        if !has_digit {
            return None;
        }
        if digits == 0 {
            return Some(0);
        }
        let shift = i64::from(self.scale) + exponent - behind + i64::from(zeros);
        let tens = |places: i64| u32::try_from(places).ok().and_then(|places| 10u128.checked_pow(places));
        let unscaled = match shift {
            0.. => digits.checked_mul(tens(shift)?)?,
            // The last digit is no zero.
            _ => return None,
        };
        let unscaled = i128::try_from(unscaled).ok().filter(|unscaled| self.holds(*unscaled))?;
        Some(if is_negative { -unscaled } else { unscaled })
    }

    /// A number of which `places` digits stand behind the point, as one of these. Nothing where it has too many digits, or others
    /// than zeros behind the last place.
    pub fn rescaled(self, unscaled: i128, places: u8) -> Option<i128> {
        let tens = |places: u8| 10i128.checked_pow(places.into());
        let rescaled = match self.scale.checked_sub(places) {
            Some(0) => unscaled,
            Some(more) => unscaled.checked_mul(tens(more)?)?,
            None => {
                let tens = tens(places - self.scale)?;
                Some(unscaled / tens).filter(|_| unscaled % tens == 0)?
            }
        };
        Some(rescaled).filter(|rescaled| self.holds(*rescaled))
    }

    /// A decimal as text: with a point and all digits behind it, where there are any.
    pub fn text(self, unscaled: i128) -> String {
        let scale = usize::from(self.scale);
        let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale + 1);
        let sign = if unscaled < 0 { "-" } else { "" };
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        match scale {
            0 => format!("{sign}{whole}"),
            _ => format!("{sign}{whole}.{fraction}"),
        }
    }
}

/// An exponent; one that is far beyond any decimal is cut.
fn exponent_of(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text.split_first()? {
        (b'-', digits) => (true, digits),
        (b'+', digits) => (false, digits),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let exponent = digits.iter().fold(0i64, |exponent, digit| {
        (exponent * 10 + i64::from(digit - b'0')).min(1 << 40)
    });
    Some(if is_negative { -exponent } else { exponent })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(precision: u8, scale: u8) -> DecimalType {
        DecimalType::new(precision, scale).expect("there are such decimals")
    }

    #[test]
    fn short_numbers_are_read_as_any_are() {
        let (mut texts, mut short) = (Vec::new(), 0);
        for sign in ["", "-", "+"] {
            for whole in ["", "0", "7", "00012", "999999999999999999", "9999999999999999999"] {
                for behind in ["", ".", ".0", ".5", ".25", ".250", ".001", ".1.2", "e1"] {
                    texts.push(format!("{sign}{whole}{behind}"));
                }
            }
        }
        for of in [decimal(18, 2), decimal(4, 0), decimal(38, 19), decimal(38, 38)] {
            for text in &texts {
                let found = of.parse_short(text.as_bytes());
                short += usize::from(found.is_some());
                assert!(
                    found.is_none() || found == of.parse_any(text.as_bytes()),
                    "{text} as {of:?}: {found:?}"
                );
            }
        }
        assert!(short > 40, "{short} are short");
    }

    #[test]
    fn numbers_are_read_as_they_are_and_never_rounded() {
        let money = decimal(6, 2);
        for (text, unscaled) in [
            ("0", 0),
            ("-0.000", 0),
            ("0e999999999999999999999", 0),
            ("1", 100),
            ("+1.5", 150),
            ("-12.34", -1234),
            (".5", 50),
            ("7.", 700),
            ("0012.340000", 1234),
            ("1234.56", 123_456),
            ("9999.99", 999_999),
            ("-9999.99", -999_999),
            ("1e3", 100_000),
            ("1.2e-1", 12),
            ("1200E-3", 120),
            ("0.00012e5", 1200),
            ("100000000000000000000000000000000000000000e-40", 1000),
        ] {
            assert_eq!(money.parse(text.as_bytes()), Some(unscaled), "{text:?}");
        }
        let others = [
            "",
            "-",
            "+",
            ".",
            "e5",
            "1e",
            "1e+",
            "1e5.0",
            "1,5",
            " 1",
            "1 ",
            "1_0",
            "0x1",
            "--1",
            "1.2.3",
            "NaN",
            "0.001",
            "12.345",
            "10000",
            "9999.999",
            "1e4",
            "1e-3",
            "1e999999999999999999999",
            "1e-999999999999999999999",
            "１",
            "123456789012345678901234567890123456789012345678901234567890",
        ];
        for text in others {
            assert_eq!(money.parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn places_are_added_and_only_zeros_taken_away() {
        let money = decimal(6, 2);
        for (unscaled, places, expected) in [
            (1234, 2, Some(1234)),
            (12, 0, Some(1200)),
            (-123_400, 4, Some(-1234)),
            (123_401, 4, None),
            (999_999, 2, Some(999_999)),
            (1_000_000, 2, None),
            (10_000, 0, None),
            (0, 255, None),
            (i128::MIN, 2, None),
            (i128::MAX, 0, None),
        ] {
            assert_eq!(money.rescaled(unscaled, places), expected, "{unscaled} e-{places}");
        }
    }

    #[test]
    fn the_widest_decimals_are_read_and_written() {
        for scale in [0, 1, 19, 37, 38] {
            let widest = decimal(38, scale);
            let most = 10i128.pow(38) - 1;
            for unscaled in [most, -most, 1, -1, 0, most / 7, i128::from(i64::MAX)] {
                let text = widest.text(unscaled);
                assert_eq!(widest.parse(text.as_bytes()), Some(unscaled), "{text}");
            }
            assert!(!widest.holds(most + 1) && !widest.holds(i128::MIN));
        }
        assert_eq!(decimal(38, 38).text(-1), format!("-0.{}1", "0".repeat(37)));
        assert_eq!(decimal(3, 0).text(-12), "-12");
        assert_eq!(decimal(6, 2).text(5), "0.05");
        assert_eq!(decimal(6, 2).text(-123_450), "-1234.50");
        for (precision, scale) in [(0, 0), (39, 0), (3, 4)] {
            assert_eq!(DecimalType::new(precision, scale), None);
        }
    }
}
