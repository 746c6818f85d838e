//! Loading components: the engine, what guests may import, and what they are refused for.

use super::{
    aggregate::AggregateDescription,
    bindings::{StageComponent, StageComponentPre, aggregate::AggregateComponentPre},
    cache::CodeCache,
    call::{Bounds, Live, World},
    compilations::{Compilation, Compilations},
    compile::Compiler,
    context::GuestContext,
    contract::{AGGREGATE, Kind, STAGE, check_contract},
    description::Description,
    guest::Code,
    lines::Lines,
    measured::said_twice,
    module::{AggregateModule, AnyModule, Module},
    read::{check_header, digest_of, read, when_intact},
    settings::settings,
};
use crate::{
    definition::StageLimits,
    error::{Context, Error, Result},
    limits::{EPOCH_TICK, GUEST_MEMORY_MIB_MAX},
};
use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};
use wasmtime::{
    Engine, InstanceAllocationStrategy, PoolingAllocationConfig,
    component::{Component, HasSelf, InstancePre, Linker},
};

/// Instances that may live at once: one per step, and one more while a new one takes over.
const INSTANCES_MAX: u32 = 256;

/// Loads components and runs them. Cheap to clone; all clones share the engine.
#[derive(Clone)]
pub struct StageHost {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    linker: Linker<GuestContext>,
    compilations: Arc<Compilations>,
    /// Modules by digest, so that steps with one module share its code. One that no plan has any more is gone.
    stages: Mutex<HashMap<String, Weak<Module>>>,
    aggregates: Mutex<HashMap<String, Weak<AggregateModule>>>,
}

impl fmt::Debug for StageHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageHost").finish_non_exhaustive()
    }
}

impl StageHost {
    /// An engine with pooled instances, a cache of compiled code, and a running clock for deadlines.
    ///
    /// Components are compiled by `compiler`, and the code is kept in `cache`; without a directory every start compiles (30
    /// to 60 ms a module in Rust, seconds for one that brings an interpreter along).
    ///
    /// # Errors
    /// When this machine cannot run WebAssembly as configured, or somebody else could have written into the cache.
    pub fn new(cache: Option<&Path>, compiler: Compiler) -> Result<Self> {
        let cache = cache.map(CodeCache::open).transpose()?;
        let mut pool = PoolingAllocationConfig::default();
        pool.max_memory_size((GUEST_MEMORY_MIB_MAX << 20) as usize)
            .total_component_instances(INSTANCES_MAX)
            // A component is the rule's own module and up to three small ones that lend it its imports.
            .total_core_instances(4 * INSTANCES_MAX)
            .total_memories(INSTANCES_MAX)
            .total_tables(2 * INSTANCES_MAX);
        let mut config = settings();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config).environment(|| "cannot start WebAssembly".to_owned())?;

        let clock = engine.weak();
        std::thread::Builder::new()
            .name("weir-epochs".to_owned())
            .spawn(move || {
                while let Some(engine) = clock.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    std::thread::sleep(EPOCH_TICK);
                }
            })
            .environment(|| "cannot start a thread".to_owned())?;

        let mut linker = Linker::new(&engine);
        StageComponent::add_to_linker::<_, HasSelf<GuestContext>>(&mut linker, |context| context)
            .environment(|| "cannot set up the imports of guests".to_owned())?;
        let compilations = Arc::new(Compilations::new(&engine, compiler, cache));
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                linker,
                compilations,
                stages: Mutex::default(),
                aggregates: Mutex::default(),
            }),
        })
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

    /// Gives up what is being compiled, and compiles nothing any more: somebody wants the process to end.
    pub fn interrupt(&self) {
        self.inner.compilations.interrupt();
    }

    /// Begins to compile a component that was deployed, and that has to have this digest. While the value lives, who loads
    /// it waits no longer than for what is left of that, and is told what came of it.
    ///
    /// # Errors
    /// As [`StageHost::load_deployed`], for what shows before it is compiled.
    pub fn begin_deployed(&self, digest: &str, bytes: &Arc<[u8]>) -> Result<Compilation> {
        when_intact(digest, bytes, |_| {
            check_header(bytes)?;
            self.inner.compilations.begin(bytes.clone())
        })
    }

    /// Loads the stage at `path`.
    ///
    /// # Errors
    /// When it cannot be read, is no component, is an aggregate, is of another contract or version, imports what there is
    /// not, or describes itself in a way that the contract does not allow. Each says which.
    pub fn load(&self, path: &Path) -> Result<Arc<Module>> {
        read(path, |bytes| self.load_stage(bytes, path))
    }

    /// Loads the aggregate at `path`.
    ///
    /// # Errors
    /// As [`StageHost::load`], the other way round.
    pub fn load_aggregate(&self, path: &Path) -> Result<Arc<AggregateModule>> {
        read(path, |bytes| self.load_aggregate_bytes(bytes, path))
    }

    /// Loads the component at `path`, whichever it is.
    ///
    /// # Errors
    /// As [`StageHost::load`].
    pub fn load_any(&self, path: &Path) -> Result<AnyModule> {
        read(path, |bytes| {
            let component = self.compile(bytes)?;
            let component_type = component.component_type();
            let mut exports = component_type.exports(self.engine());
            match exports.any(|(name, _)| name == AGGREGATE.export) {
                true => self.load_aggregate_bytes(bytes, path).map(AnyModule::Aggregate),
                false => self.load_stage(bytes, path).map(AnyModule::Stage),
            }
        })
    }

    /// Loads a stage that was deployed, and that has to have this digest.
    ///
    /// # Errors
    /// As [`StageHost::load`]; also when the bytes have another digest: then they were damaged or exchanged on the way.
    pub fn load_deployed(&self, digest: &str, bytes: &[u8]) -> Result<Arc<Module>> {
        when_intact(digest, bytes, |bytes| self.load_stage(bytes, Path::new(digest)))
    }

    /// Loads an aggregate that was deployed, and that has to have this digest.
    ///
    /// # Errors
    /// As [`StageHost::load_deployed`], the other way round.
    pub fn load_deployed_aggregate(&self, digest: &str, bytes: &[u8]) -> Result<Arc<AggregateModule>> {
        when_intact(digest, bytes, |bytes| {
            self.load_aggregate_bytes(bytes, Path::new(digest))
        })
    }

    fn load_stage(&self, bytes: &[u8], path: &Path) -> Result<Arc<Module>> {
        let digest = digest_of(bytes);
        once(&self.inner.stages, &digest, || {
            let pre = self.prepare(bytes, &STAGE, StageComponentPre::new)?;
            let bytes: Arc<[u8]> = bytes.into();
            let (description, code) = self.described(&bytes, pre, |description: &Description| &description.name)?;
            Ok(Module {
                digest: digest.clone(),
                path: path.to_owned(),
                bytes,
                description,
                code,
            })
        })
    }

    fn load_aggregate_bytes(&self, bytes: &[u8], path: &Path) -> Result<Arc<AggregateModule>> {
        let digest = digest_of(bytes);
        once(&self.inner.aggregates, &digest, || {
            let pre = self.prepare(bytes, &AGGREGATE, AggregateComponentPre::new)?;
            let bytes: Arc<[u8]> = bytes.into();
            let (description, code) =
                self.described(&bytes, pre, |description: &AggregateDescription| &description.name)?;
            Ok(AggregateModule {
                digest: digest.clone(),
                path: path.to_owned(),
                bytes,
                description,
                code,
            })
        })
    }

    /// The code of a component, when it is there.
    fn compile(&self, bytes: &[u8]) -> Result<Component> {
        check_header(bytes)?;
        self.inner.compilations.begin(bytes.into())?.wait()
    }

    /// Compiles a component that has to be of this kind, and gives it its imports.
    fn prepare<Pre>(
        &self,
        bytes: &[u8],
        kind: &Kind,
        pre: impl FnOnce(InstancePre<GuestContext>) -> wasmtime::Result<Pre>,
    ) -> Result<Pre> {
        let component = self.compile(bytes)?;
        check_contract(&component, self.engine(), kind)?;
        self.inner
            .linker
            .instantiate_pre(&component)
            .and_then(pre)
            .map_err(|cause| Error::definition(format!("it does not fit {}: {cause:#}", kind.export)))
    }

    /// What a component says of itself, and what its instances will share.
    fn described<W: World>(
        &self,
        bytes: &Arc<[u8]>,
        pre: W::Pre,
        name: impl FnOnce(&W::Description) -> &String,
    ) -> Result<(W::Description, Arc<Code<W>>)> {
        let bounds = Bounds::new(&StageLimits::default());
        let lines = Arc::new(Lines::new(bytes.clone()));
        let describe = || {
            Live::<W>::new(self.engine(), &pre, &lines, bounds, "?")
                .and_then(|mut live| live.describe(bounds))
                .map_err(|failure| Error::definition(format!("it cannot describe itself: {failure}")))
        };
        let differs =
            "it describes itself differently each time; accepted is a component of which every instance says the same";
        let description = said_twice(describe, Error::definition(differs))?;
        let name = name(&description).clone();
        Ok((description, Arc::new(Code { pre, lines, name })))
    }
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
