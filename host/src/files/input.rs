//! Files that somebody names: read no further than is sensible, and told from what they are not.
//!
//! A name may lead to a pipe that nobody writes to, to a device without end, to a file that a compressor or another system
//! wrote. What is small is a regular file of a bounded size ([`read_text`]); events and rows come line by line, from a file
//! or a pipe, and a line has a bounded length ([`Lines`]).

use crate::{
    error::{Context as _, Error, Result},
    limits::INPUT_LINE_BYTES_MAX,
    text::printable,
};
use memchr::memchr;
use std::{
    fmt,
    fs::{self, File, FileType, Metadata},
    io::{self, BufRead, BufReader, IsTerminal, Read},
    os::{
        fd::AsFd,
        unix::fs::{FileExt, FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

/// Bytes that are read at once.
const READ_BYTES: usize = 1 << 20;

/// What files begin with that are no text in UTF-8, and what to do about them.
const FORMATS: &[(&[u8], &str, &str)] = &[
    (b"\x1f\x8b", "is compressed with gzip", UNPACK_GZIP),
    (
        b"\x28\xb5\x2f\xfd",
        "is compressed with zstd",
        "unpack it first, with `zstd -d`",
    ),
    (b"\xfd7zXZ\0", "is compressed with xz", "unpack it first, with `xz -d`"),
    (b"BZh", "is compressed with bzip2", "unpack it first, with `bzip2 -d`"),
    (b"PK\x03\x04", "is a zip archive", "unpack it first, with `unzip`"),
    (
        b"\xff\xfe\0\0",
        "is UTF-32",
        "accepted is UTF-8; `iconv -f UTF-32 -t UTF-8` makes it of it",
    ),
    (
        b"\0\0\xfe\xff",
        "is UTF-32",
        "accepted is UTF-8; `iconv -f UTF-32 -t UTF-8` makes it of it",
    ),
    (b"\xff\xfe", "is UTF-16", UTF_16),
    (b"\xfe\xff", "is UTF-16", UTF_16),
    (b"{\0", "is UTF-16", UTF_16),
    (b"\0{", "is UTF-16", UTF_16),
    (
        b"\xef\xbb\xbf",
        "begins with a byte-order mark",
        "remove it, with `sed -i '1s/^\\xEF\\xBB\\xBF//'`",
    ),
    (b"SQLite format 3\0", "is a SQLite database", "accepted is a text file"),
    (b"PAR1", "is a Parquet file", "accepted is a text file"),
    (b"Obj\x01", "is an Avro file", "accepted is a text file"),
    (b"\0asm", "is a WebAssembly module", "accepted is a text file"),
];

const UNPACK_GZIP: &str = "unpack it first, with `gunzip`";
const UTF_16: &str = "accepted is UTF-8; `iconv -f UTF-16 -t UTF-8` makes it of it";

/// What a file is that begins with `bytes`, where that is no text in UTF-8; and what to do about it.
fn format_of(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let found = FORMATS.iter().find(|(magic, ..)| bytes.starts_with(magic));
    found.map(|(_, what, advice)| (*what, *advice))
}

/// The name of a file in messages: what it is, and its path.
fn named(what: &str, path: &Path) -> String {
    printable(format!("{what} {}", path.display()).trim_start())
}

fn cannot_read(what: &str, path: &Path, cause: &io::Error) -> Error {
    Error::definition(format!("cannot read {}: {cause}", named(what, path)))
}

/// What is no regular file, in words.
fn kind_of(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "a folder"
    } else if file_type.is_fifo() {
        "a pipe"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// Checks that `path` leads to a regular file of `most` bytes at most. `what` stands before its name in messages:
/// `pipeline file`, or nothing.
///
/// # Errors
/// When it does not: opening a pipe would wait for somebody to write to it, and a device may never end.
pub fn check_file(path: &Path, what: &str, most: u64) -> Result<()> {
    let metadata = fs::metadata(path).map_err(|cause| cannot_read(what, path, &cause))?;
    if !metadata.is_file() {
        return Err(Error::definition(format!(
            "cannot read {}: it is {}; accepted is a file",
            named(what, path),
            kind_of(metadata.file_type())
        )));
    }
    if metadata.len() > most {
        return Err(too_large(path, what, most));
    }
    Ok(())
}

fn too_large(path: &Path, what: &str, most: u64) -> Error {
    Error::definition(format!(
        "{} is larger than {most} bytes, the most that is accepted",
        named(what, path)
    ))
}

/// The text of a regular file of `most` bytes at most.
///
/// # Errors
/// When it cannot be read, is no regular file, is larger, or is no text in UTF-8; where it is told what it is instead.
pub fn read_text(path: &Path, what: &str, most: u64) -> Result<String> {
    check_file(path, what, most)?;
    let file = File::open(path).map_err(|cause| cannot_read(what, path, &cause))?;
    text_of(&file, path, what, most)
}

/// The text of a file or a pipe of `most` bytes at most; `-` is standard input. And what it was read from, since a secret may not
/// lie open.
///
/// # Errors
/// As [`read_text`]; and when it would be typed on a terminal, which shows it.
pub fn read_secret(path: &Path, what: &str, most: u64) -> Result<(String, Metadata)> {
    const ACCEPTED: &str = "accepted is a file, a pipe, or `-` for standard input";
    let is_standard = path == Path::new("-");
    let refuse = |is: &str| {
        let named = named(what, path);
        Err(Error::definition(format!(
            "cannot read {named}: it is {is}; {ACCEPTED}"
        )))
    };
    // Before it is opened: a device may do anything then.
    if !is_standard {
        let kind = fs::metadata(path)
            .map_err(|cause| cannot_read(what, path, &cause))?
            .file_type();
        if !kind.is_file() && !kind.is_fifo() {
            return refuse(kind_of(kind));
        }
    }
    let file = match is_standard {
        true => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        false => File::open(path),
    };
    let file = file.map_err(|cause| cannot_read(what, path, &cause))?;
    let metadata = file.metadata().map_err(|cause| cannot_read(what, path, &cause))?;
    if file.is_terminal() {
        return refuse("a terminal, which shows what is typed");
    }
    let kind = metadata.file_type();
    // A device that has nothing to give is standard input where there is none.
    if kind.is_dir() || kind.is_block_device() {
        return refuse(kind_of(kind));
    }
    Ok((text_of(&file, path, what, most)?, metadata))
}

/// What a regular file of `most` bytes at most holds.
///
/// # Errors
/// When it cannot be read, is no regular file, or is larger.
pub fn read_bytes(path: &Path, what: &str, most: u64) -> Result<Vec<u8>> {
    check_file(path, what, most)?;
    let file = File::open(path).map_err(|cause| cannot_read(what, path, &cause))?;
    bytes_of(&file, path, what, most)
}

fn bytes_of(file: &File, path: &Path, what: &str, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = file.take(most + 1).read_to_end(&mut bytes);
    read.map_err(|cause| cannot_read(what, path, &cause))?;
    match bytes.len() as u64 > most {
        true => Err(too_large(path, what, most)),
        false => Ok(bytes),
    }
}

fn text_of(file: &File, path: &Path, what: &str, most: u64) -> Result<String> {
    let bytes = bytes_of(file, path, what, most)?;
    if let Some((found, advice)) = format_of(&bytes) {
        return Err(Error::definition(format!("{} {found}; {advice}", named(what, path))));
    }
    String::from_utf8(bytes).map_err(|cause| {
        let at = cause.utf8_error().valid_up_to();
        Error::definition(format!("{} is not valid UTF-8, at byte {at}", named(what, path)))
    })
}

/// The lines of a file or a pipe, one after the other.
pub struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    file: Option<Metadata>,
    number: u64,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("path", &self.path)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Lines {
    /// Opens a file or a pipe; `-` is standard input.
    ///
    /// # Errors
    /// When it cannot be read, or is a folder, a socket or a disk. (A device such as `/dev/null` has lines, or none.)
    pub fn open(path: &Path) -> Result<Self> {
        let is_standard = path == Path::new("-");
        let mut found = None;
        let file = if is_standard {
            let input = io::stdin().as_fd().try_clone_to_owned();
            File::from(input.map_err(|cause| cannot_read("", path, &cause))?)
        } else {
            let metadata = fs::metadata(path).map_err(|cause| cannot_read("", path, &cause))?;
            let kind = metadata.file_type();
            if !kind.is_file() && !kind.is_fifo() && !kind.is_char_device() {
                return Err(Error::definition(format!(
                    "cannot read {}: it is {}; accepted is a file, a pipe, or `-` for standard input",
                    named("", path),
                    kind_of(metadata.file_type())
                )));
            }
            found = Some(metadata).filter(Metadata::is_file);
            File::open(path).map_err(|cause| cannot_read("", path, &cause))?
        };
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::with_capacity(READ_BYTES, file),
            file: found,
            number: 0,
        })
    }

    /// The same, and checks that it begins as text does.
    ///
    /// # Errors
    /// As [`Lines::open`], and when it is something else, such as a compressed file.
    pub fn open_text(path: &Path) -> Result<Self> {
        let mut lines = Self::open(path)?;
        lines.check_text()?;
        Ok(lines)
    }

    /// Checks that the file begins as text does. To be called before the first line.
    ///
    /// # Errors
    /// When it is something else, which is told.
    pub fn check_text(&mut self) -> Result<()> {
        let start = self.reader.fill_buf();
        let start = start.map_err(|cause| cannot_read("", &self.path, &cause))?;
        match format_of(start) {
            Some((found, advice)) => Err(Error::definition(format!(
                "{} {found}; {advice}",
                named("", &self.path)
            ))),
            None => Ok(()),
        }
    }

    /// What it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The size of the file; nothing where it is a pipe, whose bytes can be had once.
    pub fn size(&self) -> Option<u64> {
        self.file.as_ref().map(Metadata::len)
    }

    /// The number by which the file system knows the file; nothing where it is a pipe.
    pub fn file_number(&self) -> Option<u64> {
        self.file.as_ref().map(MetadataExt::ino)
    }

    /// Whether the file has these bytes, there, by now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn holds(&self, at: u64, bytes: &[u8]) -> Result<bool> {
        let mut found = vec![0; bytes.len()];
        match self.reader.get_ref().read_exact_at(&mut found, at) {
            Ok(()) => Ok(found == bytes),
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(cause) => Err(Error::environment(format!(
                "cannot read {}: {cause}",
                named("", &self.path)
            ))),
        }
    }

    /// The number of the line that was read last; the first is 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Reads the next line into `line`, with its end; false at the end of the file.
    ///
    /// # Errors
    /// When it cannot be read, or is longer than [`INPUT_LINE_BYTES_MAX`].
    pub fn next_into(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        line.clear();
        self.read_on(line)?;
        Ok(!line.is_empty())
    }

    /// What was read of the file behind the last line.
    pub fn ahead(&self) -> &[u8] {
        self.reader.buffer()
    }

    /// Appends to a line what there is of it by now; to an empty one the next. A file that somebody writes to may have more after its end.
    /// Gives whether more was read of the file for it, so that something else is [`Lines::ahead`] than before.
    ///
    /// # Errors
    /// As [`Lines::next_into`].
    pub fn read_on(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        let room = (INPUT_LINE_BYTES_MAX + 1).saturating_sub(line.len());
        let is_next = line.is_empty();
        let reads_more = self.reader.buffer().is_empty();
        // Most lines stand in the buffer as a whole.
        if let Ok(buffer) = self.reader.fill_buf()
            && let Some(end) = memchr(b'\n', buffer).filter(|&end| end < room)
            && let Some(whole) = buffer.get(..=end)
        {
            line.extend_from_slice(whole);
            self.reader.consume(end + 1);
            self.number += u64::from(is_next);
            return Ok(reads_more);
        }
        let read = (&mut self.reader).take(room as u64).read_until(b'\n', line);
        self.number += u64::from(is_next && !line.is_empty());
        read.environment(|| format!("cannot read {}", named("", &self.path)))?;
        if line.len() > INPUT_LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            return Err(Error::definition(format!(
                "{}:{}: the line has more than {INPUT_LINE_BYTES_MAX} bytes; accepted is one payload a line, and no message of \
                 NATS is larger",
                named("", &self.path),
                self.number
            )));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_told_by_its_first_bytes() {
        for (bytes, found) in [
            (&b"\x1f\x8b\x08\0"[..], "gzip"),
            (b"\xff\xfe{\0", "UTF-16"),
            (b"{\0\"\0", "UTF-16"),
            (b"\xfe\xff\0{", "UTF-16"),
            (b"\xff\xfe\0\0", "UTF-32"),
            (b"\xef\xbb\xbf{}", "byte-order mark"),
        ] {
            assert!(
                format_of(bytes).is_some_and(|(what, _)| what.contains(found)),
                "{found}"
            );
        }
        for text in ["", "{", "{}", "\n", "name = 'é'", "BZ"] {
            assert_eq!(format_of(text.as_bytes()), None, "{text}");
        }
    }
}
