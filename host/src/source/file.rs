//! A file of payloads, one per line: the same engine without a server.
//!
//! A line is a payload, or says which subject its payload came on: see [`EventLines`]. A line that is no such thing, or
//! whose subject is that of no input, is a dead letter.
//!
//! A line's number is its stream sequence. The database keeps, beside the position, a hash of all bytes up to there; a
//! file is continued only where it is still the same up to that line. The end of the last line may have come since.

use super::{Event, EventLines, Source, Stop};
use crate::{
    error::{Context, Error, Result},
    files::input::Lines,
    format::Decoder,
    limits::{BATCH_EVENTS_MAX, BATCHES_QUEUED_MAX},
    model::delivery::{DecodedBatch, Receipt},
};
use std::{
    collections::VecDeque,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use xxhash_rust::xxh3::Xxh3;

/// The name under which a database knows that it was filled from a file.
pub const IDENTITY: &str = "a file of events";

/// How often a file that is followed is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Bytes of a line, from its end, that are read again before a file that is followed is gone on with.
const CHECKED_BYTES: usize = 64 << 10;

/// Lines of a pipe whose hashes are kept: as many as may be under way, and some more. A file can be read again.
const HASHES_KEPT: usize = (BATCHES_QUEUED_MAX + 4) * BATCH_EVENTS_MAX;

/// Ends that a line may have got after it was taken without one.
const LATE_ENDS: &[&[u8]] = &[b"\n", b"\r\n", b"\r"];

/// What becomes of a last line without an end: somebody may be writing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLine {
    /// It is a line like any other.
    Take,
    /// It is one if it is a whole object. Else it is left for the next time, see [`FileSource::left`].
    TakeWhole,
    /// It is waited for, and for the lines after it, until [`Stop`].
    Follow,
}

/// A file of payloads.
pub struct FileSource {
    path: PathBuf,
    lines: Lines,
    decoder: Decoder,
    events: EventLines,
    last_line: LastLine,
    hash: Xxh3,
    sequence: u64,
    line: Vec<u8>,
    /// Where `line` begins in the file.
    line_at: u64,
    /// Of a file that is followed: the line before, without its end, and where it begins.
    previous: Vec<u8>,
    previous_at: u64,
    /// Whether the end of the file was read last; it may have grown since.
    was_at_end: bool,
    /// Whether `line`, and what is read ahead of it, are [plain](EventLines::are_plain).
    is_plain: bool,
    is_plain_ahead: bool,
    /// Whether `line` holds the beginning of the next line.
    is_begun: bool,
    /// Whether the line at `sequence` had no end when it was taken.
    is_open: bool,
    stop: Stop,
    bytes_read: Arc<AtomicU64>,
    left: Arc<AtomicU64>,
    /// Of a pipe: the hashes up to the lines that were read last.
    hashes: VecDeque<(u64, u64)>,
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
    /// Opens a file or a pipe (`-` is standard input), and passes over the `position` lines that a database already holds,
    /// whose bytes have `content_hash`.
    ///
    /// # Errors
    /// When it cannot be read, has fewer lines than that, or other ones; or when it is no text.
    pub fn open(path: &Path, decoder: Decoder, position: u64, content_hash: u64, stop: Stop) -> Result<Self> {
        Self::over(Lines::open(path)?, decoder, position, content_hash, stop)
    }

    /// The same, of a file that was opened already.
    ///
    /// # Errors
    /// As for [`FileSource::open`].
    pub fn over(mut lines: Lines, decoder: Decoder, position: u64, content_hash: u64, stop: Stop) -> Result<Self> {
        // One that was begun is gone on with, whatever it begins with.
        if position == 0 {
            lines.check_text()?;
        }
        let mut source = Self {
            path: lines.path().to_owned(),
            lines,
            events: EventLines::new(decoder.subjects(), decoder.reads_envelopes()),
            decoder,
            last_line: LastLine::Take,
            hash: Xxh3::new(),
            sequence: 0,
            line: Vec::new(),
            line_at: 0,
            previous: Vec::new(),
            previous_at: 0,
            was_at_end: false,
            is_plain: false,
            is_plain_ahead: false,
            is_begun: false,
            is_open: false,
            stop,
            bytes_read: Arc::default(),
            left: Arc::default(),
            hashes: VecDeque::new(),
            ended: false,
        };
        source.pass_over(position, content_hash)?;
        Ok(source)
    }

    fn pass_over(&mut self, position: u64, content_hash: u64) -> Result<()> {
        let mut without_end = Vec::new();
        while self.sequence < position {
            if !self.read_line()? {
                return Err(Error::mismatch(format!(
                    "{} has {} lines, but the database holds {position}; name the file that it was filled from, or another --database",
                    self.path.display(),
                    self.sequence
                )));
            }
            if self.sequence == position {
                for end in LATE_ENDS {
                    let mut hash = self.hash.clone();
                    hash.update(self.line.strip_suffix(*end).unwrap_or(&self.line));
                    without_end.push(hash.digest());
                }
            }
            self.end_line();
            self.events.pass_over(&self.line);
        }
        // When the line was taken it may have had no end yet.
        if position > 0 && self.hash.digest() != content_hash && !without_end.contains(&content_hash) {
            return Err(Error::mismatch(format!(
                "the first {position} lines of {} are not those that the database was filled from; name that file, or another --database",
                self.path.display()
            )));
        }
        Ok(())
    }

    /// Says what becomes of a last line without an end.
    #[must_use]
    pub fn with_last_line(self, last_line: LastLine) -> Self {
        Self { last_line, ..self }
    }

    /// The size of the file; nothing where it is a pipe.
    pub fn size(&self) -> Option<u64> {
        self.lines.size()
    }

    /// Counts the bytes that were read so far, for a progress bar.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        self.bytes_read.clone()
    }

    /// The number of a last line that was left, because it has no end and is no whole object; 0 while there is none.
    pub fn left(&self) -> Arc<AtomicU64> {
        self.left.clone()
    }

    /// Reads the next line into `self.line`; false where there is none, or none yet.
    fn read_line(&mut self) -> Result<bool> {
        if !std::mem::take(&mut self.is_begun) {
            if self.last_line == LastLine::Follow && !self.line.is_empty() {
                std::mem::swap(&mut self.line, &mut self.previous);
                self.previous_at = self.line_at;
            }
            self.line.clear();
            self.line_at = self.bytes_read.load(Ordering::Relaxed);
        }
        let before = self.line.len();
        if self.lines.read_on(&mut self.line)? {
            // The line may have begun before that.
            self.is_plain = false;
            self.is_plain_ahead = self.events.are_plain(self.lines.ahead());
        } else {
            self.is_plain = self.is_plain_ahead;
        }
        let read = self.line.len() - before;
        // Nobody else counts.
        let counted = self.bytes_read.load(Ordering::Relaxed);
        self.bytes_read.store(counted + read as u64, Ordering::Relaxed);
        let is_behind_end = std::mem::replace(&mut self.was_at_end, self.line.last() != Some(&b'\n'));
        if read > 0 && is_behind_end && self.last_line == LastLine::Follow && self.size().is_some() {
            // What came may be of a file that was written anew, and not stand behind what was read.
            self.check_is_same()?;
        }
        if self.line.is_empty() {
            return Ok(false);
        }
        if self.is_open {
            return self.read_late_end();
        }
        let has_end = self.line.last() == Some(&b'\n');
        let waits = match self.last_line {
            _ if has_end => false,
            LastLine::Take => false,
            LastLine::TakeWhole => !self.events.is_whole(&self.line),
            LastLine::Follow => true,
        };
        if waits {
            self.is_begun = true;
            if self.last_line == LastLine::TakeWhole {
                self.left.store(self.sequence + 1, Ordering::Relaxed);
            }
            return Ok(false);
        }
        self.is_open = !has_end;
        self.sequence += 1;
        Ok(true)
    }

    /// Goes on after a line that was taken without its end, which is all that may have come since.
    fn read_late_end(&mut self) -> Result<bool> {
        match self.line.as_slice() {
            end @ (b"\n" | b"\r\n") => {
                self.hash.update(end);
                self.is_open = false;
                self.line.clear();
                self.read_line()
            }
            // Half of an end.
            b"\r" => {
                self.is_begun = true;
                Ok(false)
            }
            _ => Err(Error::mismatch(format!(
                "line {} of {} was taken when it had no end, and was changed since; name another --database",
                self.sequence,
                self.path.display()
            ))),
        }
    }

    /// Takes the line that was read into the hash, and its end off.
    fn end_line(&mut self) {
        self.hash.update(&self.line);
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        }
        if self.lines.size().is_none() {
            self.hashes.truncate(HASHES_KEPT);
            self.hashes.push_front((self.sequence, self.hash.digest()));
        }
    }

    /// Decodes the line that was read.
    fn decode_line(&mut self) {
        let (sequence, decoder) = (self.sequence, &mut self.decoder);
        let event = self.events.read_within(&self.line, self.is_plain);
        let is_timed = match &event {
            Event::Payload => false,
            Event::Of(line) => line.store_ms.is_some(),
            Event::Empty | Event::Refused(_) => true,
        };
        if let Some(step) = decoder.reads_store_time().filter(|_| !is_timed) {
            let reason = format!(
                "the line says no store_time, and step \"{step}\" reads the time; accepted is {{\"subject\": \"…\", \"store_time\": \
                 \"2026-03-15T12:00:00+08:00\", \"payload\": …}}"
            );
            return decoder.reject(sequence, &self.line, reason);
        }
        match event {
            Event::Payload => decoder.push(sequence, None, &self.line),
            Event::Of(line) => decoder.push_to(line.input, &line.message(sequence)),
            Event::Empty => decoder.count_empty(sequence),
            Event::Refused(reason) => decoder.reject(sequence, &self.line, reason),
        }
    }

    /// Checks that a file that is followed still has what was read of it last, where it was read.
    fn check_is_same(&self) -> Result<()> {
        for (at, line) in [(self.previous_at, &self.previous), (self.line_at, &self.line)] {
            let passed = line.len().saturating_sub(CHECKED_BYTES);
            let end = line.get(passed..).unwrap_or_default();
            if !self.lines.holds(at + passed as u64, end)? {
                return Err(self.replaced());
            }
        }
        Ok(())
    }

    fn replaced(&self) -> Error {
        Error::mismatch(format!(
            "{} was replaced or cut while it was followed, after line {}; what it holds now needs another --database",
            self.path.display(),
            self.sequence
        ))
    }

    /// Whether more may come after the end of the file, after a moment.
    fn waits_for_more(&self) -> Result<bool> {
        if self.last_line != LastLine::Follow || self.stop.is_set() {
            return Ok(false);
        }
        let Some(size) = self.lines.size() else {
            return Ok(false);
        };
        thread::sleep(LOOK);
        let path = self.path.display();
        let file = fs::metadata(&self.path).environment(|| format!("cannot read {path}"))?;
        let read = self.bytes_read.load(Ordering::Relaxed);
        if file.len() < read.max(size) || self.lines.file_number().is_some_and(|number| number != file.ino()) {
            return Err(self.replaced());
        }
        self.check_is_same()?;
        Ok(true)
    }
}

impl Source for FileSource {
    fn next_batch(&mut self) -> Result<Option<DecodedBatch>> {
        loop {
            let mut is_at_end = false;
            while !self.ended && !is_at_end && !self.decoder.is_full() {
                if self.stop.is_set() {
                    self.ended = true;
                } else if self.read_line()? {
                    self.end_line();
                    self.decode_line();
                } else {
                    is_at_end = true;
                }
            }
            if !self.decoder.is_empty() {
                let mut batch = self.decoder.take();
                self.ended |= is_at_end && self.last_line != LastLine::Follow;
                batch.behind = !self.ended && !is_at_end;
                batch.receipt = Receipt {
                    ack_subject: None,
                    content_hash: self.hash.digest(),
                };
                return Ok(Some(batch));
            }
            if self.ended || !self.waits_for_more()? {
                return Ok(None);
            }
        }
    }

    fn receipt_at(&mut self, position: u64) -> Result<Receipt> {
        let content_hash = match self.lines.size() {
            Some(_) => {
                let mut lines = Lines::open(&self.path)?;
                let (mut hash, mut line) = (Xxh3::new(), Vec::new());
                for _ in 0..position {
                    lines.next_into(&mut line)?;
                    hash.update(&line);
                }
                hash.digest()
            }
            None => {
                let kept = self.hashes.iter().find(|(sequence, _)| *sequence == position);
                kept.map_or_else(|| Xxh3::new().digest(), |(_, hash)| *hash)
            }
        };
        Ok(Receipt {
            ack_subject: None,
            content_hash,
        })
    }

    fn replace_decoder(&mut self, decoder: Decoder) {
        self.decoder = decoder;
    }
}
