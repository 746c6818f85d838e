//! Payloads one by one: the values of each type.

use super::table::check;

#[test]
fn an_integer_is_written_as_one_and_fits_64_bits() {
    for (written, value) in [
        ("0", 0),
        ("-0", 0),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
        ("-1", -1),
    ] {
        check(format!("{{\"id\":{written}}}"), &format!("row id={value}"));
    }
    for written in [
        "1.0",
        "1e3",
        "1E3",
        "-0.0",
        "0.0",
        "1e0",
        "\"1\"",
        "true",
        "false",
        "[1]",
        "{}",
        "{\"id\":1}",
        "\"\"",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "99999999999999999999999999",
        "0.5",
        "1e400",
        "1e-400",
    ] {
        let reason = "dead column \"id\": found `";
        check(format!("{{\"id\":{written}}}"), reason);
        check(format!("{{\"id\":{written} , \"paid\":true}}"), reason);
    }
    for written in [
        "01",
        "-",
        "+1",
        "--1",
        "0x10",
        "1_000",
        "٣",
        "-01",
        "00",
        "1a",
        ".5",
        "1.",
        "nul",
        "NaN",
        "-Infinity",
    ] {
        check(format!("{{\"id\":{written}}}"), "dead ");
    }
}

#[test]
fn a_double_is_the_nearest_finite_one() {
    for (written, value) in [
        ("0", "0.0"),
        ("-0", "0.0"),
        ("-0.0", "0.0"),
        ("-1e-400", "0.0"),
        ("1", "1.0"),
        ("12.5", "12.5"),
        ("1e3", "1000.0"),
        ("1E+2", "100.0"),
        ("0.1", "0.1"),
        ("1e-400", "0.0"),
        ("4.9e-324", "5e-324"),
        ("2e-324", "0.0"),
        ("9007199254740993", "9007199254740992.0"),
        ("1.7976931348623157e308", "1.7976931348623157e308"),
        ("1.7976931348623158e308", "1.7976931348623157e308"),
        ("123456789012345678901234567890", "1.2345678901234568e29"),
        ("0e999999999999999999999", "0.0"),
    ] {
        check(format!("{{\"price\":{written}}}"), &format!("row price={value}"));
    }
    // Without an exponent, in 309 digits.
    check(
        format!("{{\"price\":{:.0}}}", f64::MAX),
        "row price=1.7976931348623157e308",
    );
    for written in [
        "1e400",
        "-1e999",
        "1.8e308",
        "\"1.5\"",
        "true",
        "[]",
        "{}",
        "1e99999999999999999999",
    ] {
        check(format!("{{\"price\":{written}}}"), "dead column \"price\": found `");
    }
    for written in [
        "1.",
        ".5",
        "01.5",
        "1e",
        "1e+",
        "-",
        "+1",
        "NaN",
        "Infinity",
        "-Infinity",
        "1.5.2",
        "0x1p3",
        "1,5",
        "nan",
    ] {
        check(format!("{{\"price\":{written}}}"), "dead ");
    }
}

#[test]
fn a_boolean_is_true_or_false() {
    check(r#"{"paid":true}"#, "row paid=1");
    check(r#"{"paid":false}"#, "row paid=0");
    for written in ["1", "0", "\"true\"", "[]", "{}"] {
        check(format!("{{\"paid\":{written}}}"), "dead column \"paid\": found `");
    }
    for written in ["True", "truE", "tru", "truee", "falsee", "t"] {
        check(format!("{{\"paid\":{written}}}"), "dead ");
    }
}

#[test]
fn a_text_is_any_text_without_lone_surrogates() {
    for (written, value) in [
        ("", ""),
        ("保单", "保单"),
        (r"\u0000", "\0"),
        (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r"\ud83d\ude00", "😀"),
        (r"\u00e9\u6c49", "é汉"),
        (
            "\u{7f}\u{80}\u{2028}\u{fffd}\u{10ffff}",
            "\u{7f}\u{80}\u{2028}\u{fffd}\u{10ffff}",
        ),
        ("null", "null"),
    ] {
        check(format!("{{\"name\":\"{written}\"}}"), &format!("row name={value:?}"));
    }
    for written in ["1", "true", "[]", "{}", "[\"a\"]", "-1.5"] {
        check(format!("{{\"name\":{written}}}"), "dead column \"name\": found `");
    }
    for lone in [
        r"\ud800",
        r"\udc00",
        r"\ud800\ud800",
        r"\ud83d\u0041",
        r"\ud83da",
        r"a\udfff",
        r"\ud83d\n",
    ] {
        check(
            format!("{{\"name\":\"{lone}\"}}"),
            "dead column \"name\": found a lone surrogate",
        );
        check(format!("{{\"other\":\"{lone}\",\"id\":7}}"), "row id=7");
        check(
            format!("{{\"address\":{{\"city\":\"{lone}\"}}}}"),
            "dead column \"address.city\": found a lone surrogate",
        );
        check(format!("{{\"address\":[\"{lone}\"]}}"), "dead column \"address.city\"");
    }
    for escape in [r"\x41", r"\u12", r"\u12g4", r"\U0041", r"\'", r"\u+123", r"\"] {
        check(format!("{{\"name\":\"{escape}\"}}"), "dead ");
        check(format!("{{\"other\":\"{escape}\"}}"), "dead ");
        check(format!("{{\"{escape}\":1}}"), "dead ");
    }
    for control in ["\0", "\u{1}", "\t", "\n", "\r", "\u{1f}"] {
        check(format!("{{\"name\":\"a{control}b\"}}"), "dead a raw control character");
        check(format!("{{\"other\":\"a{control}b\"}}"), "dead a raw control character");
        check(format!("{{\"a{control}b\":1}}"), "dead a raw control character");
    }
}

#[test]
fn a_formatted_text_is_a_number_in_decimal() {
    for text in [
        "0",
        " 12343.5 ",
        "+1",
        "-.5",
        "7.",
        "00012",
        "1e-400",
        "1e308",
        "3.079E+02",
        "   -0   ",
    ] {
        check(format!("{{\"premium\":\"{text}\"}}"), &format!("row premium={text:?}"));
    }
    for text in [
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
        "--1",
        "1.2.3",
        "1e1.5",
        "\\t1",
        "1\\n",
        "\\u00a01",
        "1\\u0000",
        "保单",
    ] {
        check(
            format!("{{\"premium\":\"{text}\"}}"),
            "dead accepted is a finite number in decimal, or null",
        );
    }
    check(r#"{"premium":100}"#, "dead column \"premium\": found `100`");
}
