//! A run on a terminal: nothing that is said is lost behind the lines that show how far it is.

use crate::{process::weir, server::Client, wait_until};
use std::{
    fs::{self, File},
    io::Read,
    os::fd::{FromRawFd, OwnedFd},
    path::Path,
    process::Child,
    ptr,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};
use weir_tests::{command::interrupt, nats::NatsServer, scratch};

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// A terminal of 80 columns and 24 rows, which remembers what scrolled away.
struct Terminal {
    shown: Arc<Mutex<vt100::Parser>>,
    /// Nothing once whoever wrote to it is gone.
    slave: Option<OwnedFd>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    fn open() -> Self {
        let size = libc::winsize {
            ws_row: ROWS,
            ws_col: COLUMNS,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let (mut master, mut slave) = (-1, -1);
        // SAFETY: both descriptors are written by the call, which is given a size and no names.
        let opened = unsafe {
            libc::openpty(
                &raw mut master,
                &raw mut slave,
                ptr::null_mut(),
                ptr::null(),
                &raw const size,
            )
        };
        assert_eq!(opened, 0, "a terminal can be opened");
        // SAFETY: they are open, and nobody else has them.
        let (master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
        // Copies are closed in processes that are started, such as the server: else the terminal would never be at its end.
        let (master, slave) = (master.try_clone(), slave.try_clone());
        let (master, slave) = master.ok().zip(slave.ok()).expect("descriptors can be copied");
        let shown = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 10_000)));
        let (to, mut master) = (shown.clone(), master);
        let reader = thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = master.read(&mut bytes) {
                to.lock().expect("nobody panicked with it").process(&bytes[..read]);
            }
        });
        Self {
            shown,
            slave: Some(slave),
            reader: Some(reader),
        }
    }

    fn start(&self, folder: &Path, arguments: &[String]) -> Child {
        let slave = self.slave.as_ref().expect("the terminal is open");
        let end = || slave.try_clone().expect("a descriptor can be copied");
        let mut command = weir().command();
        command
            .current_dir(folder)
            .args(arguments)
            .env("TERM", "xterm-256color");
        command.stdin(end()).stdout(end()).stderr(end());
        command.spawn().expect("weir can be started")
    }

    /// All that was written to it and not taken away again, without the ends of lines.
    fn text(&self) -> String {
        let mut shown = self.shown.lock().expect("nobody panicked with it");
        shown.screen_mut().set_scrollback(usize::MAX);
        let above = shown.screen().scrollback();
        let mut rows = Vec::new();
        for back in (0..=above).rev() {
            shown.screen_mut().set_scrollback(back);
            let screen: Vec<String> = shown.screen().rows(0, COLUMNS).collect();
            match back {
                0 => rows.extend(screen),
                _ => rows.extend(screen.into_iter().next()),
            }
        }
        rows.concat()
    }

    /// Waits until all is shown that was written by processes that have ended.
    fn close(&mut self) {
        drop(self.slave.take());
        if let Some(reader) = self.reader.take() {
            reader.join().expect("nothing panics");
        }
    }

    fn wait_for(&self, text: &str) {
        wait_until(text, || self.text().contains(text));
    }
}

#[test]
fn nothing_that_is_said_is_lost_behind_the_bars() {
    for pipelines in [1, 3, 8] {
        check(pipelines);
    }
}

fn check(pipelines: usize) {
    let mut server = NatsServer::start();
    let client = Client::connect(&server.url());
    client.make_stream("S", &["s"]);
    let scratch = scratch();
    let names: Vec<String> = (1..=pipelines)
        .map(|number| format!("pipeline-with-a-long-name-{number}"))
        .collect();
    let mut arguments = vec!["run".to_owned()];
    for name in &names {
        let text = format!(
            "name = \"{name}\"\nsource = {{ stream = \"S\", subject = \"s\", columns = {{ id = \"int\" }} }}\n\
             sink = [{{ table = \"rows\" }}]\n"
        );
        let file = format!("{name}.toml");
        fs::write(scratch.path().join(&file), text).expect("a file can be written");
        arguments.push(file);
    }
    arguments.extend(["--nats".to_owned(), server.url()]);
    let mut terminal = Terminal::open();
    let mut process = terminal.start(scratch.path(), &arguments);
    // The last of the bars stands there.
    terminal.wait_for("events/s");
    for lost in 1..=3 {
        server.kill();
        wait_until("the loss", || {
            terminal.text().matches("lost the connection to NATS").count() == lost
        });
        server.restart();
        wait_until("the return", || terminal.text().matches(" again").count() >= lost);
    }
    interrupt(&process);
    let status = process.wait().expect("weir ends");
    terminal.close();
    let text = terminal.text();
    assert!(status.success(), "{status}\n{text}");
    let count = |words: &str| text.matches(words).count();
    assert_eq!(count("lost the connection to NATS"), 3, "{pipelines}:\n{text}");
    assert_eq!(count("connected to NATS at"), 3, "{pipelines}:\n{text}");
    assert_eq!(count("draining; once more ends at once"), 1, "{pipelines}:\n{text}");
    for name in &names {
        assert_eq!(
            count(&format!("{name}: stream S, subject s")),
            1,
            "{name} of {pipelines}:\n{text}"
        );
        assert_eq!(
            count(&format!("into {name}.db, from sequence 1")),
            1,
            "{name} of {pipelines}:\n{text}"
        );
    }
    assert_eq!(
        count("  dead letters "),
        pipelines,
        "the summaries of {pipelines}:\n{text}"
    );
    assert_eq!(count("events/s"), 0, "no bar is left of {pipelines}:\n{text}");
}
