//! `format = "number"`: texts that are finite numbers in decimal.

/// Whether `text` is a number: spaces around it are allowed, then a sign, digits with or without a point, and an
/// exponent; its nearest double is finite.
pub(super) fn is_number(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let number = text.trim_matches(' ');
    let unsigned = number.strip_prefix(['+', '-']).unwrap_or(number);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (unsigned.get(..at).unwrap_or_default(), unsigned.get(at + 1..)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    digits(whole)
        && digits(fraction)
        && whole.len() + fraction.len() > 0
        && exponent_fits
        && number.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::is_number;

    #[test]
    fn numbers_and_others() {
        for text in [
            "0",
            " 12343.5 ",
            "3.079e+02",
            "1.668E4",
            "-.5",
            "+7.",
            "00012",
            "1e-400",
            "1e308",
        ] {
            assert!(is_number(text.as_bytes()), "{text:?}");
        }
        let others = [
            "",
            " ",
            ".",
            "+",
            "e5",
            "1e",
            "1e+",
            "1,000",
            "0x10",
            "￥100",
            "１００",
            "NaN",
            "inf",
            "Infinity",
            "1d",
            "1_000",
            "1 000",
            "1e400",
            "-1e999",
            "\t1",
            "1\n",
            "--1",
            "1.2.3",
        ];
        for text in others {
            assert!(!is_number(text.as_bytes()), "{text:?}");
        }
    }
}
