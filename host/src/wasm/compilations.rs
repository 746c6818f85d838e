//! Components that are being compiled: each once, however many want it, a few at a time, and none that nobody wants.

use super::{cache::CodeCache, compile::Compiler, compiled::Compiled, read::Binary};
use crate::{
    error::{Context, Error, ErrorKind, Result},
    limits::{COMPILE_FAILURES_KEPT, COMPILE_TRIES, COMPILERS_MAX},
    say,
};
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::{Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use wasmtime::Engine;
use xxhash_rust::xxh3::Xxh3;

/// How often who waits for others looks whether that is still wanted.
const LOOK: Duration = Duration::from_millis(20);

/// A component that is compiled on a thread of its own. When the last one who wants it is dropped, it is given up.
#[derive(Clone)]
pub struct Compilation {
    job: Arc<Job>,
}

impl fmt::Debug for Compilation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compilation")
            .field("is_done", &self.is_done())
            .finish_non_exhaustive()
    }
}

impl Compilation {
    /// Whether it is known by now what came of it.
    pub fn is_done(&self) -> bool {
        lock(&self.job.state).outcome.is_some()
    }

    /// Why it ended without an answer, where the reason is not the component's: it is worth another try.
    pub fn failure(&self) -> Option<Error> {
        self.job.failure()
    }

    /// Calls `then` when it is known what came of it; at once, where it is known.
    pub fn then(&self, then: impl FnOnce() + Send + 'static) {
        let mut state = lock(&self.job.state);
        if state.outcome.is_none() {
            state.then.push(Box::new(then));
            return;
        }
        drop(state);
        then();
    }

    /// Waits for the code.
    pub(super) fn wait(&self) -> Result<Arc<Compiled>> {
        let mut state = lock(&self.job.state);
        loop {
            if let Some(outcome) = &state.outcome {
                return outcome.clone();
            }
            state = self.job.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[derive(Default)]
struct Job {
    state: Mutex<JobState>,
    done: Condvar,
}

#[derive(Default)]
struct JobState {
    outcome: Option<Result<Arc<Compiled>>>,
    then: Vec<Box<dyn FnOnce() + Send>>,
}

impl Job {
    /// See [`Compilation::failure`].
    fn failure(&self) -> Option<Error> {
        let state = lock(&self.state);
        let error = state.outcome.as_ref()?.as_ref().err();
        error.filter(|error| error.kind() == ErrorKind::Environment).cloned()
    }

    fn finish(&self, outcome: Result<Arc<Compiled>>) {
        let mut state = lock(&self.state);
        state.outcome = Some(outcome);
        let then = std::mem::take(&mut state.then);
        drop(state);
        self.done.notify_all();
        then.into_iter().for_each(|then| then());
    }
}

/// All of them.
pub(super) struct Compilations {
    engine: Engine,
    compiler: Compiler,
    cache: Option<CodeCache>,
    /// Of the version of wasmtime and its settings, which stand in the keys of the cache.
    engine_hash: u64,
    jobs: Mutex<HashMap<String, Weak<Job>>>,
    /// How often in a row compiling ended for a reason that may not be the component's, by digest.
    failed: Mutex<HashMap<String, u32>>,
    permits: Permits,
    is_interrupted: AtomicBool,
    /// Whether it was said that code cannot be kept.
    is_said: AtomicBool,
}

impl Compilations {
    pub(super) fn new(engine: &Engine, compiler: Compiler, cache: Option<CodeCache>) -> Self {
        let mut hasher = Xxh3::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self {
            engine: engine.clone(),
            compiler,
            cache,
            engine_hash: hasher.finish(),
            jobs: Mutex::default(),
            failed: Mutex::default(),
            permits: Permits::default(),
            is_interrupted: AtomicBool::new(false),
            is_said: AtomicBool::new(false),
        }
    }

    /// Gives up what is being compiled, and compiles nothing any more.
    pub(super) fn interrupt(&self) {
        self.is_interrupted.store(true, Ordering::Relaxed);
    }

    /// Begins to compile a component, or joins those who wait for it already.
    pub(super) fn begin(self: &Arc<Self>, binary: Binary) -> Result<Compilation> {
        let mut jobs = lock(&self.jobs);
        if let Some(job) = jobs
            .get(binary.digest())
            .and_then(Weak::upgrade)
            .filter(|job| job.failure().is_none())
        {
            return Ok(Compilation { job });
        }
        jobs.retain(|_, job| job.strong_count() > 0);
        let job = Arc::new(Job::default());
        let wanted = Arc::downgrade(&job);
        jobs.insert(binary.digest().to_owned(), wanted.clone());
        drop(jobs);
        let all = self.clone();
        let spawned = std::thread::Builder::new()
            .name("weir-compile".to_owned())
            .spawn(move || {
                // A compiler that panics in this process must not leave anybody waiting.
                let outcome = catch_unwind(AssertUnwindSafe(|| all.compiled(&binary, &wanted)));
                let outcome = outcome.unwrap_or_else(|_| Err(Error::definition("the compiler failed at it")));
                if let Some(job) = wanted.upgrade() {
                    job.finish(outcome);
                }
            })
            .environment(|| "cannot start a thread".to_owned());
        if let Err(error) = spawned {
            // Somebody may have joined by now.
            job.finish(Err(error));
        }
        Ok(Compilation { job })
    }

    fn compiled(&self, binary: &Binary, wanted: &Weak<Job>) -> Result<Arc<Compiled>> {
        let digest = binary.digest();
        let key = format!("{digest}-{:016x}", self.engine_hash);
        if let Some(kept) = self.cache.as_ref().and_then(|cache| cache.get(&key)) {
            return Ok(Arc::new(kept));
        }
        let is_unwanted = || wanted.strong_count() == 0 || self.is_interrupted.load(Ordering::Relaxed);
        let permit = self.permits.wait(&is_unwanted).ok_or_else(given_up)?;
        let compiled = self.compiler.compile(&self.engine, binary, &is_unwanted);
        drop(permit);
        let compiled = compiled.map_err(|error| match is_unwanted() {
            true => error,
            false => self.after_failure(digest, error),
        })?;
        lock(&self.failed).remove(digest);
        if let Some(cache) = &self.cache
            && let Err(error) = cache.put(&key, &compiled)
            && !self.is_said.swap(true, Ordering::Relaxed)
        {
            say!(Warning, "weir: {error}; rules are compiled at every start");
        }
        Ok(Arc::new(compiled))
    }
}

impl Compilations {
    /// What is said of a component that was not compiled. What fails again and again for no reason of its own, as where the
    /// system kills each process that tries, is not tried for ever.
    fn after_failure(&self, digest: &str, error: Error) -> Error {
        if error.kind() != ErrorKind::Environment {
            return error;
        }
        let mut failed = lock(&self.failed);
        if failed.len() >= COMPILE_FAILURES_KEPT {
            failed.clear();
        }
        let times = failed.entry(digest.to_owned()).or_default();
        *times += 1;
        match *times < COMPILE_TRIES {
            true => error,
            false => Error::definition(format!("{error}; that was so {COMPILE_TRIES} times in a row")),
        }
    }
}

/// Permits to compile: a few at a time, in the order in which they were asked for.
#[derive(Default)]
struct Permits {
    state: Mutex<PermitsState>,
    changed: Condvar,
}

#[derive(Default)]
struct PermitsState {
    running: usize,
    next: u64,
    waiting: VecDeque<u64>,
}

/// A permit for one compilation, until it is dropped.
struct Permit<'p>(&'p Permits);

impl Permits {
    fn wait(&self, is_unwanted: &dyn Fn() -> bool) -> Option<Permit<'_>> {
        let mut state = lock(&self.state);
        let number = state.next;
        state.next += 1;
        state.waiting.push_back(number);
        loop {
            if is_unwanted() {
                state.waiting.retain(|waiting| *waiting != number);
                self.changed.notify_all();
                return None;
            }
            if state.running < COMPILERS_MAX && state.waiting.front() == Some(&number) {
                state.waiting.pop_front();
                state.running += 1;
                self.changed.notify_all();
                return Some(Permit(self));
            }
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).running -= 1;
        self.0.changed.notify_all();
    }
}

/// What is told of a component that was not compiled after all. Who hears it ends, since others have no part in it.
pub(super) fn given_up() -> Error {
    Error::environment("compiling it was given up, since weir ends")
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn permits_come_in_order_and_who_gives_up_holds_up_nobody() {
        let permits = Permits::default();
        let first: Vec<_> = (0..COMPILERS_MAX).map(|_| permits.wait(&|| false).unwrap()).collect();
        let gives_up = &AtomicBool::new(false);
        let (took, taken) = channel();
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (took, permits) = (took.clone(), &permits);
                scope.spawn(move || {
                    let permit = permits.wait(&|| number == 1 && gives_up.load(Ordering::Relaxed));
                    took.send((number, permit.is_some())).unwrap();
                });
                while lock(&permits.state).waiting.len() <= number {
                    std::thread::yield_now();
                }
            }
            gives_up.store(true, Ordering::Relaxed);
            assert_eq!(taken.recv().unwrap(), (1, false));
            assert!(taken.try_recv().is_err(), "all permits are taken");
            drop(first);
            let mut order: Vec<(usize, bool)> = (0..3).map(|_| taken.recv().unwrap()).collect();
            order.sort_unstable();
            assert_eq!(order, [(0, true), (2, true), (3, true)]);
        });
        assert_eq!(lock(&permits.state).running, 0);
    }
}
