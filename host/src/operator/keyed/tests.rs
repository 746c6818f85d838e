use crate::{
    model::guest::NO_TIMER,
    operator::testing::Tested,
    plan::double::{Closures, Happens, Turned},
};
use fastrand::Rng;
use std::collections::BTreeMap;

const COLUMNS: &str = "id = \"text\", v = \"int\"";
const STEP: &str = "step = [{ name = \"turns\", keyed = { module = \"turn\", key = [\"id\"] } }]
                    sink = [{ table = \"out\" }]";

/// Sums numbers up. An odd one sets the timer, zero clears it; a third of them give the sum, six gives it twice. The time gives
/// the sum, and begins anew; where that was much, it comes once more a little later.
fn turn(sum: i64, timer: i64, happens: Happens) -> Turned {
    match happens {
        Happens::Row(13, _) => Err("13 is not taken".to_owned()),
        Happens::Row(v, at_us) => {
            let sum = sum + v;
            let timer = match v {
                0 => NO_TIMER,
                v if v % 2 == 1 => at_us + v * 100_000,
                _ => timer,
            };
            let gives = if v % 3 == 0 { 1 + usize::from(v == 6) } else { 0 };
            Ok((sum, timer, vec![sum; gives]))
        }
        Happens::Time(_) if sum == 7 => Err("7 is not taken".to_owned()),
        Happens::Time(at_us) => {
            let timer = if sum > 20 { at_us + 50_000 } else { NO_TIMER };
            Ok((0, timer, vec![1_000 + sum]))
        }
    }
}

fn tested() -> Tested {
    Tested::with_guests(Closures::default().with_keyed("turn", "v", turn), COLUMNS, STEP)
}

#[test]
fn rows_and_times_come_in_the_order_of_the_stream() {
    tested().check(
        "#  kind  id  v  ms
         1  +     a   3  1000
         2  +     b   1  1050
         3  +     a   6  1100
         4  +     a   2  1300
         5  +     b   2  5000
         6  +     a   5  5100",
        "1  +  a  3
         3  +  a  9
         3  +  a  9
         4  +  b  1001
         4  +  a  1011",
    );
}

#[test]
fn a_time_that_has_passed_already_comes_behind_the_event_that_sets_it() {
    let mut turns = tested();
    turns.check(
        "#  kind  id  v  ms
         1  +     a   2  9000
         2  +     b   3  1000
         3  +     b   1  1000
         4  +     b   4  9000",
        "2  +  b  3
         2  +  b  1003
         3  +  b  1001",
    );
    assert_eq!(turns.entries(), 2, "of both keys something is remembered");
}

#[test]
fn a_key_of_which_nothing_is_remembered_is_forgotten() {
    let mut turns = tested();
    turns.check(
        "#  kind  id  v  ms
         1  +     a   1  1000
         2  +     .   0  1000",
        "2  +  .  0",
    );
    assert_eq!(
        turns.entries(),
        1,
        "null is a key like others, and of it nothing is remembered"
    );
    turns.restart();
    turns.check(
        "#  kind  id  v  ms
         3  +     b   2  1100",
        "3  +  a  1001",
    );
    assert_eq!(turns.entries(), 1);
}

/// A row, by the second and the number.
#[derive(Clone, Debug)]
struct Row {
    id: u8,
    v: i64,
    ms: i64,
}

/// What comes out, by a plain model: row by row, and behind each what is due.
fn expected(rows: &[Row]) -> Vec<String> {
    let mut keys: BTreeMap<u8, (i64, i64)> = BTreeMap::new();
    let (mut watermark_us, mut out) = (i64::MIN, Vec::new());
    for (event, row) in (1..).zip(rows) {
        let (sum, timer) = keys.get(&row.id).copied().unwrap_or((0, NO_TIMER));
        let (sum, timer, gives) = turn(sum, timer, Happens::Row(row.v, row.ms * 1_000)).unwrap();
        keys.insert(row.id, (sum, timer));
        let mut give = |id: u8, n: i64| out.push(format!("{event} + k{id} {n}"));
        gives.into_iter().for_each(|n| give(row.id, n));
        watermark_us = watermark_us.max(row.ms * 1_000);
        while let Some((&id, &(sum, timer))) = keys
            .iter()
            .filter(|(_, (_, timer))| *timer <= watermark_us)
            .min_by_key(|(id, (_, timer))| (*timer, **id))
        {
            match turn(sum, timer, Happens::Time(timer)) {
                Ok((sum, timer, gives)) => {
                    keys.insert(id, (sum, timer));
                    gives.into_iter().for_each(|n| give(id, n));
                }
                // It passes without an effect.
                Err(_) => drop(keys.insert(id, (sum, NO_TIMER))),
            }
        }
    }
    out
}

#[test]
fn what_comes_out_is_the_same_however_rows_are_cut() {
    let seed = std::env::var("WEIR_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    let mut random = Rng::with_seed(seed);
    for _ in 0..60 {
        let (keys, jitter) = (random.u8(1..6), random.i64(1..2_000));
        let step = random.i64(1..300);
        let rows: Vec<Row> = (0..80)
            .map(|at| Row {
                id: random.u8(0..keys),
                v: random.i64(0..10),
                ms: at * step + random.i64(0..jitter),
            })
            .collect();
        let expected = expected(&rows);
        for cut in [1, 3, 17, 80] {
            let (mut turns, mut found, mut event) = (tested(), Vec::new(), 0);
            for part in rows.chunks(cut) {
                let mut table = "#  kind  id  v  ms\n".to_owned();
                for row in part {
                    event += 1;
                    table += &format!("{event}  +  k{}  {}  {}\n", row.id, row.v, row.ms);
                }
                found.extend(turns.take_in(&table));
                if random.u8(0..8) == 0 {
                    turns.restart();
                }
            }
            assert_eq!(found, expected, "with WEIR_SEED={seed}, batches of {cut}: {rows:?}");
        }
    }
}
