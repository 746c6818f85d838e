//! Payloads made by chance, whole and damaged, through the decoder and through the oracle.

use super::{column, decode, decoder, for_oracle, made::payload, number, unread};
use weir::{
    model::column::ColumnType::{Boolean, Double, Int, Text},
    plan::SourceColumn,
};
use weir_tests::{
    oracle::{self, Outcome},
    seed::with_seed,
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
                Outcome::Row(vec![Cell::Double(nearest + 0.0)])
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
