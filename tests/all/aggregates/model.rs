//! The plain model: one event after the other through every step, each state by itself, with the aggregate as native code.

use claims_severity::Rule;
use std::{collections::BTreeMap, fmt::Write};
use weir_guest::{
    Aggregate,
    abi::{self, ColumnValues, ParameterValue},
};
use weir_tests::table::Cell;

/// By how much an event may be too late.
const OUT_OF_ORDERNESS_MS: i64 = 20;

const KINDS: [&str; 5] = ["injury", "glass", "fire", "a", ""];

/// Most are small. Some are no amounts, and some too large to count several times, or together.
const AMOUNTS: [i64; 16] = [
    0,
    1,
    5,
    99,
    100,
    12_345,
    7,
    3,
    1_000_001,
    50,
    60,
    -1,
    i64::MAX / 7,
    i64::MAX / 3,
    i64::MAX,
    i64::MIN,
];

/// An event.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    claim: i64,
    row: ClaimRow,
    unread: i64,
}

/// What steps see of a claim.
#[derive(Clone, Debug, Default, PartialEq)]
struct ClaimRow {
    policy: Option<i64>,
    kind: Option<&'static str>,
    paid_cents: Option<i64>,
    at: i64,
}

impl Claim {
    /// The claim that is event number `at`.
    pub(crate) fn of(at: i64, bytes: &[u8; 6]) -> Self {
        let [claim, policy, kind, paid, time, unread] = *bytes;
        let row = ClaimRow {
            policy: (policy % 7 != 6).then_some(i64::from(policy % 3)),
            kind: KINDS.get(usize::from(kind) % 6).copied(),
            paid_cents: AMOUNTS.get(usize::from(paid) % 64 / 3).copied(),
            at: at * 4 + i64::from(time % 48),
        };
        Self {
            claim: i64::from(claim % 7),
            row,
            unread: i64::from(unread % 2),
        }
    }

    /// The payload.
    pub(crate) fn line(&self) -> String {
        let ClaimRow {
            policy,
            kind,
            paid_cents,
            at,
        } = &self.row;
        let mut line = format!("{{\"claim\":{},\"at\":{at},\"unread\":{}", self.claim, self.unread);
        for (name, value) in [("policy", policy), ("paid_cents", paid_cents)] {
            if let Some(value) = value {
                write!(line, ",\"{name}\":{value}").unwrap();
            }
        }
        if let Some(kind) = kind {
            write!(line, ",\"kind\":\"{kind}\"").unwrap();
        }
        line + "}"
    }
}

/// A kind of windows. What is `told` at their end is told when that has come, and else at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Windows {
    Cut {
        size: i64,
        every: i64,
        cumulates: bool,
        lateness: i64,
        told: bool,
    },
    Sessions {
        gap: i64,
        lateness: i64,
        told: bool,
    },
}

/// Windows over single rows, in the order of their steps.
pub(crate) const WINDOWS: [(&str, Windows); 5] = [
    (
        "tumbling",
        Windows::Cut {
            size: 40,
            every: 40,
            cumulates: false,
            lateness: 0,
            told: true,
        },
    ),
    (
        "hopping",
        Windows::Cut {
            size: 60,
            every: 20,
            cumulates: false,
            lateness: 30,
            told: true,
        },
    ),
    (
        "updates",
        Windows::Cut {
            size: 80,
            every: 20,
            cumulates: true,
            lateness: 0,
            told: false,
        },
    ),
    (
        "sessions",
        Windows::Sessions {
            gap: 15,
            lateness: 0,
            told: true,
        },
    ),
    (
        "growing",
        Windows::Sessions {
            gap: 25,
            lateness: 40,
            told: false,
        },
    ),
];

/// Those over the changelog.
const CORRECTED: Windows = Windows::Cut {
    size: 40,
    every: 40,
    cumulates: false,
    lateness: 1000,
    told: false,
};

/// A group, and the window that it is in.
type Key = (Option<i64>, i64, i64);

/// What one aggregate has of a group.
#[derive(Clone, Debug)]
struct Group {
    rows: i64,
    state: Vec<u8>,
    result: Cell,
}

type Groups = BTreeMap<Key, Group>;

/// A row that comes to a group, or goes from it.
#[derive(Clone, Debug)]
enum Change<'c> {
    Comes(Key, &'c ClaimRow),
    Goes(Key, &'c ClaimRow),
    /// The first goes, the second comes.
    Stays(Key, &'c ClaimRow, &'c ClaimRow),
}

/// The groups of a step, for each of its two aggregates.
type Step = [Groups; 2];

/// Everything that is kept.
#[derive(Clone, Default)]
struct Kept {
    latest_ms: Option<i64>,
    last_claims: BTreeMap<i64, ClaimRow>,
    added: Step,
    corrected: Step,
    windows: [Step; WINDOWS.len()],
    corrected_windows: Step,
}

/// What came of all claims.
pub(crate) struct Model {
    kept: Kept,
    /// Sequences and reasons of those that had no effect.
    pub(crate) rejected: Vec<(u64, String)>,
}

impl Model {
    pub(crate) fn of(claims: &[Claim]) -> Self {
        let rule = |grave: &[&str], weight| {
            let parameter = |name: &str, value| abi::Parameter {
                name: name.to_owned(),
                value,
            };
            let grave = grave.iter().map(|&kind| kind.to_owned()).collect();
            Rule::configure(vec![
                parameter("grave", ParameterValue::TextList(grave)),
                parameter("weight", ParameterValue::Int(weight)),
            ])
            .expect("the parameters are fine")
        };
        let rules = [rule(&["injury", "fire"], 3), rule(&["a", ""], 7)];
        let (mut kept, mut rejected) = (Kept::default(), Vec::new());
        for (claim, sequence) in claims.iter().zip(1..) {
            let mut after = kept.clone();
            match after.take_in(claim, &rules) {
                Ok(()) => kept = after,
                Err(reason) => rejected.push((sequence, reason)),
            }
        }
        Self { kept, rejected }
    }

    pub(crate) fn added(&self) -> Vec<Vec<Cell>> {
        rows(&self.kept.added, |_| true, false)
    }

    pub(crate) fn corrected(&self) -> Vec<Vec<Cell>> {
        rows(&self.kept.corrected, |_| true, false)
    }

    pub(crate) fn by_severity(&self) -> Vec<Vec<Cell>> {
        let mut counts: BTreeMap<Cell, i64> = BTreeMap::new();
        for group in self.kept.corrected[0].values().filter(|group| group.rows > 0) {
            *counts.entry(group.result.clone()).or_default() += 1;
        }
        let row = |(severity, count)| vec![severity, Cell::Int(count)];
        counts.into_iter().map(row).collect()
    }

    pub(crate) fn windows(&self, number: usize) -> Vec<Vec<Cell>> {
        let (Windows::Cut { told, .. } | Windows::Sessions { told, .. }) = WINDOWS[number].1;
        let watermark_ms = self.kept.watermark_ms();
        let is_told = |key: &Key| !told || key.2 <= watermark_ms;
        rows(&self.kept.windows[number], is_told, true)
    }

    pub(crate) fn corrected_windows(&self) -> Vec<Vec<Cell>> {
        rows(&self.kept.corrected_windows, |_| true, true)
    }
}

/// The rows of a table: the group, perhaps its window, how many rows it has, and both aggregates.
fn rows(step: &Step, is_told: impl Fn(&Key) -> bool, has_window: bool) -> Vec<Vec<Cell>> {
    let of_key = |(key, group): (&Key, &Group)| {
        let mut row = vec![key.0.map_or(Cell::Null, Cell::Int)];
        if has_window {
            row.extend([Cell::Int(key.1), Cell::Int(key.2)]);
        }
        row.extend([Cell::Int(group.rows), group.result.clone(), step[1][key].result.clone()]);
        row
    };
    let told = step[0].iter().filter(|(key, group)| group.rows > 0 && is_told(key));
    told.map(of_key).collect()
}

impl Kept {
    fn watermark_ms(&self) -> i64 {
        self.latest_ms
            .map_or(i64::MIN, |latest_ms| latest_ms - OUT_OF_ORDERNESS_MS)
    }

    fn take_in(&mut self, claim: &Claim, rules: &[Rule; 2]) -> Result<(), String> {
        let row = &claim.row;
        let watermark_ms = self.watermark_ms();
        let whole = |row: &ClaimRow| (row.policy, 0, 0);
        let before = self.last_claims.get(&claim.claim).cloned();
        let mut after = row.clone();
        if let Some(before) = &before {
            after.policy = after.policy.or(before.policy);
            after.kind = after.kind.or(before.kind);
            after.paid_cents = after.paid_cents.or(before.paid_cents);
        }
        self.last_claims.insert(claim.claim, after.clone());
        let before = before.as_ref();
        let is_changed = before != Some(&after);

        change(&mut self.added, &[Change::Comes(whole(row), row)], rules)?;
        let corrected: Vec<Change<'_>> = match before {
            _ if !is_changed => vec![],
            None => vec![Change::Comes(whole(&after), &after)],
            Some(before) if before.policy == after.policy => vec![Change::Stays(whole(&after), before, &after)],
            Some(before) => vec![
                Change::Goes(whole(before), before),
                Change::Comes(whole(&after), &after),
            ],
        };
        change(&mut self.corrected, &corrected, rules)?;
        for ((_, windows), step) in WINDOWS.iter().zip(&mut self.windows) {
            match *windows {
                Windows::Sessions { gap, lateness, .. } => {
                    for (groups, rule) in step.iter_mut().zip(rules) {
                        join(groups, row, gap, watermark_ms.saturating_sub(lateness), rule)?;
                    }
                }
                Windows::Cut { .. } => {
                    let keys = keys(*windows, row, watermark_ms);
                    let changes: Vec<_> = keys.into_iter().map(|key| Change::Comes(key, row)).collect();
                    change(step, &changes, rules)?;
                }
            }
        }
        if is_changed {
            let gone = before.into_iter().flat_map(|before| {
                let keys = keys(CORRECTED, before, watermark_ms).into_iter();
                keys.map(move |key| Change::Goes(key, before))
            });
            let come = keys(CORRECTED, &after, watermark_ms).into_iter();
            let come = come.map(|key| Change::Comes(key, &after));
            let changes: Vec<_> = gone.chain(come).collect();
            change(&mut self.corrected_windows, &changes, rules)?;
        }
        self.latest_ms = self.latest_ms.max(Some(row.at));
        Ok(())
    }
}

/// The windows of a row that are not over, the one that ends first in front.
fn keys(windows: Windows, row: &ClaimRow, watermark_ms: i64) -> Vec<Key> {
    let Windows::Cut {
        size,
        every,
        cumulates,
        lateness,
        ..
    } = windows
    else {
        panic!("sessions are not cut")
    };
    let steps = size / every;
    let key = |step: i64| match cumulates {
        true => {
            let start_ms = row.at.div_euclid(size) * size;
            (row.policy, start_ms, start_ms + (step + 1) * every)
        }
        false => {
            let start_ms = (row.at.div_euclid(every) - (steps - 1 - step)) * every;
            (row.policy, start_ms, start_ms + size)
        }
    };
    let covers = |key: &Key| (key.1..key.2).contains(&row.at) && key.2 + lateness > watermark_ms;
    (0..steps).map(key).filter(covers).collect()
}

/// Changes groups, one aggregate after the other.
fn change(step: &mut Step, changes: &[Change<'_>], rules: &[Rule; 2]) -> Result<(), String> {
    for (groups, rule) in step.iter_mut().zip(rules) {
        for change in changes {
            match *change {
                Change::Comes(key, row) => comes(groups, key, row, rule)?,
                Change::Goes(key, row) => goes(groups, key, row, rule)?,
                Change::Stays(_, before, after)
                    if (before.kind, before.paid_cents) == (after.kind, after.paid_cents) => {}
                Change::Stays(key, before, after) => {
                    goes(groups, key, before, rule)?;
                    comes(groups, key, after, rule)?;
                }
            }
        }
    }
    Ok(())
}

fn comes(groups: &mut Groups, key: Key, row: &ClaimRow, rule: &Rule) -> Result<(), String> {
    let group = groups.entry(key).or_insert(Group {
        rows: 0,
        state: Vec::new(),
        result: Cell::Null,
    });
    group.rows += 1;
    accumulate(group, row, false, rule)
}

/// The last row takes the group with it.
fn goes(groups: &mut Groups, key: Key, row: &ClaimRow, rule: &Rule) -> Result<(), String> {
    let Some(group) = groups.get_mut(&key) else {
        return Ok(());
    };
    group.rows -= 1;
    if group.rows == 0 {
        groups.remove(&key);
        return Ok(());
    }
    accumulate(group, row, true, rule)
}

/// A row comes to a session, which may join others. Those that ended before `over_ms` take nothing in.
fn join(groups: &mut Groups, row: &ClaimRow, gap: i64, over_ms: i64, rule: &Rule) -> Result<(), String> {
    let (mut start_ms, mut end_ms) = (row.at, row.at + gap);
    let joins = |key: &&Key| key.0 == row.policy && key.2 > over_ms && key.1 < end_ms && key.2 > start_ms;
    let joined: Vec<Key> = groups.keys().filter(joins).copied().collect();
    for key in &joined {
        (start_ms, end_ms) = (start_ms.min(key.1), end_ms.max(key.2));
    }
    if end_ms <= over_ms {
        return Ok(());
    }
    let mut all: Option<Group> = None;
    for key in &joined {
        let taken = groups.remove(key).expect("it was found");
        all = Some(match all {
            None => taken,
            Some(mut into) => {
                into.rows += taken.rows;
                let merged = rule.merge(&states(&into.state), &states(&taken.state));
                into.state = merged.map_err(|rejected| rejected.reason)?.data;
                into
            }
        });
    }
    let key = (row.policy, start_ms, end_ms);
    if let Some(all) = all {
        groups.insert(key, all);
    }
    comes(groups, key, row, rule)
}

fn accumulate(group: &mut Group, row: &ClaimRow, retracts: bool, rule: &Rule) -> Result<(), String> {
    let kind = row.kind.unwrap_or_default();
    let columns = vec![
        abi::Column {
            validity: Some(vec![u8::from(row.kind.is_some())]),
            values: ColumnValues::Text(abi::TextValues {
                offsets: vec![0, kind.len() as u32],
                data: kind.as_bytes().to_vec(),
            }),
        },
        abi::Column {
            validity: Some(vec![u8::from(row.paid_cents.is_some())]),
            values: ColumnValues::Int(vec![row.paid_cents.unwrap_or_default()]),
        },
    ];
    let given = rule
        .accumulate(&abi::aggregate::Batch {
            groups: vec![0],
            states: states(&group.state),
            retracts: Some(vec![u8::from(retracts)]),
            columns,
        })
        .map_err(|rejected| rejected.reason)?;
    group.state = given.states.data;
    let is_null = given.results.validity.is_some_and(|validity| validity[0] == 0);
    group.result = match given.results.values {
        ColumnValues::Double(values) if !is_null => Cell::Double(values[0]),
        _ => Cell::Null,
    };
    Ok(())
}

fn states(state: &[u8]) -> abi::aggregate::States {
    abi::aggregate::States {
        offsets: vec![0, state.len() as u32],
        data: state.to_vec(),
    }
}
