//! Loading components: the engine, what guests may import, and what they are refused for.

use super::{
    bindings::{StageComponent, StageComponentPre},
    call::{Bounds, Live},
    context::GuestContext,
    description::Description,
    lines::Lines,
};
use crate::{
    definition::StageLimits,
    error::{Context, Error, Result},
    limits::{EPOCH_TICK, GUEST_MEMORY_MIB_MAX, GUEST_MODULE_BYTES_MAX},
};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use wasmtime::{
    Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails,
    component::{Component, HasSelf, Linker},
};

/// The contract that this host speaks.
const PACKAGE: &str = "weir:stage";
const VERSION: &str = "0.1.0";
const EXPORT: &str = "weir:stage/stage@0.1.0";
const IMPORTS: [&str; 2] = ["weir:stage/log@0.1.0", "weir:stage/time-zone@0.1.0"];

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
    /// Modules by digest, so that steps with one module share its code.
    modules: Mutex<HashMap<String, Arc<Module>>>,
}

impl fmt::Debug for StageHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageHost").finish_non_exhaustive()
    }
}

/// A component of this contract, compiled.
pub struct Module {
    /// SHA-256 of the component's bytes, in hexadecimal: the module version.
    pub digest: String,
    /// Where it was loaded from; its digest when it came from a database or a registry.
    pub path: PathBuf,
    /// The component itself.
    pub bytes: Arc<[u8]>,
    /// What it says of itself.
    pub description: Description,
    pub(super) pre: StageComponentPre<GuestContext>,
    pub(super) lines: Arc<Lines>,
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("digest", &self.digest)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Module {
    /// The first twelve digits of the digest, as lists and messages show it.
    pub fn short_digest(&self) -> &str {
        self.digest.get(..12).unwrap_or(&self.digest)
    }
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
                modules: Mutex::default(),
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

    /// Loads the component at `path`.
    ///
    /// # Errors
    /// When it cannot be read, is no component, is of another contract or version, imports what there is not, or
    /// describes itself in a way that the contract does not allow. Each says which.
    pub fn load(&self, path: &Path) -> Result<Arc<Module>> {
        let shown = path.display();
        let size = std::fs::metadata(path)
            .map_err(|cause| {
                let build = "`weir build FOLDER` makes that of a guest, `cargo xtask guests` those of this repository";
                Error::definition(format!("cannot read module {shown}: {cause}; {build}"))
            })?
            .len();
        check_size(size).map_err(|error| error.context(format!("module {shown}")))?;
        let bytes =
            std::fs::read(path).map_err(|cause| Error::definition(format!("cannot read module {shown}: {cause}")))?;
        self.load_bytes(&bytes, path)
            .map_err(|error| error.context(format!("module {shown}")))
    }

    /// Loads a component that was deployed, and that has to have this digest.
    ///
    /// # Errors
    /// As [`StageHost::load`]; also when the bytes have another digest: then they were damaged or exchanged on the way.
    pub fn load_deployed(&self, digest: &str, bytes: &[u8]) -> Result<Arc<Module>> {
        let found = digest_of(bytes);
        if found != digest {
            return Err(Error::mismatch(format!(
                "module {digest} was damaged or exchanged: what is stored under that name has the digest {found}; deploy it again"
            )));
        }
        check_size(bytes.len() as u64)
            .and_then(|()| self.load_bytes(bytes, Path::new(digest)))
            .map_err(|error| error.context(format!("module {digest}")))
    }

    fn load_bytes(&self, bytes: &[u8], path: &Path) -> Result<Arc<Module>> {
        let digest = digest_of(bytes);
        let modules = || self.inner.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules().get(&digest) {
            return Ok(module.clone());
        }
        if !bytes.starts_with(b"\0asm") {
            return Err(Error::definition("this is no WebAssembly; expected is a component"));
        }
        if Engine::detect_precompiled(bytes).is_some() || bytes.get(4..8) == Some(&[1, 0, 0, 0]) {
            return Err(Error::definition(
                "this is a core module; expected is a component (`weir-component core.wasm -o rule.wasm` makes one)",
            ));
        }
        let engine = &self.inner.engine;
        let component = Component::new(engine, bytes)
            .map_err(|cause| Error::definition(format!("this is no component that can be run: {cause:#}")))?;
        check_contract(&component, engine)?;
        let pre = self
            .inner
            .linker
            .instantiate_pre(&component)
            .and_then(StageComponentPre::new)
            .map_err(|cause| Error::definition(format!("it does not fit {EXPORT}: {cause:#}")))?;
        let bounds = Bounds::new(&StageLimits::default());
        let bytes: Arc<[u8]> = bytes.into();
        let lines = Arc::new(Lines::new(bytes.clone()));
        let description = Live::new(engine, &pre, &lines, bounds, "?")
            .and_then(|mut live| live.describe(bounds))
            .map_err(|failure| Error::definition(format!("it cannot describe itself: {failure}")))?;
        let module = Arc::new(Module {
            digest: digest.clone(),
            path: path.to_owned(),
            bytes,
            description,
            pre,
            lines,
        });
        modules().insert(digest, module.clone());
        Ok(module)
    }
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

/// Whether the component exports this contract in this version, and imports nothing else.
fn check_contract(component: &Component, engine: &Engine) -> Result<()> {
    let component_type = component.component_type();
    let exports: Vec<String> = component_type
        .exports(engine)
        .map(|(name, _)| name.to_owned())
        .collect();
    if !exports.iter().any(|name| name == EXPORT) {
        let of_contract = exports
            .iter()
            .find_map(|name| name.strip_prefix(PACKAGE)?.split_once('@'));
        return Err(Error::definition(match of_contract {
            Some((_, version)) => {
                format!(
                    "it is built for {PACKAGE}@{version}; this host speaks {PACKAGE}@{VERSION}: build it with the SDK of this host"
                )
            }
            None => format!("it does not export {EXPORT}; rules are built with the crate weir-guest"),
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
