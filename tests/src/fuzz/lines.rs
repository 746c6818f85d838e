//! Tables of lines, as a component could carry them that somebody made.

use weir_lines::{Budget, Builder, Frame, Table};

/// The code that they are of.
const CODE: [u8; 300] = [0; 300];

/// The contents of a section, of [`CODE`], to begin with.
fn section() -> Vec<u8> {
    let mut table = Builder::default();
    let frame = |function, line| Frame {
        function,
        file: "src/lib.rs",
        line,
    };
    let frames = [frame("digit", 12), frame("large_orders", 30), frame("process", 1 << 30)];
    for (place, frames) in [(0..7, &frames[..]), (7..9, &frames[1..]), (200..300, &frames[2..])] {
        table.push(place, frames);
    }
    table.finish(&CODE).section.expect("there are places")
}

/// Bytes of it that say of which version it is, and of which code: 1, 300 in two bytes, and a hash.
const HEAD: usize = 1 + 2 + 8;

/// What stands behind the head in tables that are fine.
pub fn tables() -> Vec<Vec<u8>> {
    vec![section().split_off(HEAD)]
}

/// What stands behind the head of a table: it is refused, or keeps its promises. Nothing that it holds is larger than the section,
/// places ascend, a lookup finds what the list of them has, and written again it means the same.
///
/// # Panics
/// When it does neither.
pub fn lines(bytes: &[u8]) {
    let mut whole = section();
    whole.truncate(HEAD);
    whole.extend_from_slice(bytes);
    let Ok(table) = Table::read(&whole, &CODE, &mut Budget::default()) else {
        return;
    };
    let places: Vec<_> = table.places().collect();
    assert!(places.len() * 3 <= bytes.len());
    assert!(
        places
            .iter()
            .all(|(place, frames)| !place.is_empty() && !frames.is_empty())
    );
    assert!(places.is_sorted_by(|(a, _), (b, _)| a.end <= b.start));
    assert!(places.iter().all(|(place, _)| place.end as usize <= CODE.len()));
    let mut again = Builder::default();
    for (place, frames) in &places {
        assert!(frames.len() <= bytes.len() / 4, "each frame is called by one before it");
        again.push(place.clone(), frames);
    }
    let again = again.finish(&CODE);
    assert!(again.left_out.is_nothing());
    let again = again.section.map_or_else(Table::default, |section| {
        Table::read(&section, &CODE, &mut Budget::default()).expect("what is written can be read")
    });
    for at in 0..CODE.len() as u32 + 2 {
        let of = places.iter().find(|(place, _)| place.contains(&at));
        let expected: &[Frame<'_>] = of.map_or(&[], |(_, frames)| frames);
        assert!(table.at(at).eq(expected.iter().copied()), "place {at}");
        assert!(again.at(at).eq(expected.iter().copied()), "place {at}, written again");
    }
}
