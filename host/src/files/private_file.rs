//! Files and folders that weir makes: nobody gets more of them than they need, and none is made or written through a link.
//!
//! A name may be taken before weir uses it: by a link to a file of somebody else, by a second name of such a file, by a pipe
//! that never answers. So what is made is made with `O_EXCL` and its mode, in one step; what is there is opened without
//! following a link, and looked at before it is used; and what replaces a file is written beside it and takes its name at the
//! end. The mode never depends on a umask that is wide.
//!
//! - Databases and what is kept beside them are for their owner alone ([`make`]), until somebody changes the mode of the
//!   database: what comes to stand beside it has that mode too ([`keep_beside`], [`write_beside`]).
//! - What a person builds or is given to edit may be read by others ([`write_new`], [`write_whole`]).
//! - What is for a time lies in a folder of its own ([`temporary_folder`]).
//!
//! `docs/SECURITY.md` has the table.

use crate::error::{Context, Error, Result};
use rustix::{
    fs::OFlags,
    io::Errno,
    process::{Gid, Uid},
};
use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};
use tempfile::{NamedTempFile, TempDir};

/// For the owner alone.
const OWN_FILE: u32 = 0o600;
const OWN_FOLDER: u32 = 0o700;

/// For others to read, as far as the user's umask lets them.
const SHOWN_FILE: u32 = 0o644;
const SHOWN_FOLDER: u32 = 0o755;

/// Who may read and write; nobody runs what weir writes.
const MODE: u32 = 0o666;

/// How often is looked again where others make and remove a file under the same name.
const ATTEMPTS: usize = 100;

/// What opens a file that is there: not what a link leads to, and without waiting for the other end of a pipe.
const AS_IT_IS: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits() as i32;

/// Makes a file for its owner alone, under a name that nothing has, not even a link. For reading and writing.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] when something has the name, and whatever keeps the system from it.
pub fn make(path: &Path) -> io::Result<File> {
    make_exactly(path, OWN_FILE)
}

fn make_with(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(AS_IT_IS)
        .open(path)
}

/// Makes a file of this mode, whatever the umask is: one that keeps a file from its own owner would leave a file that nobody can
/// open again.
fn make_exactly(path: &Path, mode: u32) -> io::Result<File> {
    let file = make_with(path, mode)?;
    // Only then: some file systems have no modes, and refuse.
    if file.metadata()?.mode() & mode != mode {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(file)
}

/// Opens a file that weir keeps beside another, for reading and writing, and makes it with the mode and the owner of that
/// where it is missing. What it holds stays.
///
/// # Errors
/// When something else has the name, such as a link, and when the system does not let us.
pub fn keep_beside(path: &Path, other: &Metadata) -> Result<File> {
    let cannot = |cause: io::Error| Error::environment(format!("cannot open {}: {cause}", path.display()));
    for _ in 0..ATTEMPTS {
        check_own(path)?;
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(AS_IT_IS)
            .open(path);
        match opened {
            Ok(file) => {
                // What has the name now need not be what was looked at.
                check_found(path, &file.metadata().map_err(cannot)?)?;
                return Ok(file);
            }
            Err(cause) if cause.kind() == ErrorKind::NotFound => {}
            Err(cause) if cause.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => continue,
            Err(cause) => return Err(cannot(cause)),
        }
        match make_exactly(path, other.mode() & MODE) {
            Ok(file) => {
                give_to_owner(&file, other).map_err(cannot)?;
                return Ok(file);
            }
            // Another process was faster.
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(cannot(cause)),
        }
    }
    Err(Error::environment(format!(
        "cannot open {}: somebody makes and removes it all the time",
        path.display()
    )))
}

/// Writes a small file that weir keeps beside another, with the mode and the owner of that. It is there whole or as it was,
/// whatever dies meanwhile.
///
/// # Errors
/// When something else has the name, such as a link, and when the system does not let us.
pub fn write_beside(path: &Path, bytes: &[u8], other: &Metadata) -> Result<()> {
    check_own(path)?;
    let wrap = || format!("cannot write {}", path.display());
    let partial = partial(path, OWN_FILE).environment(wrap)?;
    give_to_owner(partial.as_file(), other).environment(wrap)?;
    finish(partial, path, bytes, File::sync_data)
}

/// Gives a file that was made here the mode and the owner of another: a root who looks after the files of somebody must not
/// leave one that those cannot open.
fn give_to_owner(file: &File, other: &Metadata) -> io::Result<()> {
    let made = file.metadata()?;
    if rustix::process::geteuid().is_root() && (made.uid(), made.gid()) != (other.uid(), other.gid()) {
        let (owner, group) = (Uid::from_raw(other.uid()), Gid::from_raw(other.gid()));
        rustix::fs::fchown(file, Some(owner), Some(group))?;
    }
    // The umask may have taken some of it away.
    match (made.mode() ^ other.mode()) & MODE {
        0 => Ok(()),
        _ => file.set_permissions(Permissions::from_mode(other.mode() & MODE)),
    }
}

/// Checks that a name is free, or that of a file of its own: no link, and no second name of another file.
///
/// # Errors
/// With what has the name, and what to do.
pub fn check_own(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) => check_found(path, &found),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(Error::environment(format!("cannot open {}: {cause}", path.display()))),
    }
}

fn check_found(path: &Path, found: &Metadata) -> Result<()> {
    let kind = found.file_type();
    let is = if kind.is_symlink() {
        link_to(path)
    } else if !kind.is_file() {
        what_else(kind).to_owned()
    } else if found.nlink() > 1 {
        format!("a file with {} names (hard links)", found.nlink())
    } else {
        return Ok(());
    };
    Err(Error::environment(format!(
        "cannot open {}: it is {is}, where weir keeps a file of its own, and it is left alone; remove it",
        path.display()
    )))
}

/// A link, and where it leads.
pub(crate) fn link_to(path: &Path) -> String {
    fs::read_link(path).map_or_else(
        |_| "a symbolic link".to_owned(),
        |target| format!("a symbolic link to {}", target.display()),
    )
}

/// What keeps a folder from being made at `path`, and where: something that is none, or a link to nothing.
pub(crate) fn in_the_way(path: &Path) -> Option<String> {
    // From above: what is below something that is no folder does not matter.
    let mut all: Vec<&Path> = path.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
    all.reverse();
    let found = all.into_iter().find_map(|path| {
        let found = fs::symlink_metadata(path).ok()?;
        let leads_to = fs::metadata(path);
        let is = match (found.is_symlink(), leads_to) {
            (_, Ok(leads_to)) if leads_to.is_dir() => return None,
            (true, Ok(_)) => format!("{}, which is no folder", link_to(path)),
            (true, Err(_)) => format!("{}, which is not there", link_to(path)),
            (false, _) if found.is_file() => "a file".to_owned(),
            (false, _) => what_else(found.file_type()).to_owned(),
        };
        Some((path, is))
    });
    found.map(|(path, is)| format!("{} is {is}, where a folder has to be; remove it", path.display()))
}

/// What is no file and no link.
fn what_else(kind: fs::FileType) -> &'static str {
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// Says, once for each folder, that others may put another file in the place of `path`. The folder of a container is open to
/// all as a rule, so this ends nothing.
pub fn warn_of_open_folder(path: &Path) {
    static SAID: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let folder = folder_of(path);
    let Ok(found) = fs::metadata(folder) else { return };
    if found.mode() & OTHERS_WRITE == 0 || found.mode() & STICKY != 0 {
        return;
    }
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(folder.to_owned()) {
        tracing::warn!(path = %path.display(), "every user may write to folder {} (mode {:o}), and so put another file in the place of {}; `chmod o-w` keeps \
             them out",
            folder.display(),
            found.mode() & 0o7777,
            path.display()
        );
    }
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Makes a folder for its owner alone, and those above it that are missing; one that is there stays as it is.
///
/// # Errors
/// When the system does not let us.
pub fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(OWN_FOLDER).create(path)
}

/// Makes a folder for its owner alone, where such folders lie, under a name that nobody can foresee. It is removed when the
/// value is dropped.
///
/// # Errors
/// When the system does not let us.
pub fn temporary_folder(prefix: &str) -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix(prefix)
        .permissions(Permissions::from_mode(OWN_FOLDER))
        .tempdir()
        .environment(|| "cannot make a temporary folder".to_owned())
}

/// Makes a folder that others may look into, under a name that nothing has, not even a link.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] when something has the name, and whatever keeps the system from it.
pub fn make_shown_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(SHOWN_FOLDER).create(path)
}

/// Makes folders that others may look into, those that are missing.
fn shown_folders(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(SHOWN_FOLDER).create(path)
}

/// Writes a file that others may read, under a name that nothing has, not even a link. Folders that are missing are made.
///
/// # Errors
/// When something has the name, and when the system does not let us.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        shown_folders(folder_of(path))?;
        make_with(path, SHOWN_FILE)?.write_all(bytes)
    };
    write().environment(|| format!("cannot write {}", path.display()))
}

/// Writes a file that others may read. It appears under its name in one step: who looks never finds half of one. A file that is
/// there is replaced, and its mode stays; what links lead to it is left alone. Folders that are missing are made.
///
/// # Errors
/// When what has the name is a link or no file, and when the system does not let us.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let wrap = || format!("cannot write {}", path.display());
    let mode = mode_of_file(path)?;
    shown_folders(folder_of(path)).environment(wrap)?;
    let partial = partial(path, SHOWN_FILE).environment(wrap)?;
    if let Some(mode) = mode {
        let kept = partial.as_file().set_permissions(Permissions::from_mode(mode));
        kept.environment(wrap)?;
    }
    finish(partial, path, bytes, |_| Ok(()))
}

/// The mode of a file that is to be replaced; nothing where the name is free.
fn mode_of_file(path: &Path) -> Result<Option<u32>> {
    let refuse = |is: &str| {
        Err(Error::environment(format!(
            "cannot write {}: it is {is}, and weir writes to files alone, never through links; remove it, or name another",
            path.display()
        )))
    };
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => refuse(&link_to(path)),
        Ok(found) if !found.is_file() => refuse(what_else(found.file_type())),
        Ok(found) => Ok(Some(found.mode() & MODE)),
        Err(_) => Ok(None),
    }
}

/// A large file with rows of a database, which is as private as those. It appears under its name once it is whole; until then, and
/// where it is dropped before, there is none.
#[derive(Debug)]
pub struct Partial {
    file: NamedTempFile,
    path: PathBuf,
    replaces: bool,
}

impl Partial {
    /// Begins the file. One that has the name is replaced at the end where `replaces` says so, and its mode stays.
    ///
    /// # Errors
    /// When something has the name that is not to be replaced, or is a link or no file; and when the system does not let us.
    pub fn begin(path: &Path, replaces: bool) -> Result<Self> {
        let mode = mode_of_file(path)?;
        if mode.is_some() && !replaces {
            return Err(Error::definition(format!(
                "{} is there already; name another file, or replace it with --force",
                path.display()
            )));
        }
        let file = partial(path, mode.unwrap_or(OWN_FILE));
        Ok(Self {
            file: file.environment(|| format!("cannot write {}", path.display()))?,
            path: path.to_owned(),
            replaces,
        })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// When somebody has taken the name meanwhile, and when the system does not let us.
    pub fn finish(self) -> Result<()> {
        let wrap = || format!("cannot write {}", self.path.display());
        self.file.as_file().sync_data().environment(wrap)?;
        let named = match self.replaces {
            true => self.file.persist(&self.path),
            false => self.file.persist_noclobber(&self.path),
        };
        named.map(|_| ()).environment(wrap)
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file beside `path` that takes its place later.
fn partial(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".weir-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder_of(path))
}

/// Fills a file and gives it its name. A name does not follow links: what has it is replaced.
fn finish(mut partial: NamedTempFile, path: &Path, bytes: &[u8], sync: fn(&File) -> io::Result<()>) -> Result<()> {
    let wrap = || format!("cannot write {}", path.display());
    partial.write_all(bytes).environment(wrap)?;
    sync(partial.as_file()).environment(wrap)?;
    partial.persist(path).environment(wrap)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{folder, make, temporary_folder, write_beside, write_whole};
    use std::{
        fs,
        io::ErrorKind,
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
        path::Path,
    };

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn folders_are_for_their_owner_alone() {
        let home = temporary_folder("weir-test-").unwrap();
        assert_eq!(mode(home.path()), 0o700);
        let deep = home.path().join("a/b");
        folder(&deep).unwrap();
        folder(&deep).unwrap();
        assert_eq!((mode(&home.path().join("a")), mode(&deep)), (0o700, 0o700));
    }

    #[test]
    fn a_file_is_made_under_a_free_name_alone() {
        let home = temporary_folder("weir-test-").unwrap();
        let (path, target) = (home.path().join("file"), home.path().join("target"));
        symlink(&target, &path).unwrap();
        assert_eq!(make(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert!(!target.exists());
        fs::remove_file(&path).unwrap();
        make(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn what_is_written_beside_a_file_is_whole_and_has_its_mode() {
        let home = temporary_folder("weir-test-").unwrap();
        let (path, other) = (home.path().join("file"), home.path().join("other"));
        fs::write(&other, "of somebody else").unwrap();
        for mode_of_other in [0o600, 0o666] {
            fs::set_permissions(&other, fs::Permissions::from_mode(mode_of_other)).unwrap();
            for bytes in ["first", "2nd"] {
                write_beside(&path, bytes.as_bytes(), &fs::metadata(&other).unwrap()).unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), bytes);
                assert_eq!(mode(&path), mode_of_other);
            }
        }
        fs::remove_file(&path).unwrap();
        symlink(&other, &path).unwrap();
        let refused = write_beside(&path, b"third", &fs::metadata(&other).unwrap()).unwrap_err();
        assert!(refused.to_string().contains("it is a symbolic link to"), "{refused}");
        assert_eq!(fs::read_to_string(&other).unwrap(), "of somebody else");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "nothing is left");
    }

    #[test]
    fn a_folder_in_the_place_of_a_file_is_named() {
        let home = temporary_folder("weir-test-").unwrap();
        let refused = write_whole(home.path(), b"").unwrap_err();
        assert!(refused.to_string().contains("it is a folder"), "{refused}");
    }
}
