//! Saves: what changed in the files of a guest or a project since the last look. notify is named here and nowhere else.
//!
//! A notification only wakes us; whether something was saved is told by what is in the files. So an editor that writes a
//! file in several steps, or another that writes the same again, makes one build or none, and a save during a build is
//! seen after it.

use crate::error::{Context, Error, Result};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};
use xxhash_rust::xxh3::xxh3_64;

/// What is watched of a folder, as paths within it.
#[derive(Clone, Debug, Default)]
pub(super) struct Watched {
    /// Files from which components are made.
    pub(super) sources: Vec<PathBuf>,
    /// Folders from whose files components are made.
    pub(super) source_folders: Vec<PathBuf>,
    /// Other files that matter.
    pub(super) files: Vec<PathBuf>,
    /// Other folders in which every file matters.
    pub(super) folders: Vec<PathBuf>,
}

impl Watched {
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.sources.iter().chain(&self.files)
    }

    fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.source_folders.iter().chain(&self.folders)
    }

    /// Whether a path within the folder matters.
    fn holds(&self, path: &Path) -> bool {
        self.files().any(|file| file == path) || self.folders().any(|folder| path.starts_with(folder))
    }

    fn is_source(&self, path: &Path) -> bool {
        let is_in = |folder: &PathBuf| path.starts_with(folder);
        self.sources.iter().any(|file| file == path) || self.source_folders.iter().any(is_in)
    }
}

/// How long nothing may happen until a save is taken for whole, and how long we wait for that at most.
const QUIET: Duration = Duration::from_millis(30);
const QUIET_WAIT_MAX: Duration = Duration::from_millis(500);

/// How often we look whether it is time to end.
const LOOK: Duration = Duration::from_millis(50);

/// The files of a guest or a project, watched.
pub(super) struct Watch {
    folder: PathBuf,
    what: Watched,
    watcher: RecommendedWatcher,
    watched: Vec<PathBuf>,
    heard: Receiver<Instant>,
    known: BTreeMap<PathBuf, u64>,
}

/// A save.
#[derive(Debug)]
pub(super) struct Saved {
    /// When the first notification of it came.
    pub(super) at: Instant,
    /// The files that changed, as paths within the folder.
    pub(super) files: Vec<PathBuf>,
    /// Whether another component may come out.
    pub(super) is_of_source: bool,
}

impl Watch {
    /// Watches `what` is in `folder`, a whole path. What is there now is no save.
    pub(super) fn start(folder: &Path, what: Watched) -> Result<Self> {
        let (tell, heard) = channel();
        let (within, matter) = (folder.to_owned(), what.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error means that something was missed: a reason to look.
            let matters = event.map_or(true, |event| {
                !event.kind.is_access()
                    && (event.paths.is_empty() || event.paths.iter().any(|path| ours(&within, &matter, path)))
            });
            if matters {
                let _ = tell.send(Instant::now());
            }
        });
        let mut watch = Self {
            folder: folder.to_owned(),
            what,
            watcher: watcher.map_err(|cause| cannot_watch(folder, &cause))?,
            watched: Vec::new(),
            heard,
            known: BTreeMap::new(),
        };
        watch.look()?;
        Ok(watch)
    }

    /// Waits for a save; nothing once it is time to `end`.
    pub(super) fn wait(&mut self, end: impl Fn() -> bool) -> Result<Option<Saved>> {
        loop {
            let at = loop {
                match self.heard.recv_timeout(LOOK) {
                    Ok(at) => break at,
                    _ if end() => return Ok(None),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(Error::environment(format!(
                            "{} is not watched any more",
                            self.folder.display()
                        )));
                    }
                }
            };
            while at.elapsed() < QUIET_WAIT_MAX && self.heard.recv_timeout(QUIET).is_ok() {}
            let files = self.look()?;
            if !files.is_empty() {
                let is_of_source = files.iter().any(|file| self.what.is_source(file));
                return Ok(Some(Saved {
                    at,
                    files,
                    is_of_source,
                }));
            }
        }
    }

    /// What changed since the last look.
    fn look(&mut self) -> Result<Vec<PathBuf>> {
        let folder_of = |file: &PathBuf| file.parent().unwrap_or(Path::new("")).to_owned();
        let of_files = self.what.files().map(folder_of);
        let of_files = of_files
            .chain([PathBuf::new()])
            .map(|folder| (folder, RecursiveMode::NonRecursive));
        let of_folders = self
            .what
            .folders()
            .map(|folder| (folder.clone(), RecursiveMode::Recursive));
        let modes: Vec<(PathBuf, RecursiveMode)> = of_files.chain(of_folders).collect();
        for (name, mode) in modes {
            // Folders that come later are watched from the next look on.
            let path = self.folder.join(name);
            if path.is_dir() && !self.watched.contains(&path) {
                self.watcher
                    .watch(&path, mode)
                    .map_err(|cause| cannot_watch(&path, &cause))?;
                self.watched.push(path);
            }
        }
        let mut found = BTreeMap::new();
        for name in self.what.files().chain(self.what.folders()) {
            read(&self.folder.join(name), &mut found)?;
        }
        let before = std::mem::replace(&mut self.known, found);
        let is_new = |path: &&PathBuf| before.get(*path) != self.known.get(*path);
        let mut changed: Vec<&PathBuf> = before.keys().chain(self.known.keys()).filter(is_new).collect();
        changed.sort();
        changed.dedup();
        let within = |path: &PathBuf| path.strip_prefix(&self.folder).unwrap_or(path).to_owned();
        Ok(changed.into_iter().map(within).collect())
    }
}

fn ours(folder: &Path, what: &Watched, path: &Path) -> bool {
    path.strip_prefix(folder).map_or(true, |within| what.holds(within))
}

/// Notes what is in the file at `path`, or in all below it.
fn read(path: &Path, found: &mut BTreeMap<PathBuf, u64>) -> Result<()> {
    let cannot = || format!("cannot read {}", path.display());
    if path.is_dir() {
        for entry in fs::read_dir(path).environment(cannot)? {
            read(&entry.environment(cannot)?.path(), found)?;
        }
    } else if let Ok(bytes) = fs::read(path) {
        // One that is gone by now, or a link that leads nowhere, is none.
        found.insert(path.to_owned(), xxh3_64(&bytes));
    }
    Ok(())
}

fn cannot_watch(path: &Path, cause: &notify::Error) -> Error {
    Error::environment(format!("cannot watch {}: {cause}", path.display()))
}
