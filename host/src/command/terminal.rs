//! What Weir writes for people and scripts: results to standard output, everything else to standard error.
//!
//! Nothing else touches either of them (`host/clippy.toml` sees to that), so three things hold for every command and every
//! message: nothing deceptive reaches a terminal (see [`text`](crate::text)), nothing that is said is drawn over by the
//! lines that show how far something is, and what is said to a file bears its time.

#![expect(
    clippy::disallowed_methods,
    reason = "everybody else writes through this module, as `host/clippy.toml` says"
)]

use crate::{
    error::{Error, Result},
    text::{is_deceptive, printable_json, printable_lines},
};
use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    fmt,
    io::{self, IsTerminal, StdoutLock, Write},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

/// How much something matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Something failed.
    Error,
    /// Something is amiss, and goes on.
    Warning,
    /// What is going on.
    Info,
    /// Details, for who asks for them with `-v`.
    Debug,
}

/// Says something on standard error: `say!(Warning, "weir: no stream {name}")`.
macro_rules! say {
    ($level:ident, $($text:tt)*) => {
        $crate::command::terminal::say_at($crate::command::terminal::Level::$level, format_args!($($text)*))
    };
}

/// Writes a line of results to standard output: `answer!("loaded {rows} rows")?`.
macro_rules! answer {
    ($($text:tt)*) => {
        $crate::command::terminal::stdout().line(format_args!($($text)*))
    };
}

pub(crate) use {answer, say};

/// What is drawn at the bottom of the terminal, and has to make room for what is said. Whoever writes holds it.
enum Drawn {
    Nothing,
    /// On standard error.
    Bars(MultiProgress),
    /// So many lines on standard output.
    Screen(Term, usize),
}

static DRAWN: Mutex<Drawn> = Mutex::new(Drawn::Nothing);

/// The most that is said.
static LOUDEST: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Whether results are JSON.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Whether what is said is a log.
static IS_LOG: AtomicBool = AtomicBool::new(false);

/// Says no more than `loudest`.
pub(super) fn set_loudest(loudest: Level) {
    LOUDEST.store(loudest as u8, Ordering::Relaxed);
}

/// Whether what is of this level is said.
pub(super) fn is_said(level: Level) -> bool {
    level as u8 <= LOUDEST.load(Ordering::Relaxed)
}

/// From now on results are JSON, a value on each line, or text again.
pub(super) fn set_json(is_json: bool) {
    IS_JSON.store(is_json, Ordering::Relaxed);
}

/// Whether somebody asked for results as JSON.
pub(super) fn is_json() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// From now on what is said is a log: it goes on for as long as somebody lets it. Each message bears its time, unless it
/// goes to a terminal.
pub(super) fn begin_log() {
    IS_LOG.store(!io::stderr().is_terminal(), Ordering::Relaxed);
}

/// Says something; see [`say!`]. What is not said costs a look at how much is.
pub(super) fn say_at(level: Level, text: fmt::Arguments<'_>) {
    if is_said(level) {
        write_line(&text.to_string());
    }
}

/// Writes a line on standard error, whatever is to be said.
pub(super) fn write_line(text: &str) {
    let text = printable_lines(text);
    let text = match IS_LOG.load(Ordering::Relaxed) {
        true => logged(jiff::Timestamp::now(), &text),
        false => format!("{text}\n"),
    };
    // Nobody is there to hear that it cannot be written.
    let write = || drop(io::stderr().lock().write_all(text.as_bytes()));
    match &mut *drawn() {
        Drawn::Nothing => write(),
        Drawn::Bars(bars) => bars.suspend(write),
        Drawn::Screen(term, lines) => {
            let _ = term.clear_last_lines(std::mem::take(lines));
            write();
        }
    }
}

/// A line of the log. Who looks for lines of weir finds all of them by how they begin.
fn logged(now: jiff::Timestamp, text: &str) -> String {
    let text = text.strip_prefix("weir: ").unwrap_or(text);
    format!("weir: {now:.3} {text}\n")
}

fn drawn() -> MutexGuard<'static, Drawn> {
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines at the bottom of the terminal that show how far something is. What is said meanwhile stands above them. Where
/// standard error is no terminal, or nothing shall be said, they are not drawn.
#[derive(Debug)]
pub(super) struct Bars(MultiProgress);

impl Bars {
    /// None yet. There is one set of them at a time.
    pub(super) fn begin() -> Self {
        let all = MultiProgress::new();
        if !is_said(Level::Info) {
            all.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        *drawn() = Drawn::Bars(all.clone());
        Self(all)
    }

    /// Whether they are drawn.
    pub(super) fn are_drawn(&self) -> bool {
        !self.0.is_hidden()
    }

    /// Another line, below the others, of `length` units. What it says, in place of `{wide_msg}`, is cut where the terminal
    /// ends: a line that went on in the next one could not be taken away again.
    ///
    /// # Errors
    /// When the template is none.
    pub(super) fn add(&self, template: &str, length: u64) -> Result<ProgressBar> {
        let style = ProgressStyle::with_template(template)
            .map_err(|cause| Error::environment(format!("cannot draw a progress bar: {cause}")))?;
        Ok(self.0.add(ProgressBar::new(length).with_style(style)))
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        let mut drawn = drawn();
        let _ = self.0.clear();
        *drawn = Drawn::Nothing;
    }
}

/// Lines at the bottom of the terminal that standard output is, drawn again and again.
#[derive(Debug)]
pub(super) struct Screen(Term);

impl Screen {
    /// An empty one; nothing where standard output is no terminal.
    pub(super) fn begin() -> Option<Self> {
        let term = Term::stdout();
        term.is_term().then(|| {
            *drawn() = Drawn::Screen(term.clone(), 0);
            Self(term)
        })
    }

    /// The rows and columns of the terminal.
    pub(super) fn size(&self) -> (usize, usize) {
        let (rows, columns) = self.0.size();
        (usize::from(rows), usize::from(columns))
    }

    /// Draws `lines` in the place of those before, as far as there is room.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn draw(&self, lines: &[String]) -> Result<()> {
        let (rows, columns) = self.size();
        // What does not fit would scroll away and could not be drawn over.
        let cut = lines.iter().take(rows.saturating_sub(1));
        let cut: Vec<String> = cut
            .map(|line| console::truncate_str(&printable_lines(line), columns, "…").into_owned())
            .collect();
        let mut drawn = drawn();
        let before = match &mut *drawn {
            Drawn::Screen(_, before) => std::mem::replace(before, cut.len()),
            _ => 0,
        };
        let draw = || -> io::Result<()> {
            self.0.clear_last_lines(before)?;
            cut.iter().try_for_each(|line| self.0.write_line(line))
        };
        draw().map_err(|cause| write_failed(&cause))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut drawn = drawn();
        if let Drawn::Screen(term, lines) = &*drawn {
            let _ = term.clear_last_lines(*lines);
        }
        *drawn = Drawn::Nothing;
    }
}

/// Standard output, for results.
///
/// It takes text of several lines. What is deceptive in it is written as an escape (of JSON, where results are JSON), so
/// that no value has to be looked at by who writes it; but for values that would end the line, which
/// [`printable`](crate::text::printable) is for.
pub(super) fn stdout() -> Results<StdoutLock<'static>> {
    Results {
        inner: io::stdout().lock(),
        begun: Vec::new(),
    }
}

/// Standard output, for data that others read: its bytes are as they are written, unless a person looks at them.
pub(super) fn data() -> Box<dyn Write + Send> {
    let stdout = io::stdout();
    match stdout.is_terminal() {
        true => Box::new(Results {
            inner: stdout,
            begun: Vec::new(),
        }),
        false => Box::new(stdout),
    }
}

/// Standard error, for a process that we start.
pub(super) fn said_by_others() -> std::process::Stdio {
    io::stderr().into()
}

/// The columns of the terminal that standard output is; nothing where it is none.
pub(super) fn width() -> Option<usize> {
    let term = Term::stdout();
    let size = term.size_checked().filter(|_| term.is_term());
    size.map(|(_, columns)| usize::from(columns))
}

/// Writes text, see [`stdout`].
#[derive(Debug)]
pub(super) struct Results<W> {
    inner: W,
    /// The beginning of a character whose end was not written yet.
    begun: Vec<u8>,
}

impl<W: Write> Results<W> {
    /// A line.
    ///
    /// # Errors
    /// When it cannot be written. A reader that went away (`| head`) ends the process, and is no error.
    pub(super) fn line(&mut self, text: impl fmt::Display) -> Result<()> {
        writeln!(self, "{text}").map_err(|cause| write_failed(&cause))
    }

    /// A value as JSON, on a line of its own.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn json(&mut self, value: &impl serde::Serialize) -> Result<()> {
        let json =
            serde_json::to_string(value).map_err(|cause| Error::environment(format!("cannot write JSON: {cause}")))?;
        self.line(printable_json(&json))
    }

    /// Text that has escapes of our own in it: colours.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn styled(&mut self, text: &console::StyledObject<&str>) -> Result<()> {
        write!(self.inner, "{text}").map_err(|cause| write_failed(&cause))
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        let is_harmless = |character| matches!(character, '\n' | '\t') || !is_deceptive(character);
        match text.chars().all(is_harmless) {
            true => self.inner.write_all(text.as_bytes()),
            false if is_json() => self.inner.write_all(printable_json(text).as_bytes()),
            false => self.inner.write_all(printable_lines(text).as_bytes()),
        }
    }
}

impl<W: Write> Write for Results<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let joined;
        let rest = match self.begun.is_empty() {
            true => bytes,
            false => {
                joined = [std::mem::take(&mut self.begun).as_slice(), bytes].concat();
                joined.as_slice()
            }
        };
        // As `String::from_utf8_lossy` reads it, but for a character that the next bytes may complete.
        for chunk in rest.utf8_chunks() {
            self.text(chunk.valid())?;
            let broken = chunk.invalid();
            let is_begun = rest.ends_with(broken)
                && matches!(std::str::from_utf8(broken), Err(cause) if cause.error_len().is_none());
            match broken {
                [] => {}
                broken if is_begun => self.begun = broken.to_owned(),
                _ => self.text("\u{fffd}")?,
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// An error of standard output. A reader that went away (`| head`) is none.
pub(super) fn write_failed(cause: &io::Error) -> Error {
    if cause.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    Error::environment(format!("cannot write to standard output: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(parts: &[&[u8]]) -> String {
        let mut results = Results {
            inner: Vec::new(),
            begun: Vec::new(),
        };
        for part in parts {
            results.write_all(part).expect("a vector takes everything");
        }
        String::from_utf8(results.inner).expect("text comes out")
    }

    #[test]
    fn results_hold_nothing_that_a_terminal_obeys() {
        let hostile = "a\u{1b}]0;x\u{7}b\r\u{9b}2J\u{202e}\n\tc";
        assert_eq!(
            written(&[hostile.as_bytes()]),
            "a\\u{1b}]0;x\\u{7}b\\r\\u{9b}2J\\u{202e}\n\tc"
        );
        // However the bytes come.
        for at in 0..hostile.len() {
            let (start, end) = hostile.as_bytes().split_at(at);
            assert_eq!(written(&[start, end]), written(&[hostile.as_bytes()]), "{at}");
        }
        assert_eq!(
            written(&[b"a\xffb\xc3", b"(\xe2\x80", b"\xae"]),
            "a\u{fffd}b\u{fffd}(\\u{202e}"
        );
    }

    #[test]
    fn a_line_of_the_log_bears_its_time() {
        let time = jiff::Timestamp::constant(1_773_547_200, 7_000_000);
        for text in ["weir: draining", "draining"] {
            assert_eq!(logged(time, text), "weir: 2026-03-15T04:00:00.007Z draining\n");
        }
    }
}
