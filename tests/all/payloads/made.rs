//! Payloads made by chance: mostly such that fit the columns of `random`, one third of them damaged.

use weir_tests::seed::Random;

/// Names of columns, of their parents, and of nothing.
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

pub(crate) fn payload(random: &mut Random) -> Vec<u8> {
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
