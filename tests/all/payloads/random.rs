//! Payloads made by chance, whole and damaged, through the decoder and through the oracle.

use super::{column, decode, decoder, for_oracle, number, unread};
use weir::{
    column::ColumnType::{Boolean, Double, Int, Text},
    plan::SourceColumn,
};
use weir_tests::{
    oracle::{self, Outcome},
    seed::{Random, with_seed},
    table::Cell,
};

/// How many batches are tried for each set of columns.
const BATCHES: usize = 60_000;

fn flat() -> Vec<SourceColumn> {
    let columns = [
        ("id", Int),
        ("order_no", Text),
        ("price", Double),
        ("paid", Boolean),
        ("fifteen_letters", Int),
    ];
    // Names around the width that the decoder compares at once, one that is empty, and ones that need escapes.
    let long = [
        ("sixteen_letters_", Text),
        ("a_name_longer_than_one_window", Int),
        ("a_name_longer_than_one_windoW", Double),
    ];
    let odd = [("", Int), ("客户", Text), ("q\"\\\n", Text)];
    let read = columns
        .iter()
        .chain(&long)
        .chain(&odd)
        .map(|(name, column_type)| column(name, *column_type));
    let unread = [
        ("unread_i", Int),
        ("unread_d", Double),
        ("unread_t", Text),
        ("unread_b", Boolean),
    ]
    .map(|(name, column_type)| unread(column(name, column_type)));
    read.chain([number("premium")]).chain(unread).collect()
}

fn nested() -> Vec<SourceColumn> {
    vec![
        column("id", Int),
        column("address.city", Text),
        column("address.geo.lat", Double),
        unread(column("address.geo.lon", Double)),
        column("address.id", Int),
        number("address.geo.premium"),
        column("price", Double),
        column("address.geo.paid", Boolean),
    ]
}

#[test]
fn payloads_decode_as_the_oracle_says() {
    with_seed(|random| {
        let mut counts = [0; 3];
        for columns in [flat(), nested()] {
            let mut decoder = decoder(&columns);
            for _ in 0..BATCHES {
                let payloads: Vec<Vec<u8>> = (0..1 + random.below(4)).map(|_| payload(random)).collect();
                let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
                let found = decode(&mut decoder, &columns, &payloads);
                for (payload, (found, reason)) in payloads.iter().zip(found) {
                    let expected = expected(payload, &columns);
                    assert_eq!(found, expected, "{}\n{reason}", String::from_utf8_lossy(payload));
                    counts[match found {
                        Outcome::Reject => 0,
                        Outcome::Blank => 1,
                        Outcome::Row(_) => 2,
                    }] += 1;
                }
            }
        }
        assert!(
            counts.iter().all(|&count| count > 100) && counts[2] > BATCHES,
            "rejects, blanks, rows: {counts:?}"
        );
    });
}

#[test]
fn every_cut_and_every_changed_byte_decodes_as_the_oracle_says() {
    let columns = flat();
    let mut decoder = decoder(&columns);
    let mut check = |payload: &[u8]| {
        let (found, reason) = decode(&mut decoder, &columns, &[payload]).remove(0);
        assert_eq!(
            found,
            expected(payload, &columns),
            "{}\n{reason}",
            String::from_utf8_lossy(payload)
        );
    };
    let payload = r#"{"id":-12,"order_no":"HX20260315000002","price":93.59,"fifteen_letters":1773492433637,"客户":"孙敏","u":[1,{"a":"\u00e9"}],"premium":" 1e2 "}"#;
    let payload = payload.as_bytes();
    for at in 0..=payload.len() {
        check(&payload[..at]);
        check(&payload[at..]);
    }
    for at in 0..payload.len() {
        for byte in 0..=u8::MAX {
            let mut changed = payload.to_vec();
            changed[at] = byte;
            check(&changed);
        }
    }
}

#[test]
fn any_written_number_is_the_nearest_double() {
    let columns = vec![column("d", Double)];
    let mut decoder = decoder(&columns);
    with_seed(|random| {
        for at in 0..150_000 {
            let number = random.number();
            let text = match at % 6 {
                0 => format!("{:e}", f64::from_bits(number)),
                1 => format!("{number}e{}", random.below(340) as i64 - 170),
                2 => format!(
                    "{}.{}",
                    number >> (20 + random.below(44)),
                    random.number() >> (10 + random.below(54))
                ),
                3 => format!(
                    "-{}.{}",
                    number >> (20 + random.below(44)),
                    random.number() >> (10 + random.below(54))
                ),
                4 => format!("{}", number >> random.below(64)),
                _ => format!("0.{:0width$}", number >> 40, width = random.below(20)),
            };
            let Ok(nearest) = text.parse::<f64>() else { continue };
            let (found, reason) = decode(&mut decoder, &columns, &[format!("{{\"d\":{text}}}").as_bytes()]).remove(0);
            // NaN and infinities are no JSON.
            let expected = if nearest.is_finite() {
                Outcome::Row(vec![Cell::Double(nearest)])
            } else {
                Outcome::Reject
            };
            assert_eq!(found, expected, "{text}: {reason}");
        }
    });
}

/// What the oracle says, with nulls in the columns that nobody reads.
fn expected(payload: &[u8], columns: &[SourceColumn]) -> Outcome {
    let mut outcome = oracle::decode(payload, &for_oracle(columns));
    if let Outcome::Row(cells) = &mut outcome {
        for (cell, _) in cells.iter_mut().zip(columns).filter(|(_, column)| !column.materialised) {
            *cell = Cell::Null;
        }
    }
    outcome
}

// ---- payloads ---------------------------------------------------------------------------------------------------------

const NAMES: [&str; 27] = [
    "id",
    "order_no",
    "price",
    "paid",
    "a_name_longer_than_one_window",
    "a_name_longer_than_one_windoW",
    "fifteen_letters",
    "sixteen_letters_",
    "unread_i",
    "unread_d",
    "unread_t",
    "unread_b",
    "premium",
    "",
    "客户",
    "q\"\\\n",
    "address",
    "city",
    "geo",
    "lat",
    "lon",
    "other",
    "i",
    "idd",
    "address.city",
    "geo",
    "address",
];

const NUMBERS: [&str; 40] = [
    "0",
    "-0",
    "-0.0",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "1e400",
    "1.7976931348623158e308",
    "1.7976931348623159e308",
    "4.9e-324",
    "2e-324",
    "9007199254740993",
    "9007199254740992.5",
    "0.000000000000001",
    "999999999999999",
    "9999999999999999",
    "12345678901234.5",
    "123456789012345.6",
    "-1234567890123.5",
    "-12345678901234.5",
    "1e5",
    "1.0",
    "00",
    "01",
    "-01",
    "1.",
    ".1",
    "-",
    "-.5",
    "1e",
    "1e+",
    "1E-7",
    "+1",
    "0e99999999999999999999",
    "1e-99999999999999999",
    "NaN",
    "Infinity",
    "-Infinity",
    "0x10",
];

const ESCAPES: [&str; 23] = [
    "\\n",
    "\\\"",
    "\\\\",
    "\\/",
    "\\b",
    "\\f",
    "\\r",
    "\\t",
    "\\u0041",
    "\\u00e9",
    "\\u6c49",
    "\\u0000",
    "\\ud83d\\ude00",
    "\\ud800",
    "\\udc00",
    "\\ud800\\ud800",
    "\\uD83D\\u0041",
    "\\ud83d\\n",
    "\\x",
    "\\u12",
    "\\u12g4",
    "\u{1}",
    "\\",
];

fn payload(random: &mut Random) -> Vec<u8> {
    let mut json = String::new();
    space(random, &mut json);
    match random.below(40) {
        0 => value(random, 0, &mut json),
        1 => {}
        _ => object(random, 0, &mut json),
    }
    space(random, &mut json);
    let mut payload = json.into_bytes();
    if random.once_in(3) {
        damage(random, &mut payload);
    }
    payload
}

fn space(random: &mut Random, json: &mut String) {
    if random.once_in(12) {
        (0..random.below(4)).for_each(|_| json.push_str(random.pick(&[" ", "\n", "\t", "\r"])));
    }
}

/// From one digit up to `most`.
fn digits(random: &mut Random, most: usize, json: &mut String) {
    (0..=random.below(most)).for_each(|_| json.push((b'0' + random.below(10) as u8) as char));
}

fn decimal(random: &mut Random, json: &mut String) {
    if random.once_in(8) {
        return json.push_str(random.pick(&NUMBERS));
    }
    if random.once_in(3) {
        json.push('-');
    }
    let start = json.len();
    let most = if random.once_in(4) { 25 } else { 14 };
    digits(random, most, json);
    if !random.once_in(8) {
        // Mostly without a leading zero.
        let trimmed = json[start..].trim_start_matches('0').to_owned();
        json.truncate(start);
        json.push_str(if trimmed.is_empty() { "0" } else { &trimmed });
    }
    if random.once_in(3) {
        json.push('.');
        let most = if random.once_in(4) { 25 } else { 5 };
        digits(random, most, json);
    }
    if random.once_in(8) {
        json.push_str(random.pick(&["e", "E", "e+", "e-"]));
        digits(random, 3, json);
    }
}

fn text(random: &mut Random, json: &mut String) {
    json.push('"');
    if random.once_in(6) {
        json.push_str(random.pick(&["", " "]));
        decimal(random, json);
    }
    for _ in 0..random.below(3) {
        match random.below(10) {
            0 => json.push_str(random.pick(&ESCAPES)),
            1 | 2 => json.push_str(random.pick(&["周梓轩", "é", "😀", "\u{7f}", "{", "]", ",", ":"])),
            _ => (0..random.below(36)).for_each(|_| json.push((b'a' + random.below(26) as u8) as char)),
        }
    }
    json.push('"');
}

fn name(random: &mut Random, json: &mut String) {
    json.push('"');
    for c in random.pick(&NAMES).chars() {
        let needs_escape = c < ' ' || c == '"' || c == '\\';
        if random.once_in(40) || needs_escape && !random.once_in(30) {
            json.push_str(&format!("\\u{:04x}", c as u32));
        } else {
            json.push(c);
        }
        if random.once_in(300) {
            json.push_str(random.pick(&["\\ud800", "\u{2}", "x"]));
        }
    }
    json.push('"');
}

fn value(random: &mut Random, depth: usize, json: &mut String) {
    match random.below(if depth > 4 { 8 } else { 12 }) {
        0 => json.push_str("null"),
        1 => json.push_str(random.pick(&["true", "false", "nul", "truE", "null"])),
        2..=4 => decimal(random, json),
        5..=7 => text(random, json),
        8 => list(random, json, '[', ']', |random, json| value(random, depth + 1, json)),
        _ => object(random, depth + 1, json),
    }
}

fn object(random: &mut Random, depth: usize, json: &mut String) {
    list(random, json, '{', '}', |random, json| {
        let at = json.len();
        name(random, json);
        let name = json[at..].to_owned();
        space(random, json);
        json.push(':');
        space(random, json);
        fitting(random, &name, depth, json);
    });
}

fn list(
    random: &mut Random,
    json: &mut String,
    open: char,
    close: char,
    mut each: impl FnMut(&mut Random, &mut String),
) {
    json.push(open);
    let count = random.below(7);
    for at in 0..count {
        space(random, json);
        each(random, json);
        space(random, json);
        if at + 1 < count {
            json.push(',');
        }
    }
    json.push(close);
}

/// A value that most likely fits its name.
fn fitting(random: &mut Random, name: &str, depth: usize, json: &mut String) {
    let is = |names: &[&str]| names.iter().any(|part| name.contains(part));
    let at = json.len();
    if random.once_in(6) {
        value(random, depth, json);
    } else if is(&["address", "geo"]) {
        object(random, depth + 1, json);
    } else if is(&["paid", "_b"]) {
        json.push_str(random.pick(&["true", "false", "null"]));
    } else if is(&["premium"]) {
        json.push('"');
        decimal(random, json);
        json.push('"');
    } else if is(&["order_no", "letters_", "unread_t", "客户", "q\\", "city"]) {
        text(random, json);
    } else {
        decimal(random, json);
        if !is(&["price", "windoW", "unread_d", "lat", "lon"]) && !random.once_in(10) {
            let whole = json[at..].find(['.', 'e', 'E']).unwrap_or(json.len() - at);
            json.truncate(at + whole.clamp(1, 20));
        }
    }
}

/// Changes a payload in one or two places.
fn damage(random: &mut Random, payload: &mut Vec<u8>) {
    const BYTES: &[u8] = b"\"\\{}[]:,0123456789-+.eEnulltrue \n\0\x1f\x7f\x80\xc3\xe5\xed\xf4\xff";
    for _ in 0..1 + random.below(2) {
        let at = random.below(payload.len() + 1);
        let byte = BYTES[random.below(BYTES.len())];
        match random.below(6) {
            0 => payload.insert(at, byte),
            1 if at < payload.len() => drop(payload.remove(at)),
            2 => payload.truncate(at),
            3 if at < payload.len() => {
                let end = at + random.below((payload.len() - at).min(20) + 1);
                let piece = payload[at..end].to_vec();
                let to = random.below(payload.len());
                payload.splice(to..to, piece);
            }
            _ if at < payload.len() => payload[at] = byte,
            _ => payload.push(byte),
        }
    }
}
