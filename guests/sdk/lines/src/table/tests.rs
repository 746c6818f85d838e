//! Tables: what is written is read again, what breaks a rule is not, and a lookup finds what was written.

use crate::{Budget, Builder, FRAMES_MAX, Frame, NAME_BYTES_MAX, NAMES_MAX, PLACES_MAX, SECTION_BYTES_MAX, Table};
use fastrand::Rng;
use std::ops::Range;

const CODE: [u8; 300] = [7; 300];

/// What stands before the names, in a table of [`CODE`].
fn head() -> Vec<u8> {
    let mut table = Builder::default();
    table.push(0..1, &[frame("f", 1)]);
    let section = table.finish(&CODE).section.unwrap();
    section[..1 + 2 + 8].to_vec()
}

fn frame(function: &str, line: u32) -> Frame<'_> {
    Frame {
        function,
        file: "src/lib.rs",
        line,
    }
}

fn read(section: &[u8]) -> Result<Table, String> {
    Table::read(section, &CODE, &mut Budget::default()).map_err(|broken| broken.to_string())
}

fn shown(table: &Table, place: u32) -> Vec<String> {
    table.at(place).map(|frame| frame.to_string()).collect()
}

#[test]
fn what_is_written_is_found_and_nothing_else() {
    let seed = std::env::var("WEIR_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("WEIR_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    const NAMES: [&str; 5] = ["large_orders", "digit", "{closure#0}", "保单", ""];
    for _ in 0..2000 {
        let code: Vec<u8> = (0..random.usize(1..2000)).map(|_| random.u8(..)).collect();
        let mut expected = vec![Vec::new(); code.len()];
        let mut table = Builder::default();
        let mut at = 0;
        while at < code.len() {
            let start = at + random.usize(0..3) * random.usize(0..40);
            let end = (start + random.usize(1..60)).min(code.len());
            let frames: Vec<Frame<'_>> = (0..random.usize(0..5))
                .map(|_| Frame {
                    function: random.choice(NAMES).unwrap(),
                    file: random.choice(NAMES).unwrap(),
                    line: random.u32(0..4) * random.u32(0..u32::MAX / 4),
                })
                .collect();
            if start < end {
                table.push(start as u32..end as u32, &frames);
                let frames: Vec<String> = frames.iter().map(Frame::to_string).collect();
                expected[start..end].fill(frames);
            }
            at = end.max(start + 1);
        }
        let built = table.finish(&code);
        assert!(built.left_out.is_nothing());
        let mut budget = Budget::default();
        let table = match &built.section {
            Some(section) => Table::read(section, &code, &mut budget).unwrap(),
            None => Table::default(),
        };
        assert_eq!(
            budget, built.rest,
            "who reads takes as much of the budget as who writes"
        );
        for (at, expected) in (0..).zip(&expected) {
            assert_eq!(shown(&table, at), *expected, "place {at}");
        }
        for beyond in [code.len() as u32, code.len() as u32 + 1, u32::MAX] {
            assert!(shown(&table, beyond).is_empty());
        }
    }
}

#[test]
fn places_that_go_on_with_the_same_frames_are_one() {
    let mut table = Builder::default();
    let inner = [frame("digit", 12), frame("large_orders", 30)];
    for (place, frames) in [
        (3..5, &inner[..]),
        (5..9, &inner),
        (9..12, &inner[1..]),
        (14..15, &inner),
    ] {
        table.push(place, frames);
    }
    let section = table.finish(&CODE).section.unwrap();
    let table = read(&section).unwrap();
    let places: Vec<Range<u32>> = table.places().map(|(place, _)| place).collect();
    assert_eq!(places, [3..9, 9..12, 14..15]);
    assert_eq!(
        shown(&table, 8),
        ["digit (src/lib.rs:12)", "large_orders (src/lib.rs:30)"]
    );
    // Each name and each frame stands there once.
    assert_eq!(section.len(), head().len() + 1 + 6 + 13 + 11 + 1 + 2 * 4 + 1 + 3 * 3);
}

#[test]
fn a_place_that_begins_before_the_end_of_the_one_before_it_begins_there() {
    let mut table = Builder::default();
    table.push(3..9, &[frame("a", 1)]);
    table.push(5..11, &[frame("b", 2)]);
    table.push(4..6, &[frame("c", 3)]);
    let table = read(&table.finish(&CODE).section.unwrap()).unwrap();
    let places: Vec<Range<u32>> = table.places().map(|(place, _)| place).collect();
    assert_eq!(places, [3..9, 9..11]);
}

/// Checks that a table with these numbers behind its head, names in between, is refused.
#[track_caller]
fn check(rest: &[u8], expected: &str) {
    let error = read(&[&head(), rest].concat()).expect_err("it is refused");
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn what_breaks_a_rule_is_refused() {
    let good: &[u8] = &[1, 1, b'f', 2, 0, 0, 7, 0, 0, 0, 8, 1, 2, 3, 4, 1, 0, 5, 0];
    let table = read(&[&head(), good].concat()).unwrap();
    assert_eq!(
        (shown(&table, 3), shown(&table, 2)),
        (vec!["f (f:8)".to_owned(), "f (f:7)".to_owned()], vec![])
    );
    assert_eq!(shown(&table, 7), ["f (f:7)"]);

    check(&[], "unexpected end");
    check(&[good, &[0]].concat(), "1 bytes stand behind its end");
    // Names: more than there are bytes, one without its end, one that is no text, a number that is too long.
    check(&[9, 1, b'f'], "it ends within its 9 names");
    check(&[1, 9, b'f', 0, 0], "unexpected end");
    check(&[1, 2, 0xff, 0xff, 0, 0], "malformed UTF-8");
    check(&[0x81, 0x80, 0x80, 0x80, 0x80, 0], "invalid var_u32");
    // Frames: more than there are bytes, of names that are not there, and called by one that is not there, or by itself.
    check(&[1, 1, b'f', 2, 0, 0, 7, 0], "it ends within its 2 frames");
    check(&[1, 1, b'f', 1, 1, 0, 7, 0, 0], "a name has the number 1; there are 1");
    check(&[1, 1, b'f', 1, 0, 1, 7, 0, 0], "a name has the number 1; there are 1");
    check(
        &[1, 1, b'f', 1, 0, 0, 7, 1, 0],
        "the caller of its frame 0 stands 1 before it, where there is none",
    );
    // Places: of a frame that is not there, empty, beyond the code, beyond all numbers.
    let frames: &[u8] = &[1, 1, b'f', 1, 0, 0, 7, 0];
    let with = |places: &[u8]| [frames, places].concat();
    check(&with(&[1, 0, 1, 1]), "a frame has the number 1; there are 1");
    check(
        &with(&[1, 0, 0, 0]),
        "a place of it begins 0 bytes behind 0 and has 0, in code of 300",
    );
    check(
        &with(&[1, 0, 0xad, 0x02, 0]),
        "a place of it begins 0 bytes behind 0 and has 301",
    );
    let most = [0xff, 0xff, 0xff, 0xff, 0x0f];
    check(
        &with(&[&[1, 1][..], &most, &[0]].concat()),
        "a place of it begins 1 bytes behind 0 and has 4294967295",
    );
    check(
        &with(&[&[2, 9, 1, 0][..], &most, &[1, 0]].concat()),
        "a place of it begins 4294967295 bytes behind 10",
    );
    check(&with(&[2, 0, 1, 0]), "it ends within its 2 places");

    let whole = [&head(), good].concat();
    for end in 0..whole.len() {
        read(&whole[..end]).expect_err("half a table is none");
    }
    let error = read(&[&[2], &whole[1..]].concat()).unwrap_err();
    assert_eq!(error, "it is of version 2; accepted is 1");
    for other in [&CODE[1..], &[8; 300]] {
        let error = Table::read(&whole, other, &mut Budget::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("it is of other code than stands beside it"),
            "{error}"
        );
    }
}

#[test]
fn a_count_beyond_its_bound_is_refused_before_anything_is_held_for_it() {
    let number = |mut number: usize| {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let room = vec![0; SECTION_BYTES_MAX - 100];
    let check_count = |before: &[u8], most: usize, what: &str| {
        for count in [most + 1, u32::MAX as usize] {
            check(
                &[before, &number(count), &room].concat(),
                &format!("it has {count} {what}; accepted are {most} in all tables of a component"),
            );
        }
    };
    check_count(&[], NAMES_MAX, "names");
    check_count(&[0], FRAMES_MAX, "frames");
    check_count(&[0, 0], PLACES_MAX, "places");
    check(
        &[&[1][..], &number(NAME_BYTES_MAX + 1), &room].concat(),
        "one of its names has 1025 bytes; accepted are 1024",
    );
    let error = read(&vec![0; SECTION_BYTES_MAX + 1]).unwrap_err();
    assert_eq!(
        error,
        "it has 1048577 bytes; accepted are 1048576 in all tables of a component"
    );
}

#[test]
fn what_passes_a_bound_is_left_out_and_counted() {
    let code = vec![0; 1 << 20];
    let place = |at: usize| (3 * at) as u32..(3 * at + 2) as u32;
    let mut table = Builder::default();
    for at in 0..PLACES_MAX + 10 {
        table.push(place(at), &[frame("f", 1 + (at % 2) as u32)]);
    }
    let built = table.finish(&code);
    let held = Table::read(&built.section.unwrap(), &code, &mut Budget::default()).unwrap();
    let places = held.places().count();
    assert!((PLACES_MAX - 1..=PLACES_MAX).contains(&places), "{places}");
    assert_eq!(built.left_out.places, PLACES_MAX + 10 - places);
    let said = built.left_out.to_string();
    assert!(
        said.starts_with("lines are left out from some place in the code on"),
        "{said}"
    );
    assert!(
        said.ends_with(&format!("(places left out: {})", built.left_out.places)),
        "{said}"
    );

    // Each with a name of its own: the section is full first.
    let mut table = Builder::default();
    let names: Vec<String> = (0..2000).map(|at| format!("{at:01000}")).collect();
    for (at, name) in names.iter().enumerate() {
        table.push(place(at), &[frame(name, 1)]);
    }
    let built = table.finish(&code);
    let section = built.section.unwrap();
    assert!(
        (SECTION_BYTES_MAX - 1100..=SECTION_BYTES_MAX).contains(&section.len()),
        "{}",
        section.len()
    );
    let held = Table::read(&section, &code, &mut Budget::default()).unwrap();
    assert_eq!(held.places().count() + built.left_out.places, names.len());
    let (before, after) = (held.places().count() - 1, held.places().count());
    assert_eq!(held.at(place(before).start).next().unwrap().function, names[before]);
    assert!(held.at(place(after).start).next().is_none());

    // A name that is too long costs its frame, and not the one that called it.
    let mut table = Builder::default();
    let long = "n".repeat(NAME_BYTES_MAX + 1);
    table.push(0..2, &[frame(&long, 1), frame(&long[1..], 2)]);
    table.push(2..4, &[frame(&long, 1)]);
    let built = table.finish(&CODE);
    let table = read(&built.section.unwrap()).unwrap();
    assert_eq!(shown(&table, 1), [format!("{} (src/lib.rs:2)", &long[1..])]);
    assert!(shown(&table, 2).is_empty());
    assert_eq!((built.left_out.places, built.left_out.frames), (0, 2));
    assert_eq!(
        built.left_out.to_string(),
        "functions are left out whose names, or those of their files, have more than 1024 bytes (places in the code: 2)"
    );
}
