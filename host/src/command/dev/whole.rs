//! The whole stream through one version of a pipeline, into a scratch database: what the tables would be.

use crate::{
    command::terminal,
    command::{diff, test::Cases},
    engine::Engine,
    error::Result,
    files::private_file,
    format::Decoder,
    limits::BATCH_EVENTS_MAX,
    nats::{Consumer, Gap, JetStreamSource, JetStreamSourceOptions, Nats, StreamRange, Until},
    plan::Plan,
    runtime::pipeline::{self, Swaps},
    source::{NoAcknowledge, Stop},
    storage::{Location, Messages, Storage},
    wasm::StageHost,
};
use std::{
    io::{BufWriter, Write},
    sync::Arc,
};

/// A version of a pipeline, and the tables that it makes of the stream.
pub(super) struct Whole {
    pub(super) plan: Arc<Plan>,
    folder: tempfile::TempDir,
}

impl Whole {
    /// Of no event yet. Lookup tables begin as those of the cases do.
    pub(super) fn new(plan: Arc<Plan>, cases: Option<&Cases>) -> Result<Self> {
        let folder = private_file::temporary_folder("weir-dev-")?;
        let whole = Self { plan, folder };
        let mut storage = whole.open()?;
        cases.map_or(Ok(()), |cases| cases.load_start(&whole.plan, &mut *storage))?;
        Ok(whole)
    }

    fn location(&self) -> Location {
        Location::in_folder(self.folder.path(), "whole")
    }

    fn open(&self) -> Result<Box<dyn Storage>> {
        self.location().hold()?.open(self.plan.clone(), Messages::Drop)
    }

    /// Goes on to the last event that the stream holds now, as `weir replay --from-stream` would; how many events there
    /// are up to there.
    pub(super) fn catch_up(&self, nats: &Nats, host: &StageHost, stop: &Stop) -> Result<u64> {
        let plan = &self.plan;
        let range = StreamRange::find(nats, &plan.stream, &plan.subjects(), None, None)?;
        let mut storage = self.open()?;
        storage.claim(&range.identity)?;
        let stored = storage.stored().clone();
        let mut engine = Engine::new(plan.clone(), host, stored.seed)?;
        storage.load(&mut engine)?;
        engine.begin(stored.position, &self.location().inspect().versions(&plan.name)?)?;
        let before = stored.counts.events;
        let options = JetStreamSourceOptions {
            stream: plan.stream.clone(),
            subjects: plan.subjects(),
            consumer: Consumer::Ephemeral(format!("weir-dev-{}-{:016x}", plan.name, fastrand::u64(..))),
            position: stored.position.max(range.first.saturating_sub(1)),
            scanned: stored.scanned,
            latest_only: plan.latest_only,
            tombstones: plan.tombstones.clone(),
            gap: Gap::Refuse,
            until: Until::Sequence(range.last),
            has_ticks: plan.ticks.is_some(),
            ticks: None,
        };
        let decoder = Decoder::of(plan, BATCH_EVENTS_MAX)?;
        let source = JetStreamSource::open(nats, options, decoder, stop.clone())?;
        let metrics = engine.metrics().clone();
        drop(pipeline::run(source, engine, storage, NoAcknowledge, Swaps::none())?);
        Ok(before + metrics.events())
    }

    /// Shows what is otherwise in these tables than in those of another version.
    pub(super) fn show_changes_since(&self, before: &Self) -> Result<()> {
        let mut out = BufWriter::new(terminal::stdout());
        diff::write_changes(&before.location(), &self.location(), &mut out)?;
        out.flush().map_err(|cause| crate::command::write_failed(&cause))
    }
}

/// Whether two pipeline files differ in nothing but the parameters of rules: then a running pipeline can be swapped.
pub(super) fn differ_in_parameters_alone(a: &toml::Table, b: &toml::Table) -> bool {
    let without = |file: &toml::Table| {
        let mut file = file.clone();
        for step in file.get_mut("step")?.as_array_mut()? {
            if let Some(stage) = step.get_mut("stage").and_then(toml::Value::as_table_mut) {
                stage.remove("parameters");
            }
        }
        Some(file)
    };
    a == b || without(a).is_some_and(|a| without(b) == Some(a))
}

#[cfg(test)]
mod tests {
    use super::differ_in_parameters_alone;

    #[test]
    fn another_parameter_is_swapped_and_another_step_is_not() {
        let file = "name = 'a'\n[[step]]\nname = 's'\n[step.stage]\nmodule = 'a.wasm'\nparameters = { n = 1 }\n";
        let table = |text: &str| text.parse::<toml::Table>().unwrap();
        let differs = |from: &str, to: &str| {
            let other = file.replace(from, to);
            assert!(from.is_empty() || other != file);
            differ_in_parameters_alone(&table(file), &table(&other))
        };
        assert!(differs("", ""));
        assert!(differs("n = 1", "m = 'two'"));
        assert!(differs("parameters = { n = 1 }", ""));
        assert!(!differs("a.wasm", "b.wasm"));
        assert!(!differs("'s'", "'t'"));
    }
}
