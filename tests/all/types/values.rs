//! Values one by one: the cell that each becomes, or the reason of a dead letter.

use super::plan;
use weir_tests::replay::Run;

/// What becomes of one value of a column: the cell of its table, or the reason of a dead letter.
fn outcome(column: &str, value: &str) -> String {
    let plan = plan(&format!(
        "name = 'p'\nsource = {{ stream = 'S', subject = 's', columns = {{ v = {column} }} }}\n[[sink]]\ntable = 't'\n"
    ));
    let input = if value.is_empty() {
        "{}\n".to_owned()
    } else {
        format!("{{\"v\":{value}}}\n")
    };
    let run = Run {
        plan: &plan,
        lookup_rows: b"",
        input: input.as_bytes(),
        batches: &[7],
        stops: &[],
    };
    let contents = run.contents();
    match (&contents.tables["t"].rows[..], &contents.dead_letters[..]) {
        ([row], []) => format!("{:?}", row[0]),
        ([], [letter]) => letter.reason.clone(),
        other => panic!("{column}: {value}: {other:?}"),
    }
}

#[track_caller]
fn check_outcomes(column: &str, accepted: &str, outcomes: &[(&str, &str)]) {
    for (value, expected) in outcomes {
        let found = outcome(column, value);
        let expected = match expected.strip_prefix("dead ") {
            None => (*expected).to_owned(),
            Some(at) => format!("column \"v\": found {at} at byte 5; accepted is {accepted}"),
        };
        assert_eq!(found, expected, "{column}: {value}");
    }
}

#[test]
fn a_decimal_has_the_digits_of_its_column_or_is_a_dead_letter() {
    let accepted = "a number of at most 3 digits in front of the point and 2 behind it, or null";
    check_outcomes(
        "'decimal(5, 2)'",
        accepted,
        &[
            ("1", "1.0"),
            ("-0", "0.0"),
            ("-999.99", "-999.99"),
            ("1.2300000", "1.23"),
            ("1.5e2", "150.0"),
            ("12e-2", "0.12"),
            ("null", "null"),
            ("", "null"),
            ("1000", "dead `1000`"),
            ("0.001", "dead `0.001`"),
            ("1e400000000000000000000", "dead `1e400000000000000000000`"),
            ("\"1\"", "dead `\"1\"`"),
            ("true", "dead `true`"),
            ("[1]", "dead `[1`"),
        ],
    );
    let accepted = "a number in quotes of at most 0 digits in front of the point and 38 behind it, or null";
    let column = "{ type = 'decimal', precision = 38, scale = 38, format = 'string' }";
    let (most, more) = (format!("0.{}", "9".repeat(38)), format!("\"0.{}\"", "9".repeat(39)));
    check_outcomes(
        column,
        accepted,
        &[
            (&format!("\"-{most}\""), &format!("\"-{most}\"")),
            ("\"1e-38\"", &format!("\"0.{}1\"", "0".repeat(37))),
            ("\"00.5\"", &format!("\"0.5{}\"", "0".repeat(37))),
            ("\"+0.5\"", "dead `\"+0.5\"`"),
            ("\"0.5 \"", "dead `\"0.5 \"`"),
            ("\"0.5\\u0030\"", &format!("\"0.5{}\"", "0".repeat(37))),
            ("\".5\"", "dead `\".5\"`"),
            ("\"0.\"", "dead `\"0.\"`"),
            ("\"1\"", "dead `\"1\"`"),
            ("0.5", "dead `0.5`"),
            (&more, &format!("dead `{}`", &more[..40])),
        ],
    );
}

#[test]
fn numbers_in_quotes_are_numbers_where_the_column_says_so() {
    let int = "{ type = 'int', format = 'string' }";
    check_outcomes(
        int,
        "an integer from -2^63 to 2^63-1 in quotes, or null",
        &[
            ("\"-9223372036854775808\"", "-9223372036854775808"),
            ("\"007\"", "7"),
            ("\"\\u0031\"", "1"),
            ("\"9223372036854775808\"", "dead `\"9223372036854775808\"`"),
            ("\"+1\"", "dead `\"+1\"`"),
            ("\"1.0\"", "dead `\"1.0\"`"),
            ("\"\"", "dead `\"\"`"),
            ("1", "dead `1`"),
        ],
    );
    let double = "{ type = 'double', format = 'string' }";
    check_outcomes(
        double,
        "a number in quotes whose nearest double is finite, or null",
        &[
            ("\"-0\"", "0.0"),
            ("\"1e3\"", "1000.0"),
            ("\"1e999\"", "dead `\"1e999\"`"),
            ("\"1.\"", "dead `\"1.\"`"),
            ("\".5\"", "dead `\".5\"`"),
            ("\"inf\"", "dead `\"inf\"`"),
            ("\"NaN\"", "dead `\"NaN\"`"),
            ("\" 1\"", "dead `\" 1\"`"),
        ],
    );
}

#[test]
fn a_timestamp_is_read_as_its_format_says() {
    let accepted = "a timestamp with an offset such as 2026-03-15T12:00:00+08:00, of the years 0 to 9999, or null";
    check_outcomes(
        "{ type = 'timestamp', format = 'rfc3339' }",
        accepted,
        &[
            ("\"2026-03-15T12:00:00+08:00\"", "\"2026-03-15T04:00:00.000000Z\""),
            ("\"2026-03-15T04:00:00.123456999Z\"", "\"2026-03-15T04:00:00.123456Z\""),
            // Cut to the microsecond before, also in front of 1970.
            ("\"1969-12-31T23:59:59.9999999Z\"", "\"1969-12-31T23:59:59.999999Z\""),
            (
                "\"2026-03-15T04:00:00.1234569999999999999Z\"",
                "\"2026-03-15T04:00:00.123456Z\"",
            ),
            ("\"2016-12-31T23:59:60Z\"", "\"2016-12-31T23:59:59.000000Z\""),
            ("\"0000-01-01T00:00:00Z\"", "\"0000-01-01T00:00:00.000000Z\""),
            ("\"9999-12-31T23:59:59.999999Z\"", "\"9999-12-31T23:59:59.999999Z\""),
            ("\"9999-12-31T23:59:59-01:00\"", "dead `\"9999-12-31T23:59:59-01:00\"`"),
            ("\"2026-03-15T12:00:00\"", "dead `\"2026-03-15T12:00:00\"`"),
            ("\"2026-02-30T12:00:00Z\"", "dead `\"2026-02-30T12:00:00Z\"`"),
            ("\"2026-03-15T12:00:00Z \"", "dead `\"2026-03-15T12:00:00Z \"`"),
            ("\"\"", "dead `\"\"`"),
            ("1773547200", "dead `1773547200`"),
        ],
    );
    for (unit, whole, fraction, outside) in [
        ("s", "1773547200", "1773547200.5", "253402300800"),
        ("ms", "1773547200000", "1773547200500", "253402300800000"),
        ("us", "1773547200000000", "1773547200500000", "253402300800000000"),
        ("ns", "1773547200000000000", "1773547200500000999", "1e30"),
    ] {
        let column = format!("{{ type = 'timestamp', format = '{unit}' }}");
        assert_eq!(outcome(&column, whole), "\"2026-03-15T04:00:00.000000Z\"", "{unit}");
        assert_eq!(outcome(&column, fraction), "\"2026-03-15T04:00:00.500000Z\"", "{unit}");
        assert!(
            outcome(&column, outside).contains(&format!("found `{outside}` at byte 5")),
            "{unit}"
        );
        assert!(
            outcome(&column, &format!("\"{whole}\"")).contains("accepted is a number of "),
            "{unit}"
        );
    }
    let column = "{ type = 'timestamp', format = 's' }";
    assert_eq!(outcome(column, "-0.000001"), "\"1969-12-31T23:59:59.999999Z\"");
    // As programs that hold times as doubles write them.
    assert_eq!(outcome(column, "1773547200.1234567"), "\"2026-03-15T04:00:00.123456Z\"");
    assert_eq!(
        outcome(column, "-0.00000000000000001"),
        "\"1969-12-31T23:59:59.999999Z\""
    );
    assert!(outcome(column, "0.000000000000000001").contains("to the microsecond"));
    let in_ms = "{ type = 'timestamp', format = 'ms' }";
    assert_eq!(outcome(in_ms, "1773547200123.4567"), "\"2026-03-15T04:00:00.123456Z\"");
}

#[test]
fn a_timestamp_in_a_pattern_is_of_its_offset_or_its_zone() {
    let accepted = "a timestamp written as %d.%m.%Y %H:%M:%S, of the years 0 to 9999, or null";
    let column = "{ type = 'timestamp', format = { strftime = '%d.%m.%Y %H:%M:%S', zone = 'Europe/Berlin' } }";
    check_outcomes(
        column,
        accepted,
        &[
            ("\"15.03.2026 12:00:00\"", "\"2026-03-15T11:00:00.000000Z\""),
            // It comes twice, and not at all.
            ("\"25.10.2026 02:30:00\"", "\"2026-10-25T00:30:00.000000Z\""),
            ("\"29.03.2026 02:30:00\"", "\"2026-03-29T01:30:00.000000Z\""),
            ("\"32.03.2026 12:00:00\"", "dead `\"32.03.2026 12:00:00\"`"),
            ("\"15.03.2026 12:00:00 Uhr\"", "dead `\"15.03.2026 12:00:00 Uhr\"`"),
            ("\"15.03.2026\"", "dead `\"15.03.2026\"`"),
        ],
    );
    let column = "{ type = 'timestamp', format = { strftime = '%Y-%m-%d %H:%M:%S%.f %z' } }";
    assert_eq!(
        outcome(column, "\"2026-03-15 12:00:00.25 +0800\""),
        "\"2026-03-15T04:00:00.250000Z\""
    );
}

#[test]
fn dates_bytes_and_json_are_what_they_are() {
    check_outcomes(
        "'date'",
        "a date such as 2026-03-15, or null",
        &[
            ("\"2026-03-15\"", "\"2026-03-15\""),
            ("\"0000-02-29\"", "\"0000-02-29\""),
            ("\"9999-12-31\"", "\"9999-12-31\""),
            ("\"2026-3-15\"", "dead `\"2026-3-15\"`"),
            ("\"2026-02-29\"", "dead `\"2026-02-29\"`"),
            ("\"2026-03-15T00:00:00Z\"", "dead `\"2026-03-15T00:00:00Z\"`"),
            ("\"+02026-03-15\"", "dead `\"+02026-03-15\"`"),
            ("20000", "dead `20000`"),
        ],
    );
    let days = "{ type = 'date', format = 'days' }";
    check_outcomes(
        days,
        "a number of days since 1970-01-01, of the years 0 to 9999, or null",
        &[
            ("0", "\"1970-01-01\""),
            ("-719528", "\"0000-01-01\""),
            ("2932896", "\"9999-12-31\""),
            ("2932897", "dead `2932897`"),
            ("1.5", "dead `1.5`"),
        ],
    );
    let pattern = "{ type = 'date', format = { strftime = '%d/%m/%Y' } }";
    assert_eq!(outcome(pattern, "\"15/03/2026\""), "\"2026-03-15\"");
    let bytes = "{ type = 'bytes', format = 'base64' }";
    check_outcomes(
        bytes,
        "bytes in base64, with padding, or null",
        &[
            ("\"AP8=\"", "[0, ff]"),
            ("\"\"", "[]"),
            ("\"AP8\"", "dead `\"AP8\"`"),
            ("\"AP9=\"", "dead `\"AP9=\"`"),
            ("\"A-_=\"", "dead `\"A-_=\"`"),
        ],
    );
    let hex = "{ type = 'bytes', format = 'hex' }";
    assert_eq!(outcome(hex, "\"00fF\""), "[0, ff]");
    assert!(outcome(hex, "\"0\"").contains("accepted is bytes in hexadecimal, or null"));
    for json in ["1.10", "\"a\\u0000\"", "true", "[1, {\"a\": null}]", "{ }"] {
        assert_eq!(outcome("'json'", json), format!("{json:?}"));
    }
    assert_eq!(outcome("'json'", "null"), "null");
    assert!(outcome("'json'", "[1,]").contains("accepted is"));
}

#[test]
fn a_required_column_is_never_null() {
    let column = "{ type = 'int', required = true }";
    assert_eq!(outcome(column, "1"), "1");
    for value in ["null", ""] {
        let expected = "column \"v\": found null, or nothing; accepted is a value, since the column is required";
        assert_eq!(outcome(column, value), expected);
    }
}

#[test]
fn a_list_holds_scalars_in_one_way_of_writing() {
    let of = |of: &str| format!("{{ type = 'list', of = '{of}' }}");
    check_outcomes(
        &of("int"),
        "a list of int and nulls, or null",
        &[
            ("[ 1, -2 ,null]", "\"[1,-2,null]\""),
            ("[]", "\"[]\""),
            ("null", "null"),
            ("", "null"),
            ("1", "dead `1`"),
            ("{}", "dead `{`"),
        ],
    );
    let dead = |column: &str, value: &str, at: &str| {
        let found = outcome(column, value);
        assert!(
            found.starts_with(&format!("column \"v\": found {at}; accepted is ")),
            "{value}: {found}"
        );
    };
    dead(&of("int"), "[1, 1.5]", "`1.5` at byte 9");
    dead(&of("int"), "[[1]]", "`[1` at byte 6");
    dead(&of("int"), "[1 2]", "`2` at byte 8");
    dead(
        &of("text"),
        "[\"a\", \"\\ud800\"]",
        "a lone surrogate, `\\ud800\"` at byte 12",
    );
    assert_eq!(outcome(&of("double"), "[1, 2.50, -0, 1e2]"), "\"[1.0,2.5,0.0,100.0]\"");
    assert_eq!(outcome(&of("boolean"), "[true,false]"), "\"[true,false]\"");
    assert_eq!(
        outcome("'list(text)'", "[\"\\u00e4\\n\\u0022\"]"),
        format!("{:?}", "[\"ä\\n\\\"\"]")
    );
    assert_eq!(outcome(&of("decimal(4, 2)"), "[1, 2.5]"), "\"[1.00,2.50]\"");
    let times = "{ type = 'list', of = 'timestamp', format = 's' }";
    assert_eq!(
        outcome(times, "[0]"),
        format!("{:?}", "[\"1970-01-01T00:00:00.000000Z\"]")
    );
    let bytes = "{ type = 'list', of = 'bytes', format = 'hex' }";
    assert_eq!(outcome(bytes, "[\"00ff\"]"), format!("{:?}", "[\"AP8=\"]"));
}

#[test]
fn long_lists_and_large_json_are_values_like_others() {
    let numbers: Vec<String> = (0..1_000_000).map(|n| n.to_string()).collect();
    let list = format!("[{}]", numbers.join(","));
    assert!(
        outcome("'list(int)'", &list) == format!("{list:?}"),
        "a list of a million"
    );
    let json = format!("[\"{}\"]", "a".repeat(10 << 20));
    assert!(outcome("'json'", &json) == format!("{json:?}"), "ten megabytes of JSON");
    // Each number takes forty bytes.
    let many = format!("[{}]", vec!["1"; 500_000].join(","));
    let reason = outcome("{ type = 'list', of = 'decimal(38, 37)' }", &many);
    assert_eq!(
        reason,
        "column \"v\": found a longer list at byte 5; accepted is a list that takes at most 16 MiB"
    );
}
