//! The file in which a host notes what it does for guests.
//!
//! It has slots of [`SLOT_BYTES`], each of which holds a line of JSON while something is under way, and begins with a space
//! when nothing is. One write begins a note and one ends it. Nothing is forced to the disk: the notes are about deaths of the
//! process, which the page cache survives; after a power cut there may be none.

use super::Note;
use crate::{
    error::{Context, Result},
    files::private_file,
    limits::GUEST_NOTES_MAX,
    say,
};
use std::{
    fs::{self, File, Metadata},
    io::Read,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

/// A name has up to 64 letters, a digest 64, so a note has some 400 bytes. Slots lie within pages, so that none is half written.
const SLOT_BYTES: usize = 512;

/// Slots that are there from the beginning: as many as a pipeline needs, and on a full disk they are there already.
const SLOTS: usize = 8;

/// What begins a slot in which nothing is under way.
const CLEAR: u8 = b' ';

/// Held for reading by tests that note something, and for writing by those that [`leave`], which speaks for all files of the
/// process.
#[cfg(test)]
pub(super) static LEAVE: std::sync::RwLock<()> = std::sync::RwLock::new(());

/// The files of this process.
static ALL: Mutex<Vec<Weak<Notes>>> = Mutex::new(Vec::new());

/// The notes of one database.
pub struct Notes {
    path: PathBuf,
    file: File,
    run: u64,
    slots: Mutex<Slots>,
    has_failed: AtomicBool,
    /// What keeps others from the same file: it goes last.
    _held: Box<dyn Send + Sync>,
}

#[derive(Default)]
struct Slots {
    taken: Vec<bool>,
    /// Whether the process is about to end, because somebody wants it to.
    is_left: bool,
    /// Whether a thread panicked at work.
    is_kept: bool,
}

impl std::fmt::Debug for Notes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notes")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Notes {
    /// Opens the file at `path`, which is made beside `database` when it is missing, with the mode and the owner of that, and
    /// gives what an earlier process left in it. That stays until [`Notes::clear`]. Nobody else may have it open, for as long
    /// as `held` is there.
    ///
    /// # Errors
    /// When it cannot be made or written to, or something else has its name, such as a link.
    pub fn open(path: &Path, database: &Path, held: impl Send + Sync + 'static) -> Result<(Arc<Self>, Vec<Note>)> {
        let shown = path.display();
        let database = fs::metadata(database).environment(|| format!("cannot open {}", database.display()))?;
        let file = private_file::keep_beside(path, &database)?;
        let left = read_from(&file).environment(|| format!("cannot read {shown}"))?;
        let notes = Arc::new(Self {
            path: path.to_owned(),
            file,
            run: fastrand::u64(1..),
            slots: Mutex::default(),
            has_failed: AtomicBool::new(false),
            _held: Box::new(held),
        });
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|notes| notes.strong_count() > 0);
        all.push(Arc::downgrade(&notes));
        Ok((notes, left))
    }

    /// Forgets what an earlier process left. To be called before the first note.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn clear(&self) -> Result<()> {
        let empty = [CLEAR; SLOTS * SLOT_BYTES];
        let written = self.file.set_len(0).and_then(|()| self.file.write_all_at(&empty, 0));
        written.environment(|| format!("cannot write {}", self.path.display()))
    }

    /// The number of this process.
    pub(super) fn run(&self) -> u64 {
        self.run
    }

    /// Writes a note, which stands until its slot is given back.
    pub(super) fn write(self: &Arc<Self>, record: &[u8]) -> Slot {
        let mut slots = self.slots();
        let free = slots.taken.iter().position(|taken| !taken);
        let number = free.unwrap_or_else(|| {
            slots.taken.push(false);
            slots.taken.len() - 1
        });
        if let Some(taken) = slots.taken.get_mut(number) {
            *taken = true;
        }
        if !slots.is_left && number < GUEST_NOTES_MAX {
            self.put(number, record);
        }
        Slot {
            notes: self.clone(),
            number,
        }
    }

    fn put(&self, slot: usize, bytes: &[u8]) {
        if let Err(cause) = self.file.write_all_at(bytes, (slot * SLOT_BYTES) as u64)
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            say!(
                Warning,
                "weir: cannot write {}: {cause}; should the host die while a rule is at work, that may not be remembered",
                self.path.display()
            );
        }
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        // Nothing is under way, and so there is nothing to remember.
        if !self.slots().is_kept {
            self.remove();
        }
    }
}

impl Notes {
    fn remove(&self) {
        // What somebody put in its place is theirs.
        let is_ours = |found: Metadata| {
            let own = self.file.metadata();
            own.is_ok_and(|own| (own.dev(), own.ino()) == (found.dev(), found.ino()))
        };
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A slot in which a note stands.
pub(super) struct Slot {
    notes: Arc<Notes>,
    number: usize,
}

impl Slot {
    /// Ends it; or lets it stand for the next start, where the process is about to end because of this work.
    pub(super) fn end(self, keeps: bool) {
        let mut slots = self.notes.slots();
        if keeps {
            slots.is_kept = true;
            return;
        }
        if self.number < GUEST_NOTES_MAX {
            self.notes.put(self.number, &[CLEAR]);
        }
        if let Some(taken) = slots.taken.get_mut(self.number) {
            *taken = false;
        }
    }
}

/// See [`super::leave`].
pub(super) fn leave() {
    let all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    for notes in all.iter().filter_map(Weak::upgrade) {
        let mut slots = notes.slots();
        slots.is_left = true;
        if !slots.is_kept {
            (0..slots.taken.len().min(GUEST_NOTES_MAX)).for_each(|slot| notes.put(slot, &[CLEAR]));
            // Nothing is written from here on, and nobody else has the file before this process is gone.
            notes.remove();
        }
    }
}

/// A note as it is written.
pub(super) fn record(note: &Note) -> Box<[u8]> {
    let mut record = serde_json::to_vec(note).unwrap_or_default();
    record.resize(SLOT_BYTES - 1, b' ');
    record.push(b'\n');
    record.into()
}

/// What stands in a file.
#[cfg(test)]
pub(super) fn read(path: &Path) -> std::io::Result<Vec<Note>> {
    read_from(&File::open(path)?)
}

/// What is no note (a file of somebody else, or what a power cut left) says nothing.
fn read_from(file: &File) -> std::io::Result<Vec<Note>> {
    let mut bytes = Vec::new();
    file.take((GUEST_NOTES_MAX * SLOT_BYTES) as u64)
        .read_to_end(&mut bytes)?;
    let slots = bytes.chunks(SLOT_BYTES).filter(|slot| slot.first() != Some(&CLEAR));
    Ok(slots.filter_map(|slot| serde_json::from_slice(slot).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wasm::watch::Doing;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tempfile::TempDir;

    fn note() -> Note {
        Note {
            run: u64::MAX,
            doing: Doing::Prepare,
            pipeline: "p".repeat(64),
            step: "s".repeat(64),
            version: u64::MAX,
            at_ms: i64::MIN,
            candidate: false,
            digest: "d".repeat(64),
            parameters: "p".repeat(32),
        }
    }

    /// A database, as one is made.
    fn database(folder: &TempDir) -> PathBuf {
        let path = folder.path().join("a.db");
        private_file::make(&path).expect("it can be made");
        path
    }

    #[test]
    fn the_longest_note_fits_its_slot() {
        let record = record(&note());
        assert_eq!(record.len(), SLOT_BYTES);
        assert_eq!(serde_json::from_slice::<Note>(&record).expect("it is whole"), note());
    }

    #[test]
    fn what_was_not_ended_is_found_and_the_rest_leaves_no_file() {
        let _held = LEAVE.read().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (path, database) = (folder.path().join("a.db-guest"), database(&folder));
        let (notes, left) = Notes::open(&path, &database, ()).expect("it can be made");
        assert_eq!(left, []);
        notes.clear().expect("it can be written");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (stands, ends) = (notes.write(&record(&note())), notes.write(&record(&note())));
        assert_eq!(read(&path).expect("it can be read").len(), 2);
        ends.end(false);
        // As a process leaves it that dies.
        let bytes = fs::read(&path).expect("it can be read");
        stands.end(false);
        drop(notes);
        assert!(!path.exists());
        fs::write(&path, bytes).expect("it can be written");
        let (notes, left) = Notes::open(&path, &database, ()).expect("it can be opened");
        assert_eq!(left, [note()]);
        notes.clear().expect("it can be written");
        assert_eq!(read(&path).expect("it can be read"), []);
    }

    #[test]
    fn what_somebody_put_in_its_place_stays() {
        let _held = LEAVE.read().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (path, database) = (folder.path().join("a.db-guest"), database(&folder));
        let notes = Notes::open(&path, &database, ()).expect("it can be made").0;
        fs::remove_file(&path).expect("it can be removed");
        fs::write(&path, "mine").expect("it can be written");
        drop(notes);
        assert_eq!(fs::read(&path).expect("it is there"), b"mine");
    }

    #[test]
    fn a_panic_at_work_is_left_for_the_next_start() {
        let _held = LEAVE.write().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (path, database) = (folder.path().join("a.db-guest"), database(&folder));
        let notes = Notes::open(&path, &database, ()).expect("it can be made").0;
        notes.write(&record(&note())).end(true);
        leave();
        drop(notes);
        assert_eq!(read(&path).expect("it can be read"), [note()]);
    }

    #[test]
    fn who_ends_because_somebody_wants_it_leaves_nothing() {
        let _held = LEAVE.write().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (path, database) = (folder.path().join("a.db-guest"), database(&folder));
        let notes = Notes::open(&path, &database, ()).expect("it can be made").0;
        let before = notes.write(&record(&note()));
        leave();
        let after = notes.write(&record(&note()));
        assert!(!path.exists(), "nothing is under way that anybody has to know of");
        before.end(false);
        after.end(false);
        assert!(!path.exists());
    }

    #[test]
    fn a_link_is_not_followed_and_garbage_says_nothing() {
        let _held = LEAVE.read().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (path, database) = (folder.path().join("a.db-guest"), database(&folder));
        let other = folder.path().join("other");
        fs::write(&other, "of somebody else").expect("it can be written");
        symlink(&other, &path).expect("it can be made");
        let refused = Notes::open(&path, &database, ()).expect_err("it is a link").to_string();
        assert!(refused.contains("it is a symbolic link"), "{refused}");
        fs::remove_file(&path).expect("it can be removed");
        fs::write(&path, [0, 255, b'{'].repeat(9000)).expect("it can be written");
        assert_eq!(Notes::open(&path, &database, ()).expect("it can be opened").1, []);
        assert_eq!(fs::read(&other).expect("it is there"), b"of somebody else");
    }
}
