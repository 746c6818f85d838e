//! Loading components: the engine, what guests may import, and what they are refused for.

use super::{
    aggregate::AggregateDescription,
    bindings::{
        StageComponent, StageComponentPre,
        aggregate::{AggregateComponent, AggregateComponentPre},
    },
    call::{Bounds, Live, World},
    context::GuestContext,
    description::Description,
    guest::Code,
    lines::Lines,
};
use crate::{
    definition::StageLimits,
    error::{Context, Error, Result},
    limits::{EPOCH_TICK, GUEST_BACKTRACE_FRAMES_MAX, GUEST_MEMORY_MIB_MAX, GUEST_MODULE_BYTES_MAX},
};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fmt,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};
use wasmtime::{
    Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
    component::{Component, HasSelf, InstancePre, Linker},
};

/// The contract that this host speaks.
const PACKAGE: &str = "weir:stage";
const VERSION: &str = "0.1.0";
const STAGE: Kind = Kind {
    what: "a stage",
    export: "weir:stage/stage@0.1.0",
};
const AGGREGATE: Kind = Kind {
    what: "an aggregate",
    export: "weir:stage/aggregate@0.1.0",
};
const IMPORTS: [&str; 2] = ["weir:stage/log@0.1.0", "weir:stage/time-zone@0.1.0"];

/// What a component can be, by what it exports.
struct Kind {
    what: &'static str,
    export: &'static str,
}

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
    /// Modules by digest, so that steps with one module share its code. One that no plan has any more is gone.
    stages: Mutex<HashMap<String, Weak<Module>>>,
    aggregates: Mutex<HashMap<String, Weak<AggregateModule>>>,
}

impl fmt::Debug for StageHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageHost").finish_non_exhaustive()
    }
}

/// A stage's component, compiled.
pub struct Module {
    /// SHA-256 of the component's bytes, in hexadecimal: the module version.
    pub digest: String,
    /// Where it was loaded from; its digest when it came from a database or a registry.
    pub path: PathBuf,
    /// The component itself.
    pub bytes: Arc<[u8]>,
    /// What it says of itself.
    pub description: Description,
    pub(super) code: Arc<Code<StageComponent>>,
}

/// An aggregate's component, compiled.
pub struct AggregateModule {
    /// SHA-256 of the component's bytes, in hexadecimal: the module version.
    pub digest: String,
    /// Where it was loaded from; its digest when it came from a database or a registry.
    pub path: PathBuf,
    /// The component itself.
    pub bytes: Arc<[u8]>,
    /// What it says of itself.
    pub description: AggregateDescription,
    pub(super) code: Arc<Code<AggregateComponent>>,
}

/// A component of either kind.
#[derive(Clone, Debug)]
pub enum AnyModule {
    /// It is a stage.
    Stage(Arc<Module>),
    /// It is an aggregate.
    Aggregate(Arc<AggregateModule>),
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("digest", &self.digest)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AggregateModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregateModule")
            .field("digest", &self.digest)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Module {
    /// The first twelve digits of the digest, as lists and messages show it.
    pub fn short_digest(&self) -> &str {
        short(&self.digest)
    }
}

impl AggregateModule {
    /// The first twelve digits of the digest, as lists and messages show it.
    pub fn short_digest(&self) -> &str {
        short(&self.digest)
    }
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

impl StageHost {
    /// An engine with pooled instances, a cache of compiled code, and a running clock for deadlines.
    ///
    /// Compiled code is kept in `cache`; without a directory every start compiles (30 to 60 ms a module).
    ///
    /// # Errors
    /// When this machine cannot run WebAssembly as configured.
    pub fn new(cache: Option<&Path>) -> Result<Self> {
        let mut pool = PoolingAllocationConfig::default();
        pool.max_memory_size((GUEST_MEMORY_MIB_MAX << 20) as usize)
            .total_component_instances(INSTANCES_MAX)
            // A component is the rule's own module and up to three small ones that lend it its imports.
            .total_core_instances(4 * INSTANCES_MAX)
            .total_memories(INSTANCES_MAX)
            .total_tables(2 * INSTANCES_MAX);
        let mut config = Config::new();
        config
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
            .epoch_interruption(true)
            // `Lines` looks them up, and whatever the environment says, no one else does.
            .wasm_backtrace_details(WasmBacktraceDetails::Disable)
            .wasm_backtrace_max_frames(NonZeroUsize::new(GUEST_BACKTRACE_FRAMES_MAX))
            .wasm_component_model(true);
        if let Some(directory) = cache {
            let mut cache = CacheConfig::new();
            cache.with_directory(directory);
            config.cache(Some(Cache::new(cache).environment(|| {
                format!("cannot keep compiled code in {}", directory.display())
            })?));
        }
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
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                linker,
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
            let component_type = self.compile(bytes)?.component_type();
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

    fn compile(&self, bytes: &[u8]) -> Result<Component> {
        if !bytes.starts_with(b"\0asm") {
            return Err(Error::definition("this is no WebAssembly; expected is a component"));
        }
        if Engine::detect_precompiled(bytes).is_some() || bytes.get(4..8) == Some(&[1, 0, 0, 0]) {
            return Err(Error::definition(
                "this is a core module; expected is a component (`weir-component core.wasm -o rule.wasm` makes one)",
            ));
        }
        Component::new(self.engine(), bytes)
            .map_err(|cause| Error::definition(format!("this is no component that can be run: {cause:#}")))
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
        let lines = Arc::new(Lines::read(bytes)?);
        let description = Live::<W>::new(self.engine(), &pre, &lines, bounds, "?")
            .and_then(|mut live| live.describe(bounds))
            .map_err(|failure| Error::definition(format!("it cannot describe itself: {failure}")))?;
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

/// Reads a component and loads it; what goes wrong is told with its path.
fn read<M>(path: &Path, load: impl FnOnce(&[u8]) -> Result<M>) -> Result<M> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|cause| {
        let build = "`weir build FOLDER` makes that of a guest, `cargo xtask guests` those of this repository";
        Error::definition(format!("cannot read module {shown}: {cause}; {build}"))
    })?;
    // Of a device or a pipe nobody knows the size.
    if !metadata.is_file() {
        return Err(Error::definition(format!(
            "module {shown} is no file; name a component"
        )));
    }
    check_size(metadata.len()).map_err(|error| error.context(format!("module {shown}")))?;
    let bytes =
        std::fs::read(path).map_err(|cause| Error::definition(format!("cannot read module {shown}: {cause}")))?;
    load(&bytes).map_err(|error| error.context(format!("module {shown}")))
}

/// Loads a component whose digest is known, if it has that.
fn when_intact<M>(digest: &str, bytes: &[u8], load: impl FnOnce(&[u8]) -> Result<M>) -> Result<M> {
    let found = digest_of(bytes);
    if found != digest {
        return Err(Error::mismatch(format!(
            "module {digest} was damaged or exchanged: what is stored under that name has the digest {found}; deploy it again"
        )));
    }
    check_size(bytes.len() as u64)
        .and_then(|()| load(bytes))
        .map_err(|error| error.context(format!("module {digest}")))
}

/// SHA-256, in hexadecimal.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check_size(bytes: u64) -> Result<()> {
    if bytes > GUEST_MODULE_BYTES_MAX {
        return Err(Error::definition(format!(
            "it has {bytes} bytes; accepted are up to {GUEST_MODULE_BYTES_MAX}"
        )));
    }
    Ok(())
}

/// Whether the component exports what this kind does, in this version, and imports nothing else.
fn check_contract(component: &Component, engine: &Engine, kind: &Kind) -> Result<()> {
    let component_type = component.component_type();
    let exports: Vec<String> = component_type
        .exports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    let is = |kind: &Kind| exports.iter().any(|name| name == kind.export);
    if !is(kind) {
        if let Some(other) = [STAGE, AGGREGATE].iter().find(|other| is(other)) {
            return Err(Error::definition(format!(
                "it is {} (it exports {}), and here belongs {}, which exports {}",
                other.what, other.export, kind.what, kind.export
            )));
        }
        let of_contract = exports
            .iter()
            .find_map(|name| name.strip_prefix(PACKAGE)?.split_once('@'));
        return Err(Error::definition(match of_contract {
            Some((_, version)) => {
                format!(
                    "it is built for {PACKAGE}@{version}; this host speaks {PACKAGE}@{VERSION}: build it with the SDK of this host"
                )
            }
            None => format!(
                "it does not export {}; rules are built with the crate weir-guest",
                kind.export
            ),
        }));
    }
    for (name, _) in component_type.imports(engine) {
        if !IMPORTS.contains(&name) {
            return Err(Error::definition(format!(
                "it imports {name}, which the host does not offer; a rule may import {} and nothing else",
                IMPORTS.join(" and ")
            )));
        }
    }
    Ok(())
}
