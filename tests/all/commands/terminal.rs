//! What reaches a terminal: nothing that it would obey, in whatever command, wherever it came from.

use super::Folder;
use serde_json::Value as Json;
use weir::text::is_deceptive;
use weir_tests::command::Outcome;

/// Sets the title of a terminal, turns text around, hides text, and begins a C1 sequence.
const HOSTILE: &str = "\u{1b}]0;x\u{7}\u{202e}\u{200b}\u{2066}\u{9b}31m\r\u{7f}";

/// The same in a file of TOML or JSON.
const ESCAPED: &str = "\\u001b]0;x\\u0007\\u202e\\u200b\\u2066\\u009b31m\\r\\u007f";

/// `{H}` in a text stands for what is hostile, and `{B}` for what is allowed in names.
fn hostile(text: &str) -> String {
    text.replace("{H}", ESCAPED).replace("{B}", "\\u202e\\u2066")
}

#[track_caller]
fn check(arguments: &[String], outcome: &Outcome) {
    for (stream, text) in [("output", &outcome.stdout), ("error", &outcome.stderr)] {
        let found = text.chars().find(|&c| is_deceptive(c) && c != '\n' && c != '\t');
        assert_eq!(found, None, "on standard {stream} of {arguments:?}:\n{text:?}");
    }
}

/// A folder whose files, tables, columns and values are hostile, and commands that run in it.
struct Hostile(Folder);

impl Hostile {
    fn new() -> Self {
        let folder = Folder::with("");
        folder.write(
            &format!("p{HOSTILE}.toml"),
            hostile(
                r#"
                name = "names"
                source = { stream = "S", subject = "s", columns = { id = "int", "name{B}" = "text", key = "text" } }
                step = [
                    { name = "latest", last_value = { key = ["key"] } },
                ]
                sink = [
                    { table = "names", from = "latest", primary_key = ["key"] },
                ]
                "#,
            ),
        );
        let events =
            hostile("{\"id\": 1, \"key\": \"{H}\", \"name{B}\": \"{H}\"}\n{\"id\": \"{H}\"}\n") + HOSTILE + "\n";
        folder.write(&format!("e{HOSTILE}.jsonl"), events);
        Self(folder)
    }

    /// Runs a command, in which `{H}` is hostile and `_` stands for a blank; what it says is checked.
    #[track_caller]
    fn weir(&self, arguments: &str) -> Outcome {
        let arguments: Vec<String> = arguments
            .split_whitespace()
            .map(|argument| {
                argument
                    .replace("{H}", HOSTILE)
                    .replace("{B}", "\u{202e}\u{2066}")
                    .replace('_', " ")
            })
            .collect();
        let outcome = super::weir().run_in_with(
            self.0.0.path(),
            &arguments,
            &[("NATS_SERVER", "/nowhere\u{1b}[31m"), ("USER", HOSTILE)],
        );
        check(&arguments, &outcome);
        outcome
    }
}

#[test]
fn no_command_writes_what_a_terminal_would_obey() {
    let hostile = Hostile::new();
    let weir = |arguments| hostile.weir(arguments);
    weir("check p{H}.toml").ends_with(0);
    weir("replay p{H}.toml --input e{H}.jsonl --database d{H}.db").ends_with(0);
    weir("replay p{H}.toml --input e{H}.jsonl --database d{H}.db").ends_with(0);
    weir("replay p{H}.toml --input none{H}.jsonl --database d{H}.db").ends_with(2);
    weir("replay p{H}.toml --input e{H}.jsonl --database e{H}.jsonl").ends_with(1);
    let list = weir("dead-letters list d{H}.db").ends_with(0);
    assert!(
        list.stdout.contains("\\u{1b}]0;x") && list.stdout.contains("\\u{202e}"),
        "{}",
        list.stdout
    );
    weir("dead-letters list d{H}.db --step {H}").ends_with(0);
    weir("dead-letters list d{H}.db --pipeline {H}").ends_with(2);
    weir("dead-letters show d{H}.db 2").ends_with(0);
    weir("dead-letters show d{H}.db 3").ends_with(0);
    weir("dead-letters retry p{H}.toml --database d{H}.db --all").ends_with(3);
    weir("status d{H}.db").ends_with(0);
    weir("verify d{H}.db --pipeline p{H}.toml").ends_with(0);
    weir("explain d{H}.db names key={H}").ends_with(0);
    weir("explain d{H}.db other{H} key={H}");
    weir("diff d{H}.db d{H}.db").ends_with(0);
    weir("replay p{H}.toml --input /dev/null --database empty{H}.db").ends_with(0);
    weir("diff d{H}.db empty{H}.db").ends_with(3);
    weir("dead-letters drop d{H}.db --step decode").ends_with(0);
    weir("table load p{H}.toml t{H} --input e{H}.jsonl").ends_with(2);
    weir("new r{H}").ends_with(2);
    weir("build b{H}").ends_with(2);
    weir("test t{H}").ends_with(2);
    weir("dev d{H}").ends_with(2);
    weir("run p{H}.toml --nats nats://x{H}").ends_with(2);
    weir("run none{H}.toml").ends_with(2);
    weir("history p{H}.toml s{H}").ends_with(2);
    weir("deploy p{H}.toml s{H} m{H}.wasm").ends_with(2);
    weir("params set p{H}.toml s{H} a{H}=1").ends_with(2);
    weir("rollback p{H}.toml s{H}").ends_with(2);
    weir("shadow start p{H}.toml s{H} m{H}.wasm").ends_with(2);
    weir("demo --guests g{H}").ends_with(2);
    weir("{H}").ends_with(2);
    weir("status --{H}").ends_with(2);
    weir("replay p{H}.toml --input e{H}.jsonl --discard --batch {H}").ends_with(2);
}

#[test]
fn json_says_the_same_without_them() {
    let hostile = Hostile::new();
    hostile
        .weir("replay p{H}.toml --input e{H}.jsonl --database d{H}.db")
        .ends_with(0);
    let listed = hostile.weir("dead-letters list d{H}.db --json").ends_with(0).stdout;
    let last: Json = serde_json::from_str(listed.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["payload"], HOSTILE);
    for command in [
        "status d{H}.db --json",
        "verify d{H}.db --json",
        "explain d{H}.db names key={H} --json",
        "diff d{H}.db d{H}.db --json",
    ] {
        let said = hostile.weir(command).ends_with(0).stdout;
        for line in said.lines() {
            serde_json::from_str::<Json>(line).unwrap_or_else(|cause| panic!("{command}: {cause}:\n{line}"));
        }
    }
}
