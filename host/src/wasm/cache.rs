//! Compiled code on disk, so that a start compiles nothing.
//!
//! A file holds what a compiler answered for one component. Its name says for which one (SHA-256), and for which version of
//! wasmtime and settings. Where there are more bytes than fit, the files that were not used for longest go.
//!
//! What a file holds is run as machine code. So it is read only where the folder and the file belong to this user, their modes
//! let nobody else write to them, and neither is a link. (The folder is looked at once, when it is opened.) A file begins with
//! a digest over its name and the rest of it, which finds damage, and a file under another file's name. The digest has no key,
//! and is no defence against somebody who may write here: that is this user, who would find the key as we do.

use super::compiled::{Compiled, HEADER_BYTES_MAX};
use crate::{
    error::{Context, Error, Result},
    files::private_file,
    limits::{CODE_CACHE_BYTES_MAX, COMPILED_CODE_BYTES_MAX},
};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags},
    process::geteuid,
};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

/// The end of the name of a file with code.
const COMPILED: &str = ".compiled";

/// The beginning of the name of a file that is being written.
const UNFINISHED: &str = ".unfinished-";

/// How old such a file is when its writer is gone for sure.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Bytes of the digest, with which a file begins.
const DIGEST_BYTES: usize = 32;

/// Others than the owner may write.
const OTHERS_WRITE: u32 = 0o022;

/// A folder with compiled code.
#[derive(Debug)]
pub(super) struct CodeCache {
    path: PathBuf,
    /// The folder that was looked at, whatever its path leads to later.
    folder: OwnedFd,
    bytes_max: u64,
}

impl CodeCache {
    /// Opens the folder at `path`, and makes it where it is missing.
    ///
    /// # Errors
    /// When it cannot be made, or somebody else could have written into it.
    pub(super) fn open(path: &Path) -> Result<Self> {
        Self::with_bytes(path, CODE_CACHE_BYTES_MAX)
    }

    fn with_bytes(path: &Path, bytes_max: u64) -> Result<Self> {
        let name = || format!("cannot keep compiled code in {}", path.display());
        private_file::folder(path).map_err(|cause| match private_file::in_the_way(path) {
            Some(what) => Error::environment(format!("{}: {what}", name())),
            None => Error::environment(format!("{}: {cause}", name())),
        })?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
            Ok(folder) => File::from(folder),
            Err(_) if path.is_symlink() => {
                let advice = "it is a link; name the folder that it leads to";
                return Err(Error::environment(format!("{}: {advice}", name())));
            }
            Err(cause) => return Err(cause).environment(name),
        };
        let metadata = folder.metadata().environment(name)?;
        ours(&metadata).map_err(|what| Error::environment(format!("{}: {what}", name())))?;
        Ok(Self {
            path: path.to_owned(),
            folder: folder.into(),
            bytes_max,
        })
    }

    /// The code that is kept under `key`, if it is as it was when it was put there.
    pub(super) fn get(&self, key: &str) -> Option<Compiled> {
        let name = format!("{key}{COMPILED}");
        // A pipe would hold us up.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut file = File::from(rustix::fs::openat(&self.folder, &name, flags, Mode::empty()).ok()?);
        let metadata = file.metadata().ok()?;
        let bytes_max = DIGEST_BYTES as u64 + HEADER_BYTES_MAX as u64 + COMPILED_CODE_BYTES_MAX;
        if !metadata.is_file() || metadata.len() > bytes_max || ours(&metadata).is_err() {
            return None;
        }
        let mut digest = [0; DIGEST_BYTES];
        file.read_exact(&mut digest).ok()?;
        let mut answer = Vec::with_capacity(metadata.len() as usize);
        (&file).take(bytes_max).read_to_end(&mut answer).ok()?;
        if digest != digest_of(&name, &answer) {
            return None;
        }
        // The oldest go first, by when they were used. That it cannot be noted does no harm.
        let _ = file.set_modified(SystemTime::now());
        Compiled::new(answer)?.ok()
    }

    /// Keeps code under `key`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn put(&self, key: &str, compiled: &Compiled) -> Result<()> {
        static WRITES: AtomicU64 = AtomicU64::new(0);
        let number = WRITES.fetch_add(1, Ordering::Relaxed);
        let unfinished = format!("{UNFINISHED}{}-{number}", std::process::id());
        let name = format!("{key}{COMPILED}");
        self.write(&unfinished, &name, compiled.answer()).map_err(|cause| {
            self.remove(&unfinished);
            let cannot = format!("cannot keep compiled code in {}", self.path.display());
            // What else has the name is replaced.
            match fs::symlink_metadata(self.path.join(&name)).is_ok_and(|found| found.is_dir()) {
                true => Error::environment(format!(
                    "{cannot}: {name} is a folder, where a file has to be; remove it"
                )),
                false => Error::environment(format!("{cannot}: {cause}")),
            }
        })?;
        self.make_room();
        Ok(())
    }

    fn write(&self, unfinished: &str, name: &str, answer: &[u8]) -> io::Result<()> {
        // What a process of the same number left is in the way of nothing.
        self.remove(unfinished);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, unfinished, flags, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(file);
        file.write_all(&digest_of(name, answer))?;
        file.write_all(answer)?;
        rustix::fs::renameat(&self.folder, unfinished, &self.folder, name)?;
        Ok(())
    }

    /// Removes the files that were not used for longest, until the others fit.
    fn make_room(&self) {
        let mut files = Vec::new();
        let mut bytes = 0;
        for (name, metadata) in self.files() {
            if !metadata.is_file() {
                continue;
            }
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if name.starts_with(UNFINISHED) {
                if used.elapsed().is_ok_and(|age| age > ABANDONED) {
                    self.remove(&name);
                }
            } else if name.ends_with(COMPILED) {
                bytes += metadata.len();
                files.push((used, name, metadata.len()));
            }
        }
        files.sort();
        for (_, name, length) in files {
            if bytes <= self.bytes_max {
                break;
            }
            self.remove(&name);
            bytes = bytes.saturating_sub(length);
        }
    }

    /// What is in the folder, without what cannot be looked at.
    fn files(&self) -> Vec<(String, Metadata)> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let files = entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?)));
        files.collect()
    }

    fn remove(&self, name: &str) {
        let _ = rustix::fs::unlinkat(&self.folder, name, AtFlags::empty());
    }
}

/// Checks that nobody but this user can have written it.
///
/// # Errors
/// Who could, and what to do.
fn ours(metadata: &Metadata) -> Result<(), String> {
    let (owner, user) = (metadata.uid(), geteuid().as_raw());
    if owner != user {
        return Err(format!(
            "it belongs to user {owner}, and this is user {user}; what is kept there is run, so it has to be ours"
        ));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err(format!(
            "others may write to it (mode {:o}), and what is kept there is run; `chmod go-w` mends that",
            metadata.mode() & 0o7777
        ));
    }
    Ok(())
}

fn digest_of(name: &str, answer: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut digest = Sha256::new();
    digest.update(name);
    digest.update([0]);
    digest.update(answer);
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{compiled::made, required::Required},
        *,
    };
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn compiled(code: &[u8]) -> Compiled {
        Compiled::new(made(code, Required::default()))
            .unwrap()
            .unwrap_or_else(|_| panic!("that is code"))
    }

    fn code_of(compiled: Option<Compiled>) -> Option<Vec<u8>> {
        compiled.map(|compiled| compiled.answer().to_vec())
    }

    struct Folder {
        scratch: tempfile::TempDir,
        cache: CodeCache,
    }

    impl Folder {
        fn new(bytes_max: u64) -> Self {
            let scratch = tempfile::tempdir().unwrap();
            let cache = CodeCache::with_bytes(&scratch.path().join("deep/cache"), bytes_max).unwrap();
            Self { scratch, cache }
        }

        fn file(&self, key: &str) -> PathBuf {
            self.scratch.path().join(format!("deep/cache/{key}{COMPILED}"))
        }
    }

    #[test]
    fn what_is_kept_comes_back_and_nobody_else_can_read_or_write_it() {
        let folder = Folder::new(1 << 20);
        assert!(folder.cache.get("a").is_none());
        folder.cache.put("a", &compiled(b"one")).unwrap();
        folder.cache.put("a", &compiled(b"two")).unwrap();
        assert_eq!(code_of(folder.cache.get("a")), Some(made(b"two", Required::default())));
        assert!(folder.cache.get("b").is_none());
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&folder.file("a")), 0o600);
        assert_eq!(mode(folder.file("a").parent().unwrap()), 0o700);
        assert_eq!(fs::read_dir(folder.file("a").parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_not_as_it_was_is_not_used() {
        let folder = Folder::new(1 << 20);
        let path = folder.file("a");
        let put = || folder.cache.put("a", &compiled(b"machine code")).unwrap();
        put();
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            fs::write(&path, changed).unwrap();
            assert!(folder.cache.get("a").is_none(), "byte {place} was changed");
            fs::write(&path, &whole[..place]).unwrap();
            assert!(folder.cache.get("a").is_none(), "{place} bytes are left");
        }
        fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
        assert!(folder.cache.get("a").is_none());
        put();
        assert!(folder.cache.get("a").is_some());

        // Another component's code, under this one's name.
        fs::copy(&path, folder.file("b")).unwrap();
        assert!(folder.cache.get("b").is_none());
        // The very code, behind a link.
        let elsewhere = folder.scratch.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(folder.cache.get("a").is_none());
        fs::rename(&elsewhere, &path).unwrap();
        assert!(folder.cache.get("a").is_some());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o622)).unwrap();
        assert!(folder.cache.get("a").is_none(), "others may write to it");
    }

    #[test]
    fn the_files_that_were_not_used_for_longest_go_first() {
        let folder = Folder::new(1500);
        let age = |key: &str, seconds: u64| {
            let file = File::options().write(true).open(folder.file(key)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
                .unwrap();
        };
        for (key, seconds) in [("a", 30), ("b", 20), ("c", 10)] {
            folder.cache.put(key, &compiled(&[0; 200])).unwrap();
            age(key, seconds);
        }
        assert!(folder.cache.get("a").is_some());
        let abandoned = folder.file("a").with_file_name(format!("{UNFINISHED}1-1"));
        let fresh = abandoned.with_file_name(format!("{UNFINISHED}1-2"));
        for (path, seconds) in [(&abandoned, 2 * 3600), (&fresh, 60)] {
            let file = File::create(path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
                .unwrap();
        }
        folder.cache.put("d", &compiled(&[0; 300])).unwrap();
        let kept = |key: &str| folder.file(key).exists();
        assert_eq!(["a", "b", "c", "d"].map(kept), [true, false, true, true]);
        assert_eq!((abandoned.exists(), fresh.exists()), (false, true));
    }

    #[track_caller]
    fn check_refused(path: &Path, words: &str) {
        let error = CodeCache::open(path).unwrap_err().to_string();
        assert!(error.starts_with("cannot keep compiled code in "), "{error}");
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let folder = Folder::new(1500);
        let path = folder.scratch.path().join("deep/cache");
        let link = folder.scratch.path().join("link");
        symlink(&path, &link).unwrap();
        check_refused(&link, "it is a link");
        for mode in [0o720, 0o702, 0o1777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            check_refused(&path, &format!("others may write to it (mode {mode:o})"));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        CodeCache::open(&path).unwrap();
        let file = folder.scratch.path().join("file");
        fs::write(&file, "").unwrap();
        check_refused(&file, "");
        // Who is nobody's equal can give a folder away; for everybody else another's folder is at hand.
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
            check_refused(&path, "it belongs to user 65534, and this is user 0");
        } else {
            check_refused(Path::new("/usr"), "it belongs to user 0");
        }
    }
}
