//! A guest that is there when it is called.

use super::{
    call::{Bounds, Live, World},
    context::GuestContext,
    host::StageHost,
    lines::Lines,
    log::Said,
    places::Place,
};
use crate::{
    definition::StageLimits,
    metrics::{Failure, ModuleMetrics, ModuleVersion},
    model::{
        guest::{GuestFailure, ParameterValue},
        harm::Doing,
    },
    wasm::watch::GuestWatch,
};
use std::{sync::Arc, time::Instant};
use wasmtime::Store;

/// What every instance of a component shares.
pub(super) struct Code<W: World> {
    pub(super) pre: W::Pre,
    pub(super) lines: Arc<Lines>,
    /// What the component calls itself, and the log it.
    pub(super) name: String,
    /// Bytes that the host keeps of each instance.
    pub(super) host_bytes: usize,
    /// What it carries beside its code.
    pub(super) attachment: Option<Arc<[u8]>>,
}

/// A guest that can be called. It is instantiated at the first call, again after each failure, and now and then, so that
/// what an instance keeps cannot grow for ever.
pub(super) struct Guest<W: World> {
    host: StageHost,
    /// Absent where another host loaded the module.
    code: Option<Arc<Code<W>>>,
    parameters: Vec<(String, ParameterValue)>,
    bounds: Bounds,
    live: Option<Live<W>>,
    /// Whether an instance once had no memory left for a call, after others.
    leaks: bool,
    /// Where it lives, from its first instance on.
    place: Option<Place>,
    watch: GuestWatch,
    /// What all of its instances said.
    said: Said,
    measured: Arc<ModuleVersion>,
}

impl<W: World> Guest<W> {
    pub(super) fn new(
        host: &StageHost,
        code: Option<Arc<Code<W>>>,
        digest: &str,
        parameters: Vec<(String, ParameterValue)>,
        limits: &StageLimits,
    ) -> Self {
        let rule = code.as_ref().map(|code| code.name.clone());
        Self {
            host: host.clone(),
            code,
            parameters,
            bounds: Bounds::new(limits),
            live: None,
            leaks: false,
            place: None,
            watch: GuestWatch::default(),
            said: Said::default(),
            measured: Arc::new(ModuleVersion {
                step: host.whose.step.clone(),
                version: host.whose.version,
                is_candidate: host.whose.is_candidate,
                digest: digest.to_owned(),
                rule: rule.unwrap_or_default(),
                metrics: ModuleMetrics::default(),
            }),
        }
    }

    /// The same, under a watch.
    pub(super) fn with_watch(mut self, watch: GuestWatch) -> Self {
        self.watch = watch;
        self
    }

    /// Why the host does not run it any more.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.watch.refusal()
    }

    /// What its calls come to.
    pub(super) fn measured(&self) -> &Arc<ModuleVersion> {
        &self.measured
    }

    /// Instantiates and configures the guest, if that is to be done.
    ///
    /// # Errors
    /// What the guest says against its parameters, or how it failed.
    pub(super) fn ready(&mut self) -> Result<(), GuestFailure> {
        let _noted = self.watch.begin(Doing::Prepare);
        self.live().map(|_| ())
    }

    /// An instance that can be called, and what those before it said.
    fn live(&mut self) -> Result<(&mut Live<W>, &mut Said), GuestFailure> {
        let live = match self.live.take().filter(|live| !live.is_worn(self.leaks)) {
            Some(live) => live,
            None => {
                if let Some(reason) = self.refusal() {
                    return Err(GuestFailure::new(format!(
                        "{reason}; it is not run again, unless somebody says --again"
                    )));
                }
                if self.place.is_none() {
                    self.place = Some(self.host.place().map_err(GuestFailure::of_process)?);
                }
                let Some(code) = &self.code else {
                    return Err(GuestFailure::new("its module was loaded by another host"));
                };
                let mut live = Live::new(&self.host, code, self.bounds)?;
                live.configure(&self.parameters, self.bounds)?;
                self.measured.metrics.instances.add(1);
                live
            }
        };
        Ok((self.live.insert(live), &mut self.said))
    }

    /// Calls the guest with so many rows and has its answer checked.
    ///
    /// # Errors
    /// How the call failed, or which promise of the contract the answer breaks. The next call is to a new instance.
    pub(super) fn work<T, Answer>(
        &mut self,
        rows: usize,
        call: impl FnOnce(&W, &mut Store<GuestContext>) -> wasmtime::Result<T>,
        check: impl FnOnce(T) -> Result<Answer, String>,
    ) -> Result<Answer, GuestFailure> {
        let _noted = self.watch.begin(Doing::Call);
        let begun = Instant::now();
        let answer = self.try_work(call, check);
        let metrics = &self.measured.metrics;
        metrics.calls.add(1);
        metrics.rows.add(rows as u64);
        metrics.busy.add(begun.elapsed());
        if let Some(failure) = answer.as_ref().err().and_then(Failure::of) {
            metrics.failures.add(failure, 1);
        }
        answer
    }

    fn try_work<T, Answer>(
        &mut self,
        call: impl FnOnce(&W, &mut Store<GuestContext>) -> wasmtime::Result<T>,
        check: impl FnOnce(T) -> Result<Answer, String>,
    ) -> Result<Answer, GuestFailure> {
        let bounds = self.bounds;
        let (live, said) = self.live()?;
        let used = live.is_used();
        let answer = live.work(bounds, said, call).and_then(|given| {
            check(given).map_err(|what| GuestFailure::of_contract(format!("the rule broke the contract: {what}")))
        });
        answer.map_err(|failure| {
            // An instance that trapped takes no further calls, and one that answers wrongly is not trusted.
            self.live = None;
            self.leaks |= used && failure.out_of_memory;
            GuestFailure { used, ..failure }
        })
    }
}

impl<W: World> Drop for Guest<W> {
    fn drop(&mut self) {
        if self.live.is_some() {
            let _noted = self.watch.begin(Doing::Drop);
            self.live = None;
        }
    }
}
