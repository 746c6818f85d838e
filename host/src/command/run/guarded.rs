//! Databases of a run, with what is remembered beside them of guests that the host may die of.

use crate::{
    command::terminal::say,
    error::Result,
    limits::{GUEST_DEATHS_IN_A_ROW_MAX, GUEST_DEATHS_MAX},
    model::harm::Harm,
    storage::{Backend, HostFile, Location, Recovered},
    wasm::{
        StageHost,
        watch::{Notes, PipelineWatch},
    },
};
use std::sync::Arc;

/// The databases that are held.
pub(super) struct Guarded<'h> {
    host: &'h StageHost,
    /// Whether what the host died of may run again.
    again: bool,
    held: Vec<(Location, Arc<dyn Backend>, Arc<Notes>)>,
    /// What a crash left in write-ahead logs is taken in once, and stays so until the pipelines are open.
    recovered: Vec<Recovered>,
}

impl<'h> Guarded<'h> {
    pub(super) fn new(host: &'h StageHost, again: bool) -> Self {
        Self {
            host,
            again,
            held: Vec::new(),
            recovered: Vec::new(),
        }
    }

    /// Lets go of what is needed until the pipelines are open.
    pub(super) fn are_open(self) {
        drop(self.recovered);
    }

    /// Holds the database at `location`, in which several pipelines may be, and gives a host that watches the guests of one.
    pub(super) fn hold(&mut self, location: &Location, pipeline: &str) -> Result<(Arc<dyn Backend>, StageHost)> {
        let known = self.held.iter().find(|(known, ..)| known == location);
        let (database, notes) = match known {
            Some((_, database, notes)) => (database.clone(), notes.clone()),
            None => {
                let database = location.hold()?;
                self.recovered.push(database.recover()?);
                let HostFile { path, like } = database.notes();
                let (notes, left) = Notes::open(&path, &like, database.clone())?;
                let died = database.enter_harms(left)?;
                notes.clear()?;
                died.iter().for_each(say_died);
                self.held.push((location.clone(), database.clone(), notes.clone()));
                (database, notes)
            }
        };
        if self.again {
            database.forget_harms(pipeline, None)?;
        }
        let harms = database.inspect().harms(pipeline)?;
        let watch = PipelineWatch::new(notes, pipeline, harms);
        Ok((database, self.host.with_watch(Arc::new(watch))))
    }
}

/// Says what the process before died of.
fn say_died(harm: &Harm) {
    let last = &harm.last;
    let what = match last.candidate {
        true => "candidate".to_owned(),
        false => format!("version {}", last.version),
    };
    let next = match harm.is_too_much() {
        true => "it is not run again".to_owned(),
        false => format!(
            "after {GUEST_DEATHS_MAX} deaths at one place, or {GUEST_DEATHS_IN_A_ROW_MAX} in a row, it is not run again"
        ),
    };
    say!(
        Warning,
        "weir: pipeline {}, step {}, {what}, module {}: {harm}; {next}",
        last.pipeline,
        last.step,
        last.digest.get(..12).unwrap_or(&last.digest)
    );
}
