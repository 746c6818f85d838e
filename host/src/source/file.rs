//! A file of payloads, one per line: the same engine without a server.
//!
//! Where a pipeline has several inputs, a line says which subject its payload came on:
//! `{"subject": "…", "payload": …}`. A line that is no such thing, or whose subject is that of no input, is a dead letter.
//!
//! A line's number is its stream sequence. The database keeps, beside the position, a hash of all bytes up to there; a
//! file is continued only where it is still the same up to that line. (A last line without an end of line counts as a
//! line, and has to be unchanged as well when the file has grown.)

use super::{Source, Stop};
use crate::{
    decode::{Decoder, LineScanner},
    delivery::{DecodedBatch, Receipt},
    error::{Context, Error, Result},
};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use xxhash_rust::xxh3::Xxh3;

/// Bytes that are read from the file at once.
const READ_BYTES: usize = 1 << 20;

/// The name under which a database knows that it was filled from a file.
pub const IDENTITY: &str = "a file of events";

/// A file of payloads.
pub struct FileSource {
    path: PathBuf,
    reader: BufReader<File>,
    decoder: Decoder,
    /// Where there are several inputs.
    lines: Option<LineScanner>,
    hash: Xxh3,
    sequence: u64,
    line: Vec<u8>,
    stop: Stop,
    bytes_read: Arc<AtomicU64>,
    ended: bool,
}

impl std::fmt::Debug for FileSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSource")
            .field("path", &self.path)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl FileSource {
    /// Opens the file, and passes over the `position` lines that a database already holds, whose bytes have
    /// `content_hash`.
    ///
    /// # Errors
    /// When the file cannot be read, has fewer lines than that, or other ones.
    pub fn open(path: &Path, decoder: Decoder, position: u64, content_hash: u64, stop: Stop) -> Result<Self> {
        let file =
            File::open(path).map_err(|cause| Error::definition(format!("cannot read {}: {cause}", path.display())))?;
        let subjects = decoder.subjects();
        let lines = match subjects.len() {
            1 => None,
            _ => Some(LineScanner::new(subjects).map_err(Error::definition)?),
        };
        let mut source = Self {
            path: path.to_owned(),
            reader: BufReader::with_capacity(READ_BYTES, file),
            decoder,
            lines,
            hash: Xxh3::new(),
            sequence: 0,
            line: Vec::new(),
            stop,
            bytes_read: Arc::default(),
            ended: false,
        };
        while source.sequence < position {
            if !source.read_line()? {
                return Err(Error::mismatch(format!(
                    "{} has {} lines, but the database holds {position}; name the file that it was filled from, or another --database",
                    path.display(),
                    source.sequence
                )));
            }
        }
        if position > 0 && source.hash.digest() != content_hash {
            return Err(Error::mismatch(format!(
                "the first {position} lines of {} are not those that the database was filled from; name that file, or another --database",
                path.display()
            )));
        }
        Ok(source)
    }

    /// Counts the bytes that were read so far, for a progress bar.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        self.bytes_read.clone()
    }

    /// Reads the next line into `self.line`, without its end; false at the end of the file.
    fn read_line(&mut self) -> Result<bool> {
        self.line.clear();
        let path = &self.path;
        let read = self
            .reader
            .read_until(b'\n', &mut self.line)
            .environment(|| format!("cannot read {}", path.display()))?;
        if read == 0 {
            return Ok(false);
        }
        self.hash.update(&self.line);
        self.bytes_read.fetch_add(read as u64, Ordering::Relaxed);
        self.sequence += 1;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        }
        Ok(true)
    }

    /// Decodes the line that was read. A file knows no store times: where a step reads the time, the pipeline or --now
    /// fixes it.
    fn decode_line(&mut self) {
        let (sequence, decoder) = (self.sequence, &mut self.decoder);
        let Some(lines) = &mut self.lines else {
            return decoder.push(sequence, None, &self.line);
        };
        match lines.read(&self.line) {
            Ok(Some(line)) => decoder.push_to(line.input, line.subject, sequence, None, line.payload),
            Ok(None) => decoder.count_blank(sequence),
            Err(reason) => decoder.reject(sequence, &self.line, reason),
        }
    }
}

impl Source for FileSource {
    fn next_batch(&mut self) -> Result<Option<DecodedBatch>> {
        while !self.ended && !self.decoder.is_full() {
            if self.stop.is_set() || !self.read_line()? {
                self.ended = true;
                break;
            }
            self.decode_line();
        }
        if self.decoder.is_empty() {
            return Ok(None);
        }
        let mut batch = self.decoder.take();
        batch.behind = !self.ended;
        batch.receipt = Receipt {
            ack_subject: None,
            content_hash: self.hash.digest(),
        };
        Ok(Some(batch))
    }

    fn receipt_at(&mut self, position: u64) -> Result<Receipt> {
        let path = &self.path;
        let wrap = || format!("cannot read {}", path.display());
        let mut reader = BufReader::with_capacity(READ_BYTES, File::open(path).environment(wrap)?);
        let (mut hash, mut line) = (Xxh3::new(), Vec::new());
        for _ in 0..position {
            line.clear();
            reader.read_until(b'\n', &mut line).environment(wrap)?;
            hash.update(&line);
        }
        Ok(Receipt {
            ack_subject: None,
            content_hash: hash.digest(),
        })
    }

    fn replace_decoder(&mut self, decoder: Decoder) {
        self.decoder = decoder;
    }
}
