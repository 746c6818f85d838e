//! A guest that is there when it is called.

use super::{
    call::{Bounds, Live, StageFailure, World},
    context::GuestContext,
    description::ParameterValue,
    host::StageHost,
    lines::Lines,
    log::Said,
    places::Place,
};
use crate::{
    definition::StageLimits,
    wasm::watch::{Doing, GuestWatch},
};
use std::sync::Arc;
use wasmtime::Store;

/// What every instance of a component shares.
pub(super) struct Code<W: World> {
    pub(super) pre: W::Pre,
    pub(super) lines: Arc<Lines>,
    /// What the component calls itself.
    pub(super) name: String,
    /// Bytes that the host keeps of each instance.
    pub(super) host_bytes: usize,
}

/// A guest that can be called. It is instantiated at the first call, again after each failure, and now and then, so that
/// what an instance keeps cannot grow for ever.
pub(super) struct Guest<W: World> {
    host: StageHost,
    code: Arc<Code<W>>,
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
}

impl<W: World> Guest<W> {
    pub(super) fn new(
        host: &StageHost,
        code: &Arc<Code<W>>,
        parameters: Vec<(String, ParameterValue)>,
        limits: &StageLimits,
    ) -> Self {
        Self {
            host: host.clone(),
            code: code.clone(),
            parameters,
            bounds: Bounds::new(limits),
            live: None,
            leaks: false,
            place: None,
            watch: GuestWatch::default(),
            said: Said::default(),
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

    /// Instantiates and configures the guest, if that is to be done.
    ///
    /// # Errors
    /// What the guest says against its parameters, or how it failed.
    pub(super) fn ready(&mut self) -> Result<(), StageFailure> {
        let _noted = self.watch.begin(Doing::Prepare);
        self.live().map(|_| ())
    }

    /// An instance that can be called, and what those before it said.
    fn live(&mut self) -> Result<(&mut Live<W>, &mut Said), StageFailure> {
        let live = match self.live.take().filter(|live| !live.is_worn(self.leaks)) {
            Some(live) => live,
            None => {
                if let Some(reason) = self.refusal() {
                    return Err(StageFailure::new(format!(
                        "{reason}; it is not run again, unless somebody says --again"
                    )));
                }
                if self.place.is_none() {
                    self.place = Some(self.host.place().map_err(StageFailure::of_process)?);
                }
                let code = &self.code;
                let (lines, bytes) = (&code.lines, code.host_bytes);
                let mut live = Live::new(&self.host, &code.pre, lines, bytes, self.bounds, &code.name)?;
                live.configure(&self.parameters, self.bounds)?;
                live
            }
        };
        Ok((self.live.insert(live), &mut self.said))
    }

    /// Calls the guest and has its answer checked.
    ///
    /// # Errors
    /// How the call failed, or which promise of the contract the answer breaks. The next call is to a new instance.
    pub(super) fn work<T, Answer>(
        &mut self,
        call: impl FnOnce(&W, &mut Store<GuestContext>) -> wasmtime::Result<T>,
        check: impl FnOnce(T) -> Result<Answer, String>,
    ) -> Result<Answer, StageFailure> {
        let _noted = self.watch.begin(Doing::Call);
        let bounds = self.bounds;
        let (live, said) = self.live()?;
        let used = live.is_used();
        let answer = live.work(bounds, said, call).and_then(|given| {
            check(given).map_err(|what| StageFailure::new(format!("the rule broke the contract: {what}")))
        });
        answer.map_err(|failure| {
            // An instance that trapped takes no further calls, and one that answers wrongly is not trusted.
            self.live = None;
            self.leaks |= used && failure.out_of_memory;
            StageFailure { used, ..failure }
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
