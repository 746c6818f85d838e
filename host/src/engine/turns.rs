//! The turns of an engine: what a transaction takes from it, and what a start gives back to it.

use super::{Engine, Step, fingerprint::CLOCK, swap};
use crate::{
    error::{Error, Result},
    limits::STATE_BUCKETS,
    model::{
        deployment::{StoredVersion, TrialRecord, VersionChange},
        ids::{IdVec, TableId},
        rows::{KeyedRows, Message},
        turn::{LogRow, Snapshot, Turn},
    },
    operator::{StateMap, Stateful, clock::Clock, held_times::HeldTimes, lookup},
    plan::NodeKind,
    sink::Sink,
    state::take_entry,
};
use std::time::Duration;

impl Engine {
    // ---- a turn -------------------------------------------------------------------------------------------------------

    /// How many rows and entries the open turn holds.
    pub fn turn_entries(&mut self) -> usize {
        let states: usize = self
            .steps
            .iter_mut()
            .filter_map(Step::operator)
            .flat_map(|s| s.states())
            .map(|(_, state)| state.changed())
            .sum();
        let tables: usize = self.tables.iter_mut().map(|table| table.rows().changed_len()).sum();
        states + tables + self.sinks.iter().map(Sink::pending).sum::<usize>() + self.dead_letters.len()
    }

    /// Whether the open turn holds rows of a swap as they were found: no bound counts them, so that another swap over a changelog
    /// waits for the turn.
    pub fn holds_moved(&self) -> bool {
        self.sinks.iter().any(Sink::holds_moved)
    }

    /// How many bytes the open turn holds that do not collapse.
    pub fn turn_bytes(&self) -> usize {
        self.dead_letter_bytes + self.last_events.bytes() + self.sinks.iter().map(Sink::pending_bytes).sum::<usize>()
    }

    /// How long there is at least between two commits.
    pub fn commit_at_most_every(&self) -> Duration {
        self.plan.commit_at_most_every
    }

    /// Whether anything happened since the turn before.
    pub fn has_turn(&self) -> bool {
        self.counts.events > 0
            || self.position > 0
            || self.scanned.through > 0
            || self.has_changes()
            || self.has_forgotten
            || self.stopped.is_some()
            || !self.renewed.is_empty()
    }

    /// Whether a version changed since the turn before, or its trial ended, or aggregates took over, which somebody waits for.
    pub fn has_changes(&self) -> bool {
        let ended_trial = |step: &Step| matches!(step, Step::Stage(stage) if stage.ended_trial());
        !self.changes.is_empty() || !self.renewed.is_empty() || self.steps.iter().any(ended_trial)
    }

    /// Ends the turn: everything since the one before. `number` becomes that of the turn.
    ///
    /// # Errors
    /// As [`Engine::process`].
    pub fn take_turn(&mut self, number: u64) -> Result<Turn> {
        let mut log = Vec::new();
        for (name, state) in self.states() {
            log.extend(state.log_changes().into_iter().map(|entries| LogRow {
                state: name.clone(),
                entries,
            }));
        }
        self.measure_state();
        let log_bytes = log.iter().map(|row| row.entries.len()).sum();
        let mut compaction = std::mem::take(&mut self.compaction);
        let (snapshots, log_obsolete_through) = compaction.advance(number, log_bytes, &self.states());
        self.compaction = compaction;

        let tables = self.tables.iter_mut().map(|table| {
            let mut rows = KeyedRows::default();
            table
                .rows()
                .take_changes(|key, row| rows.push(key, row.map(|row| &**row)));
            rows
        });
        let tables = tables.collect();
        let mut messages: Vec<Message> = self.sinks.iter_mut().flat_map(Sink::take_messages).collect();
        // Those of a swap come behind those of the event that it is behind.
        messages.sort_by_key(|message| (message.sequence, message.of_swap, message.sink, message.ordinal));
        self.dead_letter_bytes = 0;
        self.has_forgotten = false;
        let mut changes = std::mem::take(&mut self.changes);
        let mut failed_rows = std::mem::take(&mut self.failed_rows);
        for (step, node) in self.steps.iter_mut().zip(&self.plan.nodes) {
            if let (Step::Stage(stage), NodeKind::Stage(plan)) = (step, &node.kind) {
                let (more, failed) = stage.take_changes(plan);
                changes.extend(more);
                failed_rows += failed;
            }
        }
        let mut made = match changes.is_empty() {
            true => Vec::new(),
            false => self.readers_by_now(),
        };
        made.append(&mut self.renewed);
        let failures = self.take_failures();
        self.counts.ahead_events += self.clock.as_mut().map_or(0, Clock::take_ahead);
        let turn = Turn {
            number,
            failures,
            changes,
            made,
            traces: self.last_events.take(),
            pauses: Vec::new(),
            failed_rows,
            position: std::mem::take(&mut self.position),
            receipt: std::mem::take(&mut self.receipt),
            scanned: std::mem::take(&mut self.scanned),
            time_ms: std::mem::take(&mut self.time_ms),
            counts: std::mem::take(&mut self.counts),
            late_rows: std::mem::take(&mut self.late_rows),
            watermark_ms: self.clock.as_ref().and_then(Clock::watermark_ms),
            sinks: self.sinks.iter_mut().map(Sink::take_rows).collect(),
            tables,
            messages,
            dead_letters: std::mem::take(&mut self.dead_letters),
            retried: Vec::new(),
            log,
            snapshots,
            log_obsolete_through,
        };
        self.check()?;
        Ok(turn)
    }

    /// Says how large the state of each step is.
    fn measure_state(&mut self) {
        for (step, measured) in self.steps.iter_mut().zip(self.metrics.steps()) {
            let Some(operator) = step.operator() else { continue };
            let states = operator.states();
            let entries: usize = states.iter().map(|(_, state)| state.live()).sum();
            let bytes: usize = states.iter().map(|(_, state)| state.table_bytes()).sum();
            measured.step.state_entries.set(entries as u64);
            measured.step.state_bytes.set(bytes as u64);
        }
    }

    // ---- state --------------------------------------------------------------------------------------------------------

    /// Every keyed state, by the name that the state log has for it.
    pub(super) fn states(&mut self) -> Vec<(String, &mut dyn StateMap)> {
        let steps = self
            .steps
            .iter_mut()
            .zip(&self.plan.nodes)
            .filter_map(|(step, node)| Some((step.operator()?, node)));
        let steps = steps.flat_map(|(operator, node)| {
            operator
                .states()
                .into_iter()
                .map(move |(name, state)| (format!("{}/{name}", node.name), state))
        });
        let sinks = self.sinks.iter_mut().zip(&self.plan.sinks).filter_map(|(sink, plan)| {
            let crate::plan::Target::Table { name, .. } = &plan.target else {
                return None;
            };
            Some((format!("table {name}/rows"), sink.state()?))
        });
        let clock = self.clock.iter_mut().flat_map(|clock| {
            let states = clock.states().into_iter();
            states.map(|(name, state)| (format!("{CLOCK}/{name}"), state))
        });
        steps.chain(sinks).chain(clock).collect()
    }

    /// Where the entries of a state hold times.
    fn held_times(&mut self, state: &str) -> Option<HeldTimes> {
        let (step, name) = state.split_once('/')?;
        if step == CLOCK {
            return self.clock.as_ref()?.held_times(name);
        }
        let at = self.plan.nodes.position(|node| node.name == step)?;
        self.steps.get_mut(at)?.operator()?.held_times(name)
    }

    /// Says that the entries of a state that are to be restored hold times in milliseconds, if they hold any. Whether they do.
    pub(crate) fn restores_ms(&mut self, state: &str) -> bool {
        let Some(times) = self.held_times(state) else {
            return false;
        };
        self.older.push((state.to_owned(), times));
        true
    }

    /// Every bucket of a state that holds anything, as snapshots.
    pub(crate) fn buckets(&mut self, state: &str) -> Vec<Snapshot> {
        let mut states = self.states();
        let found = states.iter_mut().find(|(name, _)| name == state);
        let buckets = found.into_iter().flat_map(|(_, map)| {
            (0..STATE_BUCKETS).map(|bucket| Snapshot {
                state: state.to_owned(),
                bucket,
                entries: map.log_bucket(bucket),
            })
        });
        buckets.filter(|snapshot| !snapshot.entries.is_empty()).collect()
    }

    /// How many entries each state has.
    pub fn state_sizes(&mut self) -> Vec<(String, usize)> {
        self.states()
            .into_iter()
            .map(|(name, state)| (name, state.live()))
            .collect()
    }

    /// Says before [`Engine::begin`] that what decided last in a step does not any more: the host died of it.
    pub fn take_back(&mut self, trial: TrialRecord) {
        self.changes.push(VersionChange::Trial(trial));
    }

    /// Tells the engine where the database ends, and which versions it knows of: trials go on, and a version that it does
    /// not know yet is part of the next turn. It is on trial where the plan has something for it to fall back on. Where other
    /// aggregates of the user's own computed the results in the states, they are computed anew (see `engine/renewal.rs`), and
    /// what differs is part of the next turn as well.
    ///
    /// # Errors
    /// Why those aggregates cannot take over. The engine is of no use then.
    pub fn begin(&mut self, position: u64, known: &[StoredVersion]) -> Result<()> {
        self.last_sequence = position;
        self.keeps_differences = false;
        for (step, node) in self.steps.iter_mut().zip(&self.plan.nodes) {
            let (Step::Stage(stage), NodeKind::Stage(plan)) = (step, &node.kind) else {
                continue;
            };
            let last = known.iter().rfind(|version| version.step == node.name);
            let goes_on = |last: &&StoredVersion| {
                last.deployment.version == plan.deployment.version && plan.is(&last.digest, &last.deployment.parameters)
            };
            match last.filter(goes_on) {
                Some(last) => stage.resume_trial(&last.trial),
                None => {
                    stage.begin_failures();
                    let change = swap::in_force(&node.name, plan, position + 1, stage.trial_left());
                    self.changes.push(change);
                }
            }
        }
        self.renew_results()
    }

    /// Puts entries of a snapshot or a row of the log in place.
    ///
    /// # Errors
    /// When there is no such state, or the bytes are none of it. The engine is of no use then.
    pub fn restore(&mut self, state: &str, entries: &[u8]) -> Result<()> {
        let broken = || {
            Error::mismatch(format!(
                "the stored state \"{state}\" cannot be read: its bytes are damaged"
            ))
        };
        let older = self.older.iter().find(|(name, _)| name == state);
        let older = older.map(|(_, times)| times.clone());
        let mut states = self.states();
        let Some((_, map)) = states.iter_mut().find(|(name, _)| name == state) else {
            return Err(Error::mismatch(format!(
                "the database holds state \"{state}\", which this pipeline does not have"
            )));
        };
        let (mut rest, mut row_bytes) = (entries, 0);
        while !rest.is_empty() {
            let (key, value) = take_entry(&mut rest).ok_or_else(broken)?;
            row_bytes = row_bytes.max(key.len() + value.map_or(0, <[u8]>::len));
            let is_read = match &older {
                None => map.restore_entry(key, value),
                Some(times) => {
                    let key = times.key_in_us(key).ok_or_else(broken)?;
                    let value = value.map(|value| times.value_in_us(value).ok_or_else(broken));
                    map.restore_entry(&key, value.transpose()?.as_deref())
                }
            };
            if !is_read {
                return Err(broken());
            }
        }
        self.row_bytes = row_bytes.max(self.row_bytes);
        Ok(())
    }

    /// Called once after everything was restored.
    pub fn restored(&mut self) {
        for operator in self.steps.iter_mut().filter_map(Step::operator) {
            operator.restored();
        }
        self.sinks.iter_mut().for_each(Sink::restored);
    }

    /// Called once after the lookup tables were filled.
    pub fn tables_restored(&mut self) {
        for table in &mut self.tables {
            let largest = table.rows().iter().map(|(key, row)| key.len() + row.len()).max();
            self.row_bytes = largest.unwrap_or(0).max(self.row_bytes);
        }
    }

    /// For turns that nobody keeps: from now on they come without the changes of states and tables.
    pub fn leave_unlogged(&mut self) {
        self.last_events.leave_out();
        self.states().into_iter().for_each(|(_, state)| state.leave_unlogged());
        self.tables.iter_mut().for_each(|table| table.rows().leave_unlogged());
    }

    /// The lookup tables, to be filled before the first batch.
    pub fn tables(&mut self) -> &mut IdVec<TableId, lookup::Table> {
        &mut self.tables
    }
}
