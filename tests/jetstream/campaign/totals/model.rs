//! A plain model of what events and swaps leave: current rows, two rules, and which keys are raised.

use super::{DEPLOYED, FILED, Given, Rule, TRIAL_ROWS};
use std::collections::BTreeMap;
use weir::model::deployment::StoredVersion;
use weir_tests::{
    swaps::key_of,
    table::{Cell, Table},
};

/// A message, by the output of the crossing: of raised keys, or of cleared ones.
pub(in crate::campaign) type Alert = (bool, String);

/// What both rules make of a current row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    n: i64,
    given: Given,
}

/// What the events leave, under the versions that the database names.
#[derive(Clone, Debug)]
pub(in crate::campaign) struct Model {
    current: BTreeMap<String, i64>,
    deployed: Rule,
    filed: Rule,
    /// What decides where the version on trial fails, and for how many rows it still is.
    trial: Option<(Rule, u64)>,
    /// Sequence and step of each dead letter.
    pub(in crate::campaign) dead_letters: Vec<(u64, &'static str)>,
    /// Where versions were taken back.
    pub(in crate::campaign) taken_back: Vec<u64>,
    /// Swaps that took place behind the same event as a later one, which alone the database names.
    pub(in crate::campaign) overtaken: usize,
}

/// All that was deployed, or stood in the pipeline file, by label.
pub(in crate::campaign) type Rules = BTreeMap<i64, Rule>;

impl Model {
    /// Goes over the events `1..=last` as the versions say, and holds the messages to it that came of each. Some swaps are
    /// known by their messages alone.
    ///
    /// # Panics
    /// Where versions or messages are others than they must be.
    #[track_caller]
    pub(in crate::campaign) fn over(
        last: u64,
        versions: &[StoredVersion],
        [deployed, filed]: [&Rules; 2],
        mut alerts: BTreeMap<u64, Vec<Alert>>,
    ) -> Self {
        let at = |step: &str| -> BTreeMap<u64, &StoredVersion> {
            let of_step = versions.iter().filter(|version| version.step == step);
            of_step.map(|version| (version.first_sequence, version)).collect()
        };
        let (of_deployed, of_filed) = (at(DEPLOYED), at(FILED));
        let first = |of_step: &BTreeMap<u64, &StoredVersion>| Rule::of(&of_step[&1].deployment);
        let mut model = Self {
            current: BTreeMap::new(),
            deployed: first(&of_deployed),
            filed: first(&of_filed),
            trial: None,
            dead_letters: Vec::new(),
            taken_back: Vec::new(),
            overtaken: 0,
        };
        model.begin_trial(of_deployed[&1]);
        for sequence in 0..=last {
            let mut sent = match sequence {
                0 => Vec::new(),
                _ => model.event(sequence),
            };
            let mut found = alerts.remove(&sequence).unwrap_or_default();
            sent.sort();
            found.sort();
            let rest = without(&found, &sent);
            let rest =
                rest.unwrap_or_else(|| panic!("event {sequence} sends {sent:?}, found are {found:?}: {model:?}"));
            let next = sequence + 1;
            let target = (
                of_deployed.get(&next).map(|version| Rule::of(&version.deployment)),
                of_filed.get(&next).map(|version| Rule::of(&version.deployment)),
            );
            if sequence > 0 && target != (None, None) {
                let target = (target.0.unwrap_or(model.deployed), target.1.unwrap_or(model.filed));
                let swapped = model.swapped(target, (deployed, filed), &rest);
                model.overtaken += swapped.unwrap_or_else(|| {
                    panic!("no swaps behind {sequence} lead to {target:?} and send {rest:?}: {model:?}, {versions:?}")
                });
                let before = std::mem::replace(&mut model.deployed, target.0);
                model.filed = target.1;
                if let Some(version) = of_deployed.get(&next).filter(|_| before != target.0) {
                    model.begin_trial(version);
                }
            } else {
                assert!(
                    rest.is_empty(),
                    "{rest:?} behind {sequence}, where no version took over"
                );
            }
        }
        assert!(alerts.is_empty(), "messages of no event: {alerts:?}");
        let by_versions = of_deployed
            .values()
            .filter(|version| version.trial.taken_back.is_some());
        let by_versions: Vec<u64> = by_versions.map(|version| version.taken_back_from() - 1).collect();
        assert_eq!(model.taken_back, by_versions, "where versions are taken back");
        model
    }

    fn begin_trial(&mut self, version: &StoredVersion) {
        let fallback = version.fallback.as_ref().map(Rule::of);
        self.trial = fallback.map(|fallback| (fallback, TRIAL_ROWS));
    }

    fn row(&self, n: i64) -> Option<Row> {
        self.deployed.judge(n)?;
        self.filed.judge(n).map(|given| Row { n, given })
    }

    fn rows(&self) -> BTreeMap<String, Row> {
        let rows = self.current.iter();
        rows.filter_map(|(k, &n)| Some((k.clone(), self.row(n)?))).collect()
    }

    /// One event. Gives its messages.
    fn event(&mut self, n: u64) -> Vec<Alert> {
        let k = key_of(n).to_string();
        let before = self.current.get(&k).copied();
        let after = before.unwrap_or_default() + n as i64;
        let (rows, was) = (self.rows(), self.clone());
        match self.judge(before, after) {
            Ok(taken_back) => {
                self.current.insert(k, after);
                self.taken_back.extend(taken_back.then_some(n));
                crossed(&rows, &self.rows())
            }
            Err(step) => {
                *self = was;
                self.dead_letters.push((n, step));
                Vec::new()
            }
        }
    }

    /// Lets both rules judge a change; gives whether a version was taken back at it, or which step the event is a dead letter
    /// of.
    fn judge(&mut self, before: Option<i64>, after: i64) -> Result<bool, &'static str> {
        // What the rule behind has to take.
        let mut come = Vec::new();
        let mut taken_back = false;
        match self.trial {
            Some((fallback, _)) if self.deployed.fails(after) && !fallback.fails(after) => {
                // All current rows are judged back.
                let differs = |n: &i64| self.deployed.judge(*n) != fallback.judge(*n);
                come.extend(self.current.values().copied().filter(differs));
                (self.deployed, self.trial, taken_back) = (fallback, None, true);
            }
            _ if self.deployed.fails(after) => return Err(DEPLOYED),
            Some((fallback, left)) => {
                let left = left.saturating_sub(1 + u64::from(before.is_some()));
                self.trial = (left > 0).then_some((fallback, left));
            }
            None => {}
        }
        come.push(after);
        let fails = |n: &i64| self.deployed.judge(*n).is_some() && self.filed.fails(*n);
        match come.iter().any(fails) {
            true => Err(FILED),
            false => Ok(taken_back),
        }
    }

    /// Whether other rules fail on a current row that those in force take.
    pub(in crate::campaign) fn is_refused(&self, deployed: Rule, filed: Rule) -> bool {
        self.current.values().any(|&n| {
            let fails = |deployed: Rule, filed: Rule| {
                let reached = deployed.judge(n).is_some();
                [deployed.fails(n), reached && filed.fails(n)]
            };
            let (before, after) = (fails(self.deployed, self.filed), fails(deployed, filed));
            before.iter().zip(after).any(|(before, after)| after && !before)
        })
    }

    /// Looks for swaps, one after the other, that lead to both rules of `target` and send just these messages. Gives how many
    /// there are that later ones overtook.
    fn swapped(&self, target: (Rule, Rule), known: (&Rules, &Rules), alerts: &[Alert]) -> Option<usize> {
        if (self.deployed, self.filed) == target && alerts.is_empty() {
            return Some(0);
        }
        let next = |known: &Rules, now: Rule, last: Rule| -> Vec<Rule> {
            let later = known.range(now.label..).map(|(_, rule)| *rule);
            let mut next: Vec<Rule> = later
                .filter(|rule| rule.label > now.label && rule.label <= last.label)
                .collect();
            next.reverse();
            next
        };
        let deployed = next(known.0, self.deployed, target.0);
        let filed = next(known.1, self.filed, target.1);
        let next = deployed.into_iter().map(|rule| (rule, self.filed));
        let next = next.chain(filed.into_iter().map(|rule| (self.deployed, rule)));
        for (deployed, filed) in next.filter(|(deployed, filed)| !self.is_refused(*deployed, *filed)) {
            let swapped = Self {
                deployed,
                filed,
                ..self.clone()
            };
            let mut sent = crossed(&self.rows(), &swapped.rows());
            sent.sort();
            let Some(rest) = without(alerts, &sent) else { continue };
            if let Some(overtaken) = swapped.swapped(target, known, &rest) {
                let is_overtaken = |now: Rule, next: Rule, last: Rule| next != now && next != last;
                let is_overtaken =
                    is_overtaken(self.deployed, deployed, target.0) || is_overtaken(self.filed, filed, target.1);
                return Some(overtaken + usize::from(is_overtaken));
            }
        }
        None
    }

    /// A model of nothing but current rows, and the rules in force.
    pub(in crate::campaign) fn of_rows(current: &[i64], deployed: Rule, filed: Rule) -> Self {
        let current = current.iter().enumerate();
        Self {
            current: current.map(|(at, n)| (at.to_string(), *n)).collect(),
            deployed,
            filed,
            trial: None,
            dead_letters: Vec::new(),
            taken_back: Vec::new(),
            overtaken: 0,
        }
    }

    /// How much of everything there is.
    pub(in crate::campaign) fn summary(&self, versions: &[StoredVersion]) -> String {
        let of = |step: &str| versions.iter().filter(|version| version.step == step).count();
        format!(
            "rules over a changelog: {} swaps that the database names, {} of the pipeline file, {} that others overtook, {} taken \
             back, {} dead letters",
            of(DEPLOYED),
            of(FILED),
            self.overtaken,
            self.taken_back.len(),
            self.dead_letters.len()
        )
    }

    /// The tables, as they should be read.
    pub(in crate::campaign) fn tables(&self) -> BTreeMap<String, Table> {
        let text = |k: &str| Cell::Text(k.to_owned());
        let labelled = |rule: &dyn Fn(i64) -> Option<Given>| -> Vec<Vec<Cell>> {
            let rows = self.current.iter().filter_map(|(k, &n)| {
                let label = rule(n)?.label;
                Some(vec![text(k), Cell::Int(n), Cell::Int(label)])
            });
            rows.collect()
        };
        let let_through = labelled(&|n| self.deployed.judge(n));
        let total: i64 = let_through
            .iter()
            .filter_map(|row| match row[1] {
                Cell::Int(n) => Some(n),
                _ => None,
            })
            .sum();
        let by_label = [self.deployed.label, let_through.len() as i64, total].map(Cell::Int);
        let by_label = match let_through.is_empty() {
            true => Vec::new(),
            false => vec![by_label.to_vec()],
        };
        let current = self.current.iter().map(|(k, n)| vec![text(k), Cell::Int(*n)]);
        let table = |name: &str, columns: &str, mut rows: Vec<Vec<Cell>>| {
            rows.sort();
            let columns = columns.split(' ').map(str::to_owned).collect();
            (name.to_owned(), Table { columns, rows })
        };
        BTreeMap::from([
            table("current", "k n", current.collect()),
            table("let_through", "k n label", let_through),
            table("kept", "k n label", labelled(&|n| self.row(n).map(|row| row.given))),
            table("by_label", "label keys total", by_label),
        ])
    }
}

/// The messages of the keys that crossed: each has the row that it has by now, or the one that is gone.
fn crossed(before: &BTreeMap<String, Row>, after: &BTreeMap<String, Row>) -> Vec<Alert> {
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let alerts = keys.into_iter().filter_map(|k| {
        let is_raised = |rows: &BTreeMap<String, Row>| rows.get(k).is_some_and(|row| row.given.raise);
        let raised = is_raised(after);
        let row = after.get(k).or(before.get(k)).filter(|_| is_raised(before) != raised)?;
        let Row { n, given } = row;
        Some((raised, format!(r#"{{"k":"{k}","n":{n},"label":{}}}"#, given.label)))
    });
    alerts.collect()
}

/// What is left of some messages without others; nothing where those are not all among them. Both are sorted.
fn without(all: &[Alert], some: &[Alert]) -> Option<Vec<Alert>> {
    let mut rest = all.to_vec();
    for alert in some {
        let at = rest.iter().position(|other| other == alert)?;
        rest.remove(at);
    }
    Some(rest)
}
