//! The session of `docs/DEPLOYING.md`: its commands are run in an empty folder, beside a server, and say what it shows.

use crate::{
    process::weir,
    server::Client,
    signatures::ANN,
    versions::{hosts, registry},
    wait_until,
};
use nkeys::KeyPair;
use rusqlite::{Connection, OpenFlags};
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Child,
};
use weir_tests::{
    command::interrupt,
    guide::{
        page::page,
        session::{self, Shell, Surroundings},
    },
    nats::NatsServer,
};

#[test]
fn commands_of_deploying_say_what_it_shows() {
    let mut served = Served::new();
    assert_eq!(session::run(&page("docs/DEPLOYING.md"), &weir(), &mut served), 42);
}

/// A server; and what the page lets `nats` and a second terminal do.
struct Served {
    server: NatsServer,
    client: Client,
    /// What runs behind the other commands, and the file that has what it says.
    running: Option<(Child, PathBuf)>,
}

impl Served {
    fn new() -> Self {
        let server = NatsServer::start();
        let client = Client::connect(&server.url());
        Self {
            server,
            client,
            running: None,
        }
    }

    /// Starts a command, and waits until the registry knows of it.
    fn start(&mut self, command: &str, shell: &Shell, here: &Path) {
        assert!(self.running.is_none(), "one runs already");
        let path = here.join("said");
        let file = File::create(&path).expect("a file can be made");
        let mut command = shell.command(&format!("exec {command}"), here);
        command
            .stdout(file.try_clone().expect("a file can be shared"))
            .stderr(file);
        let mut child = command.spawn().expect("there is a shell");
        let (process, registry) = (format!(" {}", child.id()), registry(&self.server.url()));
        wait_until("word of the host in the registry", || {
            let ended = child.try_wait().expect("the state of the process can be read");
            let said = fs::read_to_string(&path).unwrap_or_default();
            assert!(ended.is_none(), "it ended: {said}");
            hosts(&registry).iter().any(|host| host.process.ends_with(&process))
        });
        self.running = Some((child, path));
    }

    /// Ctrl-C. Gives what was said.
    fn end(&mut self) -> String {
        let (mut child, said) = self.running.take().expect("something runs");
        interrupt(&child);
        child.wait().expect("it ends");
        fs::read_to_string(said).expect("what is said is UTF-8")
    }
}

impl Surroundings for Served {
    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![("NATS_URL", self.server.url()), ("USER", "ann".to_owned())]
    }

    fn prepare(&mut self, line: &str, here: &Path) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["nats", "stream", "add", name, "--subjects", subject, ..] => {
                self.client.make_stream(name, &[subject.trim_matches('\'')]);
            }
            ["nats", "pub", subject, ..] => {
                let payload = line.split('\'').nth(1).expect("the payload is quoted");
                let event = (
                    subject.to_owned().leak() as &'static str,
                    payload.to_owned().into_bytes(),
                );
                let last = self.client.publish(&[event]);
                if self.running.is_some() {
                    wait_until("the event is committed", || position(here) >= last);
                }
            }
            ["nats", "kv", "put", bucket, key, ..] => {
                let value = line.split('\'').nth(1).expect("the value is quoted");
                self.client.put_key(bucket, key, value);
            }
            _ => panic!("nobody does what the page says: {line}"),
        }
    }

    fn run(&mut self, command: &str, shell: &Shell, here: &Path) -> Option<String> {
        let (command, _) = command.split_once("  #").unwrap_or((command, ""));
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[..] {
            ["weir", "run", .., "&"] => {
                self.start(command.trim_end().trim_end_matches('&'), shell, here);
                Some(String::new())
            }
            ["fg"] => Some(self.end()),
            [
                "nats",
                "sub",
                subject,
                "--stream",
                stream,
                "--all",
                "--raw",
                "--count",
                count,
            ] => {
                let messages = self.client.messages(stream, subject);
                let count = count.parse().expect("a number of messages");
                let payloads = messages.iter().map(|message| format!("{}\n", message.payload));
                Some(payloads.take(count).collect())
            }
            ["(umask", "077;", "nk", "-gen", "user", ">", file] => {
                let mut key = OpenOptions::new();
                key.write(true).create_new(true).mode(0o600);
                let mut key = key.open(here.join(file.trim_end_matches(')'))).expect("it can be made");
                key.write_all(ANN.as_bytes()).expect("it can be written");
                Some(String::new())
            }
            ["nk", "-inkey", file, "-pubout"] => {
                let seed = fs::read_to_string(here.join(file)).expect("it can be read");
                let key = KeyPair::from_seed(&seed).expect("it is a seed");
                Some(format!("{}\n", key.public_key()))
            }
            _ => None,
        }
    }

    fn settles(&self, command: &str) -> bool {
        let looks = [
            "weir status",
            "weir history",
            "weir shadow report",
            "nats sub",
            "sqlite3",
        ];
        looks.iter().any(|look| command.starts_with(look))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The last sequence that the database in a folder has.
fn position(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).expect("the folder can be read").flatten();
    let mut paths = files.map(|file| file.path());
    let read = |path: PathBuf| -> rusqlite::Result<i64> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.query_row("SELECT max(position) FROM weir_pipeline", [], |row| row.get(0))
    };
    let database = paths.find(|path| path.extension().is_some_and(|extension| extension == "db"));
    database.and_then(|path| read(path).ok()).map_or(0, i64::cast_unsigned)
}
