//! Building with cargo where somebody waits: one bar in place of hundreds of lines, and the lines in a file.

use std::fs::{self, File};
use std::io::{self, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::costs::Costs;
use crate::error::{Error, Result};
use crate::progress::{Line, Progress, without_escapes};
use crate::say::say;
use crate::{process, workspace};

/// A build that is over sooner says nothing: there was little to do.
const QUIET: Duration = Duration::from_millis(1500);

/// How often the bar is drawn.
const BEAT: Duration = Duration::from_millis(250);

/// The part of a build that has to be done before its own pace says how long the rest takes.
const SHARE_TO_TRUST: f64 = 0.15;

/// Where no bar can be drawn: a line each time that so much more is done.
const SHARE_BETWEEN_LINES: f64 = 0.25;

/// Cells of the bar.
const BAR_CELLS: usize = 24;

/// Columns that cargo may use for the text that is read here: enough for the names of all that it compiles at once.
const CARGO_COLUMNS: &str = "400";

/// A cargo that builds something.
#[derive(Debug)]
pub(crate) struct Build {
    /// What it builds, in a word or two.
    what: &'static str,
    command: Command,
    costs: &'static Costs,
}

/// Says what is going to be built and how long it takes, where some of it is built for the first time.
pub(crate) fn announce(builds: &[Build]) {
    let first: Vec<&Build> = builds.iter().filter(|build| build.is_first()).collect();
    if first.is_empty() {
        return;
    }
    let names: Vec<&str> = first.iter().map(|build| build.what).collect();
    let seconds: f64 = first.iter().map(|build| build.costs.all).sum();
    say(
        "first time",
        format_args!("builds {}: {}", names.join(", then "), guess(seconds)),
    );
}

impl Build {
    /// A build of `what` by `command`.
    pub(crate) fn new(what: &'static str, command: Command, costs: &'static Costs) -> Build {
        Build { what, command, costs }
    }

    /// The command line.
    pub(crate) fn words(&self) -> String {
        process::words(&self.command)
    }

    /// Whether there was none before.
    fn is_first(&self) -> bool {
        !Log::path(self.what).exists()
    }

    /// Builds, and shows how far it is. What cargo writes goes to a file; its errors and warnings are shown as well.
    ///
    /// # Errors
    /// If cargo cannot be started or does not succeed; the error names the file.
    pub(crate) fn run(self) -> Result<()> {
        self.progress().map(|_| ())
    }

    /// The same, for a build of one program: where it is.
    ///
    /// # Errors
    /// Those of [`Build::run`], and if cargo does not say which program it built.
    pub(crate) fn program(self) -> Result<PathBuf> {
        let words = self.words();
        let progress = self.progress()?;
        let program = progress.executable().map(Path::to_path_buf);
        program.ok_or_else(|| Error::new(format!("`{words}` does not say where the program is that it built")))
    }

    /// Builds, and returns what cargo said of it.
    fn progress(self) -> Result<Progress> {
        let words = self.words();
        let Build {
            what,
            mut command,
            costs,
        } = self;
        command
            .arg("--message-format=json-render-diagnostics")
            .env("CARGO_TERM_PROGRESS_WHEN", "always")
            .env("CARGO_TERM_PROGRESS_WIDTH", CARGO_COLUMNS)
            .env("CARGO_TERM_QUIET", "false")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if wants_colour() {
            command.env("CARGO_TERM_COLOR", "always");
        }
        let log = Log::create(what)?;
        let mut child = command
            .spawn()
            .map_err(|error| process::not_started(&command, &error))?;

        let mut view = View::new(what, costs, log);
        view.log.line(&words);
        view.follow(&listen(&mut child));
        let status = child
            .wait()
            .map_err(|error| Error::new(format!("cannot wait for `{words}`: {error}")))?;
        view.end(status.success());
        if status.success() {
            return Ok(view.progress);
        }
        let said = match view.has_shown {
            true => String::new(),
            false => process::last_lines(&view.log.text(), process::FAILURE_LINES_MAX),
        };
        Err(Error::new(format!(
            "`{words}` failed ({status}); all that it wrote is in {}{said}",
            view.log.shown()
        )))
    }
}

/// Whether cargo should colour what it writes: as it would without us between it and the terminal.
fn wants_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let choice = std::env::var("CARGO_TERM_COLOR").unwrap_or_default();
    matches!(&*choice, "" | "auto") && !is_set("NO_COLOR") && can_draw()
}

/// Whether standard error is a terminal on which a line can be drawn again.
fn can_draw() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A line of cargo's.
enum Heard {
    /// From standard output: JSON.
    Message(String),
    /// From standard error.
    Said(String),
}

/// Reads both outputs of `child`, each on a thread of its own, until they end.
fn listen(child: &mut Child) -> Receiver<Heard> {
    let (sender, receiver) = channel();
    if let Some(output) = child.stdout.take() {
        forward(output, b"\n", Heard::Message, sender.clone());
    }
    if let Some(output) = child.stderr.take() {
        // Cargo ends its bar with a carriage return.
        forward(output, b"\n\r", Heard::Said, sender);
    }
    receiver
}

fn forward(output: impl Read + Send + 'static, ends: &'static [u8], heard: fn(String) -> Heard, sender: Sender<Heard>) {
    thread::spawn(move || {
        let mut line = Vec::new();
        for byte in BufReader::new(output).bytes() {
            match byte {
                Ok(byte) if ends.contains(&byte) => {
                    let text = String::from_utf8_lossy(&line).into_owned();
                    line.clear();
                    if sender.send(heard(text)).is_err() {
                        return;
                    }
                }
                Ok(byte) => line.push(byte),
                Err(_) => break,
            }
        }
        if !line.is_empty() {
            let _ = sender.send(heard(String::from_utf8_lossy(&line).into_owned()));
        }
    });
}

/// What a person sees of one build.
struct View {
    what: &'static str,
    log: Log,
    progress: Progress,
    begun: Instant,
    can_draw: bool,
    /// Whether the bar stands on the terminal's last line.
    is_drawn: bool,
    /// Whether it was said how long it will take.
    is_announced: bool,
    /// Whether an error or a warning was shown.
    has_shown: bool,
    /// The share at which the last plain line was written.
    share_said: f64,
}

impl View {
    fn new(what: &'static str, costs: &Costs, log: Log) -> View {
        View {
            what,
            log,
            progress: Progress::new(costs.crates),
            begun: Instant::now(),
            can_draw: can_draw(),
            is_drawn: false,
            is_announced: false,
            has_shown: false,
            share_said: 0.0,
        }
    }

    /// Shows what is heard until cargo has no more to say.
    fn follow(&mut self, heard: &Receiver<Heard>) {
        let mut next = self.begun + QUIET;
        loop {
            match heard.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Heard::Message(line)) => self.progress.note_message(&line),
                Ok(Heard::Said(line)) => self.hear(&line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if Instant::now() >= next {
                next = Instant::now() + BEAT;
                self.show();
            }
        }
    }

    /// Takes a line of cargo's standard error.
    fn hear(&mut self, line: &str) {
        let plain = without_escapes(line);
        match self.progress.note_line(&plain) {
            Line::Bar => {}
            Line::Status => self.log.line(&plain),
            // What a bar leaves behind.
            Line::Message if plain.trim().is_empty() && !self.has_shown => {}
            Line::Message => {
                self.log.line(&plain);
                self.clear();
                self.has_shown = true;
                eprintln!("{}", line.trim_start_matches("\u{1b}[K"));
            }
        }
    }

    /// Draws the bar, or writes a line where none can be drawn and enough has happened.
    fn show(&mut self) {
        if !self.is_announced
            && let Some(announcement) = self.announcement()
        {
            self.is_announced = true;
            self.clear();
            say(self.what, announcement);
        }
        let share = self.progress.share();
        if self.can_draw {
            let line = format!("{:<14} {}", self.what, self.bar(share));
            // Without wrapping, a terminal cuts what is too long for it, however narrow it is.
            draw(&format!("\r\u{1b}[K\u{1b}[?7l{line}\u{1b}[?7h"));
            self.is_drawn = true;
        } else if let Some(share) = share
            && share >= self.share_said + SHARE_BETWEEN_LINES
            && share < 1.0
        {
            self.share_said = share;
            say(self.what, format_args!("{:.0} %, {}", share * 100.0, self.time(share)));
        }
    }

    /// What is to be built, and how long that takes, once cargo has said it.
    fn announcement(&self) -> Option<String> {
        Some(format!(
            "{} crates to build, {}; log in {}",
            self.progress.to_build()?,
            guess(self.progress.seconds_left()?),
            self.log.shown(),
        ))
    }

    fn bar(&self, share: Option<f64>) -> String {
        let (Some(share), Some((done, all))) = (share, self.progress.units()) else {
            return format!("{} {}", clock(self.begun.elapsed()), self.progress.doing());
        };
        let full = (share * BAR_CELLS as f64) as usize;
        let empty = BAR_CELLS.saturating_sub(full);
        format!(
            "{:━<full$}{:╌<empty$} {done}/{all}  {}  {}",
            "",
            "",
            self.time(share),
            self.progress.doing()
        )
    }

    /// How long it has taken, and how much longer it will.
    fn time(&self, share: f64) -> String {
        let elapsed = self.begun.elapsed();
        let by_figures = self.progress.seconds_left().unwrap_or(0.0) / processors();
        let by_pace = elapsed.as_secs_f64() / share.max(f64::EPSILON) - elapsed.as_secs_f64();
        let left = if share < SHARE_TO_TRUST { by_figures } else { by_pace };
        format!(
            "{}, about {} left",
            clock(elapsed),
            about(Duration::from_secs_f64(left))
        )
    }

    /// Takes the bar away, for a line to stand in its place.
    fn clear(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            draw("\r\u{1b}[K");
        }
    }

    /// Says how it ended, if it took long enough to be noticed.
    fn end(&mut self, is_success: bool) {
        self.clear();
        if is_success && self.begun.elapsed() >= QUIET {
            say(self.what, format_args!("built in {}", clock(self.begun.elapsed())));
        }
    }
}

/// How long work of so many processor seconds takes here.
fn guess(seconds: f64) -> String {
    let time = about(Duration::from_secs_f64(seconds / processors()));
    match processors() {
        1.0 => format!("about {time} on one processor"),
        count => format!("about {time} on {count} processors"),
    }
}

/// How many processors cargo has, if a build can use them: its last crates wait for one another.
fn processors() -> f64 {
    thread::available_parallelism().map_or(1.0, |count| count.get() as f64)
}

/// Writes in one piece, so that nothing that ends us leaves half of it.
fn draw(text: &str) {
    // A terminal that is gone is no reason to stop.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// A duration that is known: `2:07`.
fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// A duration that is a guess: no more exact than it can be.
fn about(duration: Duration) -> String {
    match duration.as_secs() {
        0..=10 => "10 s".to_owned(),
        seconds @ 11..=55 => format!("{} s", seconds.div_ceil(10) * 10),
        seconds => format!("{} min", (seconds + 30) / 60),
    }
}

/// The file that holds all that cargo wrote in one build.
struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    fn path(what: &str) -> PathBuf {
        workspace::target()
            .join("log")
            .join(what.replace(' ', "-"))
            .with_extension("log")
    }

    fn create(what: &str) -> Result<Log> {
        let path = Log::path(what);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        let file = made.and_then(|()| File::create(&path));
        let file = file.map_err(|error| Error::new(format!("cannot write {}: {error}", path.display())))?;
        Ok(Log { path, file })
    }

    fn line(&mut self, line: &str) {
        // A full disk stops cargo soon enough, and it says so better.
        let _ = writeln!(self.file, "{}", line.trim_end());
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default()
    }

    /// The path as one would type it at the root of the workspace.
    fn shown(&self) -> String {
        let path = self.path.strip_prefix(workspace::root()).unwrap_or(&self.path);
        Path::new(path).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_no_more_exact_than_it_can_be() {
        let about = |seconds| about(Duration::from_secs(seconds));
        assert_eq!(about(3), "10 s");
        assert_eq!(about(41), "50 s");
        assert_eq!(about(56), "1 min");
        assert_eq!(about(100), "2 min");
        assert_eq!(about(280), "5 min");
    }

    #[test]
    fn time_is_shown_as_a_clock_shows_it() {
        assert_eq!(clock(Duration::from_secs(127)), "2:07");
    }

    #[test]
    fn lines_end_where_cargo_ends_them() {
        let (sender, receiver) = channel();
        forward(&b"a\rb\n\nc"[..], b"\n\r", Heard::Said, sender);
        let lines: Vec<String> = receiver
            .iter()
            .map(|heard| match heard {
                Heard::Said(line) | Heard::Message(line) => line,
            })
            .collect();
        assert_eq!(lines, ["a", "b", "", "c"]);
    }

    /// A build of `what` by a shell that writes what cargo would. The log is removed when it is read.
    fn build(what: &'static str, script: &str) -> (Result<()>, String) {
        const COSTS: Costs = Costs { all: 1.0, crates: &[] };
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script);
        let outcome = Build::new(what, shell, &COSTS).run();
        let log = Log::path(what);
        let text = fs::read_to_string(&log).unwrap();
        fs::remove_file(log).unwrap();
        (outcome, text)
    }

    #[test]
    fn the_log_holds_all_that_cargo_wrote_but_its_bar() {
        let (outcome, log) = build(
            "test of the log",
            r"printf '\033[1m   Compiling\033[0m a v1\n    Building [> ] 0/1: a   \r\033[Kwarning: odd\n    Finished dev\n' >&2",
        );
        assert_eq!(outcome, Ok(()));
        let (command, said) = log.split_once('\n').unwrap();
        assert!(command.starts_with("sh -c "), "{command}");
        assert_eq!(said, "   Compiling a v1\nwarning: odd\n    Finished dev\n");
    }

    #[test]
    fn a_failure_names_the_log_and_repeats_what_was_not_shown() {
        let (outcome, _) = build("test of silence", r"printf '   Compiling a v1\n' >&2; kill -9 $$");
        let error = outcome.unwrap_err().to_string();
        assert!(
            error.contains("all that it wrote is in target/log/test-of-silence.log\n"),
            "{error}"
        );
        assert!(error.ends_with("\n       Compiling a v1"), "{error}");
    }

    #[test]
    fn what_was_shown_is_not_repeated() {
        let (outcome, log) = build("test of an error", r"echo 'error: it is so' >&2; exit 101");
        let error = outcome.unwrap_err().to_string();
        assert!(
            error.ends_with("(exit status: 101); all that it wrote is in target/log/test-of-an-error.log"),
            "{error}"
        );
        assert!(log.ends_with("error: it is so\n"), "{log}");
    }
}
