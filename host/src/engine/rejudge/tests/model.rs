//! Rows and rules: what tables, crossings and dead letters come to.

use super::*;

/// A step of the model: what decides, and what does where that fails on trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) rule: Rule,
    pub(super) trial: Option<(Rule, u64)>,
}

/// What a key's row has become behind the rules.
pub(super) type Outputs = (Option<Given>, Option<Given>);

/// A row that goes, that comes, or one in the place of another, by their numbers.
pub(super) struct Change {
    pub(super) goes: Option<i64>,
    pub(super) comes: Option<i64>,
}

/// The event is a dead letter.
pub(super) struct Dead;

/// Rows and rules.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) changelog: Changelog,
    pub(super) current: BTreeMap<String, i64>,
    pub(super) steps: [Running; 2],
    pub(super) raised: BTreeSet<String>,
    pub(super) crossed: [Vec<String>; 2],
    pub(super) dead: u64,
}

impl Model {
    pub(super) fn output(&self, n: i64) -> Outputs {
        let first = self.steps[0].rule.judge(n);
        (first, first.and_then(|_| self.steps[1].rule.judge(n)))
    }

    /// What an event leaves of the current row of a key.
    pub(super) fn after(&self, k: &str, n: i64, gone: bool) -> Option<i64> {
        match (self.changelog, gone) {
            (Changelog::LastValue, true) => None,
            (Changelog::LastValue, false) => Some(n),
            (Changelog::Aggregate | Changelog::Window, _) => Some(self.current.get(k).copied().unwrap_or(0) + n),
        }
    }

    /// One event.
    pub(super) fn event(&mut self, k: &str, n: i64, gone: bool) {
        let (before, after) = (self.current.get(k).copied(), self.after(k, n, gone));
        if before == after {
            return;
        }
        let (was, steps) = (self.outputs(), self.steps);
        let Ok(touched) = self.judge(k, before, after, &was) else {
            self.steps = steps;
            self.dead += 1;
            return;
        };
        match after {
            Some(n) => self.current.insert(k.to_owned(), n),
            None => self.current.remove(k),
        };
        self.cross(&was, touched);
    }

    /// Lets both rules judge a change. Gives the keys whose rows behind the first rule may be others, in their order.
    pub(super) fn judge(
        &mut self,
        k: &str,
        before: Option<i64>,
        after: Option<i64>,
        was: &BTreeMap<String, Outputs>,
    ) -> Result<Vec<String>, Dead> {
        let change = Change {
            goes: before,
            comes: after,
        };
        let (mut touched, mut changes) = (Vec::new(), Vec::new());
        if self.step(0, &[change])? {
            // All rows are judged back.
            for (k, &n) in &self.current {
                let (on_trial, now) = (was[k].0, self.steps[0].rule.judge(n));
                if on_trial != now {
                    touched.push(k.clone());
                    changes.push(Change {
                        goes: on_trial.map(|_| n),
                        comes: now.map(|_| n),
                    });
                }
            }
        }
        let first = self.steps[0].rule;
        let passes = |n: &i64| first.judge(*n).is_some();
        changes.push(Change {
            goes: before.filter(passes),
            comes: after.filter(passes),
        });
        self.step(1, &changes)?;
        touched.push(k.to_owned());
        Ok(touched)
    }

    /// What a rule makes of some changes; whether its version is taken back.
    pub(super) fn step(&mut self, at: usize, changes: &[Change]) -> Result<bool, Dead> {
        let (step, mut taken_back) = (&mut self.steps[at], false);
        for Change { goes, comes } in changes {
            let fails = |rule: Rule| comes.is_some_and(|n| rule.fails(n));
            match step.trial {
                Some((fallback, _)) if fails(step.rule) && !fails(fallback) => {
                    *step = Running {
                        rule: fallback,
                        trial: None,
                    };
                    taken_back = true;
                    continue;
                }
                _ if fails(step.rule) && self.changelog != Changelog::Window => return Err(Dead),
                Some((fallback, left)) => {
                    let left = left.saturating_sub(goes.iter().chain(comes).count() as u64);
                    step.trial = (left > 0).then_some((fallback, left));
                }
                None => {}
            }
            // No event is to blame for rows that may come because time went on: each is a dead letter of its own.
            self.dead += u64::from(fails(step.rule));
        }
        Ok(taken_back)
    }

    pub(super) fn outputs(&self) -> BTreeMap<String, Outputs> {
        self.current.iter().map(|(k, &n)| (k.clone(), self.output(n))).collect()
    }

    /// Follows the crossings of keys that one event, or a swap, touched in this order.
    pub(super) fn cross(&mut self, was: &BTreeMap<String, Outputs>, touched: Vec<String>) {
        let mut seen = BTreeSet::new();
        for k in touched {
            let now = self.current.get(&k).and_then(|&n| self.output(n).0);
            let before = was.get(&k).and_then(|outputs| outputs.0);
            if !seen.insert(k.clone()) || (before.is_none() && now.is_none()) {
                continue;
            }
            let (raise, hold) = now.map_or((false, false), |now| (now.raise, now.raise || now.hold));
            if raise && self.raised.insert(k.clone()) {
                self.crossed[0].push(k);
            } else if !hold && self.raised.remove(&k) {
                self.crossed[1].push(k);
            }
        }
    }

    /// What the next version of a step would fall back on.
    pub(super) fn good(&self, at: usize) -> Rule {
        let step = self.steps[at];
        step.trial.map_or(step.rule, |(good, _)| good)
    }

    /// Another version, with what it falls back on; whether it takes over.
    pub(super) fn swap(&mut self, at: usize, rule: Rule, good: Rule) -> bool {
        // Nor may the rule behind fail on what is let through by now. What failed before may fail again.
        let rules = self.steps.map(|step| step.rule);
        let mut others = rules;
        others[at] = rule;
        let failed = |rules: [Rule; 2], n: i64| {
            let reached = rules[0].judge(n).is_some();
            [rules[0].fails(n), reached && rules[1].fails(n)]
        };
        let fails = self.current.values().any(|&n| {
            let (before, after) = (failed(rules, n), failed(others, n));
            let newly = before.iter().zip(after).any(|(before, after)| after && !before);
            // Nor may it be taken back at once, where what it falls back on is not the one before.
            newly || after[at] && !good.fails(n)
        });
        if fails {
            return false;
        }
        let was = self.outputs();
        self.steps[at] = Running {
            rule,
            trial: Some((good, TRIAL_ROWS)),
        };
        let is = self.outputs();
        let touched = was.keys().filter(|k| was[*k].0 != is[*k].0).cloned().collect();
        self.cross(&was, touched);
        true
    }

    /// What a comparison of a candidate would say: how many current rows there are, of how many something comes under the
    /// candidate alone, under the live version alone, and otherwise; and how many the candidate fails on.
    pub(super) fn compared(&self, at: usize, rule: Rule) -> [u64; 5] {
        let mut others = self.steps.map(|step| step.rule);
        others[at] = rule;
        let mut compared = [self.current.len() as u64, 0, 0, 0, 0];
        for &n in self.current.values() {
            let first = others[0].judge(n);
            let (was, is) = (self.output(n), (first, first.and_then(|_| others[1].judge(n))));
            let fails = [others[0].fails(n), first.is_some() && others[1].fails(n)];
            let failed = [
                self.steps[0].rule.fails(n),
                was.0.is_some() && self.steps[1].rule.fails(n),
            ];
            let newly = fails.iter().zip(failed).filter(|(is, was)| **is && !was);
            compared[4] += newly.count() as u64;
            // Nobody reads the other columns behind the second rule.
            let level = |given: Option<Given>| {
                given.map(|given| Given {
                    raise: false,
                    hold: false,
                    ..given
                })
            };
            let mut moved = vec![(level(was.1), level(is.1))];
            moved.extend((at == 0).then_some((was.0, is.0)));
            moved.retain(|(was, is)| was != is);
            let live = moved.iter().any(|(was, _)| was.is_some());
            let candidate = moved.iter().any(|(_, is)| is.is_some());
            match (live, candidate) {
                _ if moved.is_empty() => {}
                (false, _) => compared[1] += 1,
                (true, false) => compared[2] += 1,
                (true, true) => compared[3] += 1,
            }
        }
        compared
    }

    pub(super) fn has_tables(&self) -> bool {
        has_tables(self.changelog, self.keyed())
    }

    pub(super) fn keyed(&self) -> bool {
        self.steps[0].rule.keyed
    }

    pub(super) fn tables(&self) -> BTreeMap<&'static str, Vec<Json>> {
        let mut tables: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
        let mut levels: [BTreeMap<i64, (i64, i64, i64)>; 2] = Default::default();
        for (k, &n) in &self.current {
            let (first, second) = self.output(n);
            for (at, given) in [first, second].into_iter().enumerate() {
                let Some(given) = given else { continue };
                let of_level = levels[at].entry(given.level).or_insert((0, 0, i64::MIN));
                *of_level = (of_level.0 + 1, of_level.1 + n, of_level.2.max(n));
                if self.has_tables() {
                    tables
                        .entry(["first", "second"][at])
                        .or_default()
                        .push(json!([k, n, given.level]));
                }
            }
        }
        let [first, second] = levels;
        tables.insert(
            "levels",
            first
                .iter()
                .map(|(level, (rows, total, _))| json!([level, rows, total]))
                .collect(),
        );
        tables.insert(
            "all",
            second
                .iter()
                .map(|(level, (rows, _, greatest))| json!([level, rows, greatest]))
                .collect(),
        );
        if !self.keyed() {
            return tables;
        }
        tables.insert("raised", self.crossed[0].iter().map(|k| json!([k])).collect());
        tables.insert("cleared", self.crossed[1].iter().map(|k| json!([k])).collect());
        tables
    }
}
