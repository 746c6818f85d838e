//! Loading components: the engine, what guests may import, and what they are refused for.

use super::{
    aggregate::AggregateInstance,
    attachment::{Parted, part},
    bindings::{v0_1, v0_2},
    cache::CodeCache,
    call::{Bounds, Live, World},
    compilations::{Compilation, Compilations},
    compile::{Compiler, unfit, want_of_process},
    compiled::{Compiled, Loaded},
    context::GuestContext,
    contract::{AGGREGATE, KEYED, Kind, check_contract},
    expression,
    guest::Code,
    instance::Instance,
    keyed::KeyedInstance,
    lines::Lines,
    measured::said_twice,
    module::AnyModule,
    places::{Place, Places, Share},
    read::{Binary, check_header, read},
    required::Required,
    settings::settings,
    worlds::{aggregate::AggregateWorld, keyed::KeyedWorld, stage::StageWorld},
};
use crate::{
    definition::StageLimits,
    error::{Context, Error, Result},
    limits::{EPOCH_TICK, REFUSAL_BYTES_MAX},
    model::{
        deployment::Whose,
        guest::{AggregateModule, CodeHandle, KeyedModule, Module},
        harm::Doing,
    },
    plan::{GuestCounts, GuestHost, RunningAggregate, RunningKeyed, RunningStage, Setting},
    wasm::watch::{GuestWatch, PipelineWatch},
};
use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};
use wasmtime::{
    Engine,
    component::{HasSelf, Linker},
};

/// Loads components and runs them. Cheap to clone; all clones share the engine.
#[derive(Clone)]
pub struct StageHost {
    inner: Arc<Inner>,
    /// The pipeline's whose guests it makes, if they are those of one.
    share: Option<Arc<Share>>,
    /// Who watches its guests, for the case that the host dies of one.
    pub(super) watch: Option<Arc<PipelineWatch>>,
    /// Whose guests it makes.
    pub(super) whose: Whose,
}

struct Inner {
    engine: Engine,
    linker: Linker<GuestContext>,
    /// Ticks of the clock behind deadlines.
    ticks: Arc<AtomicU64>,
    places: Arc<Places>,
    compilations: Arc<Compilations>,
    /// Modules by digest, so that steps with one module share its code. One that no plan has any more is gone.
    stages: Mutex<HashMap<String, Weak<Module>>>,
    aggregates: Mutex<HashMap<String, Weak<AggregateModule>>>,
    keyed: Mutex<HashMap<String, Weak<KeyedModule>>>,
}

impl fmt::Debug for StageHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageHost").finish_non_exhaustive()
    }
}

impl StageHost {
    /// An engine with a cache of compiled code, and a running clock for deadlines.
    ///
    /// Components are compiled by `compiler`, and the code is kept in `cache`; without a directory every start compiles (30
    /// to 60 ms a module in Rust, seconds for one that brings an interpreter along).
    ///
    /// # Errors
    /// When this machine cannot run WebAssembly as configured, or somebody else could have written into the cache.
    pub fn new(cache: Option<&Path>, compiler: Compiler) -> Result<Self> {
        let cache = cache.map(CodeCache::open).transpose()?;
        let engine = Engine::new(&settings()).environment(|| "cannot start WebAssembly".to_owned())?;

        let (clock, ticks) = (engine.weak(), Arc::new(AtomicU64::new(0)));
        let counted = ticks.clone();
        std::thread::Builder::new()
            .name("weir-epochs".to_owned())
            .spawn(move || {
                while let Some(engine) = clock.upgrade() {
                    counted.fetch_add(1, Ordering::Relaxed);
                    engine.increment_epoch();
                    drop(engine);
                    std::thread::sleep(EPOCH_TICK);
                }
            })
            .environment(|| "cannot start a thread".to_owned())?;

        let mut linker = Linker::new(&engine);
        v0_1::StageComponent::add_to_linker::<_, HasSelf<GuestContext>>(&mut linker, |context| context)
            .and_then(|()| v0_2::All::add_to_linker::<_, HasSelf<GuestContext>>(&mut linker, |context| context))
            .environment(|| "cannot set up the imports of guests".to_owned())?;
        let compilations = Arc::new(Compilations::new(&engine, compiler, cache));
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                linker,
                ticks,
                places: Places::new(),
                compilations,
                stages: Mutex::default(),
                aggregates: Mutex::default(),
                keyed: Mutex::default(),
            }),
            share: None,
            watch: None,
            whose: Whose::default(),
        })
    }

    /// The host for a pipeline that runs beside others: it has the places for all of its guests, and no one else takes them.
    ///
    /// # Errors
    /// When so many are not free in this process; says how many there are.
    pub fn for_pipeline(&self, guests: GuestCounts) -> Result<Self> {
        let share = self.inner.places.share(guests)?;
        Ok(Self {
            share: Some(share),
            ..self.clone()
        })
    }

    /// The place of one more guest.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn place(&self) -> Result<Place, String> {
        self.inner.places.place(self.share.as_ref())
    }

    /// The directory in which `weir` keeps compiled code: `$XDG_CACHE_HOME/weir`, or `~/.cache/weir`.
    pub fn default_cache() -> Option<PathBuf> {
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        Some(
            absolute("XDG_CACHE_HOME")
                .or_else(|| Some(absolute("HOME")?.join(".cache")))?
                .join("weir"),
        )
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(super) fn ticks(&self) -> Arc<AtomicU64> {
        self.inner.ticks.clone()
    }

    /// Gives up what is being compiled, and compiles nothing any more: somebody wants the process to end.
    pub fn interrupt(&self) {
        self.inner.compilations.interrupt();
    }

    /// Begins to compile a component that was deployed. While the value lives, who loads it waits no longer than for what is
    /// left of that, and is told what came of it.
    ///
    /// # Errors
    /// As [`StageHost::load_deployed`], for what shows before it is compiled.
    pub fn begin_deployed(&self, binary: &Binary) -> Result<Compilation> {
        named(binary, self.compile(binary))
    }

    /// Loads the stage at `path`.
    ///
    /// # Errors
    /// When it cannot be read, is no component, is an aggregate, is of another contract or version, imports what there is
    /// not, or describes itself in a way that the contract does not allow. Each says which.
    pub fn load(&self, path: &Path) -> Result<Arc<Module>> {
        read(path, |binary| self.load_stage(binary, path))
    }

    /// Loads the aggregate at `path`.
    ///
    /// # Errors
    /// As [`StageHost::load`], the other way round.
    pub fn load_aggregate(&self, path: &Path) -> Result<Arc<AggregateModule>> {
        read(path, |binary| self.load_aggregate_binary(binary, path))
    }

    /// Loads the keyed function at `path`.
    ///
    /// # Errors
    /// As [`StageHost::load`], the other way round.
    pub fn load_keyed(&self, path: &Path) -> Result<Arc<KeyedModule>> {
        read(path, |binary| self.load_keyed_binary(binary, path))
    }

    /// Loads the component at `path`, whichever it is.
    ///
    /// # Errors
    /// As [`StageHost::load`].
    pub fn load_any(&self, path: &Path) -> Result<AnyModule> {
        read(path, |binary| {
            // Held until it is loaded, so that it is compiled once.
            let compilation = self.compile(binary)?;
            let component = self.loaded(&*compilation.wait()?)?.component;
            let is = |kind: &Kind| kind.is_of(&component, self.engine());
            if is(&AGGREGATE) {
                self.load_aggregate_binary(binary, path).map(AnyModule::Aggregate)
            } else if is(&KEYED) {
                self.load_keyed_binary(binary, path).map(AnyModule::Keyed)
            } else {
                self.load_stage(binary, path).map(AnyModule::Stage)
            }
        })
    }

    /// The stage of this digest, if it is loaded and somebody still has it.
    pub fn loaded_module(&self, digest: &str) -> Option<Arc<Module>> {
        let stages = self.inner.stages.lock().unwrap_or_else(PoisonError::into_inner);
        stages.get(digest)?.upgrade()
    }

    /// Loads a stage that was deployed.
    ///
    /// # Errors
    /// As [`StageHost::load`].
    pub fn load_deployed(&self, binary: &Binary) -> Result<Arc<Module>> {
        named(binary, self.load_stage(binary, Path::new(binary.digest())))
    }

    /// Loads an aggregate that was deployed.
    ///
    /// # Errors
    /// As [`StageHost::load_deployed`], the other way round.
    pub fn load_deployed_aggregate(&self, binary: &Binary) -> Result<Arc<AggregateModule>> {
        named(binary, self.load_aggregate_binary(binary, Path::new(binary.digest())))
    }

    fn load_stage(&self, binary: &Binary, path: &Path) -> Result<Arc<Module>> {
        once(&self.inner.stages, binary.digest(), || {
            let (description, code) = self.load_as::<StageWorld>(binary)?;
            Ok(Module {
                digest: binary.digest().to_owned(),
                path: path.to_owned(),
                bytes: binary.bytes().clone(),
                description,
                code: CodeHandle::new(code),
            })
        })
    }

    fn load_aggregate_binary(&self, binary: &Binary, path: &Path) -> Result<Arc<AggregateModule>> {
        once(&self.inner.aggregates, binary.digest(), || {
            let (description, code) = self.load_as::<AggregateWorld>(binary)?;
            Ok(AggregateModule {
                digest: binary.digest().to_owned(),
                path: path.to_owned(),
                bytes: binary.bytes().clone(),
                description,
                code: CodeHandle::new(code),
            })
        })
    }

    fn load_keyed_binary(&self, binary: &Binary, path: &Path) -> Result<Arc<KeyedModule>> {
        once(&self.inner.keyed, binary.digest(), || {
            let (description, code) = self.load_as::<KeyedWorld>(binary)?;
            Ok(KeyedModule {
                digest: binary.digest().to_owned(),
                path: path.to_owned(),
                bytes: binary.bytes().clone(),
                description,
                code: CodeHandle::new(code),
            })
        })
    }

    /// Compiles and loads a component of this world, and asks what it is.
    fn load_as<W: World>(&self, binary: &Binary) -> Result<(W::Description, Arc<Code<W>>)> {
        let watch = self.may_load(binary.digest())?;
        check_header(binary.bytes())?;
        let parted = part(binary)?;
        let compiled = self.inner.compilations.begin(parted.code.clone())?.wait()?;
        let _noted = watch.begin(Doing::Load);
        let (pre, required) = self.prepare::<W>(self.loaded(&compiled)?)?;
        self.described(parted, pre, required)
    }

    /// What notes that a module is loaded, unless this host died of that too often.
    fn may_load(&self, digest: &str) -> Result<GuestWatch> {
        let watch = self.guest_watch(digest, None);
        match watch.refusal() {
            Some(reason) => Err(Error::definition(format!(
                "{reason}; name another module in the pipeline file or deploy another, or the same with --again"
            ))),
            None => Ok(watch),
        }
    }

    /// Begins to compile what may be a component.
    fn compile(&self, binary: &Binary) -> Result<Compilation> {
        check_header(binary.bytes())?;
        self.inner.compilations.begin(part(binary)?.code)
    }

    /// A component of its code, which was made for this engine: what does not fit is more than an instance may have.
    fn loaded(&self, compiled: &Compiled) -> Result<Loaded> {
        compiled
            .load(self.engine())
            .map_err(|cause| match want_of_process(&cause) {
                Some(want) => Error::environment(format!("it cannot be loaded: {cause:#}: {want}")),
                None => unfit(&cause),
            })
    }

    /// Gives a component, which has to be of this world, its imports.
    fn prepare<W: World>(&self, loaded: Loaded) -> Result<(W::Pre, Required)> {
        let Loaded { component, required } = loaded;
        let version = check_contract(&component, self.engine(), W::KIND)?;
        let pre = self.inner.linker.instantiate_pre(&component);
        let pre = pre.and_then(|pre| W::prepare(pre, version));
        let unfit = |cause| Error::definition(format!("it does not fit {}: {cause:#}", W::KIND.export_in(version)));
        let pre = pre.map_err(unfit)?;
        Ok((pre, required))
    }

    /// What a component says of itself, and what its instances will share.
    fn described<W: World>(
        &self,
        parted: Parted,
        pre: W::Pre,
        required: Required,
    ) -> Result<(W::Description, Arc<Code<W>>)> {
        let bounds = Bounds::new(&StageLimits::default());
        let mut code = Code::<W> {
            pre,
            lines: Arc::new(Lines::read(parted.code.bytes())),
            name: "?".to_owned(),
            host_bytes: required.host_bytes(),
            attachment: parted.attachment,
        };
        let place = self.place().map_err(Error::environment)?;
        let describe = || {
            Live::<W>::new(self, &code, bounds)
                .and_then(|mut live| live.describe(bounds))
                .map_err(|failure| failure.error(format!("it cannot describe itself: {failure}")))
        };
        let differs =
            "it describes itself differently each time; accepted is a component of which every instance says the same";
        let description = said_twice(describe, Error::definition(differs))?;
        drop(place);
        code.name = W::name(&description).to_owned();
        Ok((description, Arc::new(code)))
    }
}

impl GuestHost for StageHost {
    fn load_stage(&self, path: &Path, whose: Whose) -> Result<Arc<Module>> {
        self.at(whose).load(path)
    }

    fn load_aggregate(&self, path: &Path, whose: Whose) -> Result<Arc<AggregateModule>> {
        StageHost::load_aggregate(&self.at(whose), path)
    }

    fn load_expression(&self, attached: &[u8], whose: Whose) -> Result<Arc<Module>> {
        let binary = expression::component(attached);
        self.at(whose).load_stage(&binary, Path::new(binary.digest()))
    }

    fn load_keyed(&self, path: &Path, whose: Whose) -> Result<Arc<KeyedModule>> {
        StageHost::load_keyed(&self.at(whose), path)
    }

    fn stage(&self, module: &Arc<Module>, setting: Setting<'_>) -> Box<dyn RunningStage> {
        let Setting {
            parameters,
            inputs,
            limits,
            whose,
        } = setting;
        let instance = Instance::new(&self.at(whose), module.clone(), parameters.to_vec(), limits);
        let instance = instance.with_inputs(inputs);
        Box::new(instance)
    }

    fn aggregate(&self, module: &Arc<AggregateModule>, setting: Setting<'_>) -> Box<dyn RunningAggregate> {
        let Setting {
            parameters,
            inputs,
            limits,
            whose,
        } = setting;
        let instance = AggregateInstance::new(&self.at(whose), module.clone(), parameters.to_vec(), limits);
        let instance = instance.with_inputs(inputs);
        Box::new(instance)
    }

    fn keyed(&self, module: &Arc<KeyedModule>, setting: Setting<'_>) -> Box<dyn RunningKeyed> {
        let Setting {
            parameters,
            inputs,
            limits,
            whose,
        } = setting;
        let instance = KeyedInstance::new(&self.at(whose), module.clone(), parameters.to_vec(), limits);
        Box::new(instance.with_inputs(inputs))
    }
}

/// What came of a component that was deployed; what went wrong is told with its digest.
fn named<T>(binary: &Binary, outcome: Result<T>) -> Result<T> {
    outcome.map_err(|error| {
        error
            .cut(REFUSAL_BYTES_MAX)
            .context(format!("module {}", binary.digest()))
    })
}

/// The module of this digest, made if it is not known yet.
fn once<M>(known: &Mutex<HashMap<String, Weak<M>>>, digest: &str, make: impl FnOnce() -> Result<M>) -> Result<Arc<M>> {
    let modules = || known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = modules().get(digest).and_then(Weak::upgrade) {
        return Ok(module);
    }
    let module = Arc::new(make()?);
    let mut modules = modules();
    modules.retain(|_, module| module.strong_count() > 0);
    modules.insert(digest.to_owned(), Arc::downgrade(&module));
    Ok(module)
}
