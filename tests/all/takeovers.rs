//! What a changed rule may take over: rows of a changelog are taken back by the rules that let them in, so another rule
//! behind a changelog takes over in a swap alone, which judges the rows anew, and not by itself at a start.

use super::weir;
use expect_test::expect;
use std::{fs, path::Path, sync::Arc};
use weir::{
    definition::File,
    engine::{Engine, Successor, Unswappable},
    error::Result,
    format::Decoder,
    plan::Plan,
    runtime::pipeline::Swaps,
    source::{
        NoAcknowledge, Stop,
        file::{FileSource, IDENTITY},
    },
    storage::Messages,
};
use weir_tests::stored::read_versions;
use weir_tests::{
    guest,
    replay::{hold, host},
    scratch,
    table::{Cell, Contents, contents, query},
};

const EVENTS: &str = "{\"n\": 1, \"k\": \"a\"}\n{\"n\": 2, \"k\": \"b\"}\n{\"n\": 3, \"k\": \"a\"}\n";

/// What stands between the source and the rule: something that tells of changes.
const CHANGELOGS: [&str; 3] = [
    "[[step]]\nname = 'latest'\nlast_value = { key = ['k'] }",
    "[[step]]\nname = 'latest'\n[step.aggregate]\ngroup_by = ['k']\ncolumns = { n = { max = 'n' } }",
    "[[step]]\nname = 'latest'\n[step.window]\ngroup_by = ['k']\ntumbling = '1 min'\nemit = 'update'\ncolumns = { n = { max = 'n' } }",
];

/// What reads the rule, straight or behind another one.
const READERS: [&str; 4] = [
    "[[sink]]\ntable = 'kept'\nprimary_key = ['k']",
    "[[step]]\nname = 'all'\n[step.aggregate]\ngroup_by = ['k']\ncolumns = { rows = { count = '*' } }\n[[sink]]\ntable = 'kept'\nprimary_key = ['k']",
    "[[step]]\nname = 'crossed'\non_crossing = { key = ['k'] }\n[[sink]]\ntable = 'kept'",
    "[[step]]\nname = 'second'\nstage = { module = 'MODULE', parameters = { label = 7 } }\n[[sink]]\ntable = 'kept'\nprimary_key = ['k']",
];

fn text(before: &str, module: &Path, parameters: &str, behind: &str) -> String {
    let text = format!(
        "name = 'changes'\nsource = {{ stream = 'S', subject = 's', columns = {{ n = 'int', k = 'text' }} }}\n{before}\n\
         [[step]]\nname = 'judge'\nstage = {{ module = 'MODULE', parameters = {{ {parameters} }} }}\n{behind}\n"
    );
    text.replace("MODULE", &module.display().to_string())
}

fn plan(text: String) -> Arc<Plan> {
    Arc::new(Plan::build(&File::from_text("changes.toml", text), host()).unwrap_or_else(|error| panic!("{error}")))
}

/// As `weir replay` does it: a database that holds the beginning is continued.
fn run(plan: &Arc<Plan>, folder: &Path, events: &str) -> Result<()> {
    let (input, path) = (folder.join("events.jsonl"), folder.join("changes.db"));
    fs::write(&input, events).expect("the input can be written");
    let mut storage = hold(&path)?.open(plan.clone(), Messages::Drop)?;
    storage.claim(IDENTITY)?;
    let stored = storage.stored().clone();
    let mut engine = Engine::new(plan.clone(), host(), stored.seed)?;
    storage.load(&mut engine)?;
    engine.begin(stored.position, &read_versions(&path, &plan.name)?)?;
    let decoder = Decoder::of(plan, 2)?;
    let source = FileSource::open(&input, decoder, stored.position, stored.content_hash, Stop::default())?;
    weir::runtime::pipeline::run(source, engine, storage, NoAcknowledge, Swaps::none()).map(drop)
}

/// A copy of the guest that is another module, and does the same.
fn rebuilt(folder: &Path, package: &str) -> std::path::PathBuf {
    let path = folder.join("rebuilt.wasm");
    // A section of the binary that means nothing.
    let bytes = [
        &*fs::read(guest(package)).expect("the guest was built"),
        &[0, 2, 1, b'x'],
    ]
    .concat();
    fs::write(&path, bytes).expect("the module can be written");
    path
}

#[track_caller]
fn refused(outcome: Result<()>) -> String {
    outcome.expect_err("it is refused").to_string()
}

#[test]
fn another_rule_behind_a_changelog_takes_over_in_a_swap_alone() {
    let module = guest("versions");
    for before in CHANGELOGS {
        for behind in READERS {
            // The rule does not pass on the start of a window, which is part of the key.
            if before.contains("step.window") && !behind.contains("step.aggregate") {
                continue;
            }
            let folder = scratch();
            let first = plan(text(before, &module, "label = 1", behind));
            run(&first, folder.path(), EVENTS).expect("the run ends well");
            let held = contents(&folder.path().join("changes.db"));
            let others = [
                text(before, &module, "label = 2", behind),
                text(before, &module, "label = 1, every = 2, fails = 'reject'", behind),
                text(before, &rebuilt(folder.path(), "versions"), "label = 1", behind),
            ];
            for other in others {
                let next = plan(other.clone());
                let said = refused(run(&next, folder.path(), EVENTS));
                Successor::check(&first, &next).expect("a swap judges the rows anew");
                assert!(
                    said.contains("step \"judge\" reads the changelog of step \"latest\""),
                    "{said}"
                );
                assert!(said.contains("into a new database"), "{said}");
                assert_eq!(contents(&folder.path().join("changes.db")), held, "{said}");
            }
            // What is the same in other words is no change.
            let same = plan(text(before, &module, "label = 1, every = 1", behind));
            let more = format!("{EVENTS}{{\"n\": 4, \"k\": \"a\"}}\n");
            run(&same, folder.path(), &more).expect("it goes on");
        }
    }
}

#[test]
fn a_replay_goes_on_with_another_rule_that_judges_current_rows_anew() {
    let module = guest("versions");
    // The rule does not pass on when a window begins, so that a table by key is not possible there.
    for before in &CHANGELOGS[..2] {
        let folder = scratch();
        let path = |name: &str| folder.path().join(name);
        let replay = |parameters: &str, events: &str| {
            let text = text(before, &module, parameters, READERS[0]);
            fs::write(path("changes.toml"), text).expect("the pipeline file can be written");
            fs::write(path("events.jsonl"), events).expect("the input can be written");
            let line = "replay changes.toml --input events.jsonl --database changes.db --now 2026-03-15T12:00:00Z";
            weir().run_in(folder.path(), line.split_whitespace())
        };
        let kept = || {
            query(
                &path("changes.db"),
                "SELECT k || ' ' || n || ' ' || label FROM kept ORDER BY k",
            )
        };
        replay("label = 1", EVENTS).ends_with(0);
        assert_eq!(kept(), ["a 3 1", "b 2 1"], "{before}");
        let more = EVENTS.to_owned() + "{\"n\": 4, \"k\": \"c\"}\n";
        let refused = replay("label = 2, fails = 'reject', every = 3", &more).ends_with(2);
        let why = "cannot take over from the one that judged the rows so far: step \"judge\" would reject a row that its input \
                   holds by now: version 2 rejects 3";
        assert!(refused.stderr.contains(why), "{}", refused.stderr);
        assert_eq!(kept(), ["a 3 1", "b 2 1"], "{before}");
        replay("label = 2", EVENTS).ends_with(0);
        assert_eq!(kept(), ["a 3 2", "b 2 2"], "without an event, {before}");
        replay("label = 3", &more).ends_with(0);
        assert_eq!(kept(), ["a 3 3", "b 2 3", "c 4 3"], "{before}");
        weir().run_in(folder.path(), ["verify", "changes.db"]).ends_with(0);
    }
}

#[test]
fn the_rule_of_two_that_changed_is_named() {
    let (folder, module) = (scratch(), guest("versions"));
    let [before, ..] = CHANGELOGS;
    let [.., two] = READERS;
    run(&plan(text(before, &module, "", two)), folder.path(), EVENTS).expect("the run ends well");
    let other = two.replace("label = 7", "label = 8");
    let said = refused(run(&plan(text(before, &module, "", &other)), folder.path(), EVENTS));
    let digest = weir_tests::swaps::digest(&module);
    let said = said
        .replace(&digest[..12], "DIGEST")
        .replace(&folder.path().display().to_string(), "FOLDER");
    expect![[r#"database FOLDER/changes.db: step "second" reads the changelog of step "latest" through module DIGEST with label = 7, fails = "", every = 1, malformed = 0 so far, and would read it through module DIGEST with label = 8, fails = "", every = 1, malformed = 0: rows that its rule let through so far would stay if another rule took over; run the pipeline into a new database instead, or stay with the former"#]].assert_eq(&said);
}

#[test]
fn two_rules_around_the_elements_of_rows_change_at_once() {
    const PIPELINE: &str = "name = 'changes'
        source = { stream = 'S', subject = 's', columns = { n = 'int', k = 'list(int)' } }
        step = [
            { name = 'latest', last_value = { key = ['n'] } },
            { name = 'rows', stage = { module = 'MODULE', parameters = { FIRST } } },
            { name = 'elements', unnest = { column = 'k', as = 'element', ordinal = 'place' } },
            { name = 'named', columns = { k = 'n', n = 'element', place = 'place' } },
            { name = 'judged', stage = { module = 'MODULE', parameters = { SECOND } } },
            { name = 'sums', aggregate = { group_by = ['k', 'label'], columns = { rows = { count = '*' }, sum = { sum = 'n' } } } },
        ]
        sink = [{ table = 'sums', primary_key = ['k', 'label'] }]";
    const EVENTS: &str = "{\"n\": 10, \"k\": [5, 60]}\n{\"n\": 70, \"k\": [80]}\n{\"n\": 10, \"k\": [7, 61, 62]}\n{\"n\": 90, \"k\": []}\n";
    let module = guest("thresholds").display().to_string();
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    let replay = |database: &str, [first, second]: [&str; 2]| {
        let text = PIPELINE
            .replace("MODULE", &module)
            .replace("FIRST", first)
            .replace("SECOND", second);
        fs::write(path("changes.toml"), text).expect("the pipeline file can be written");
        fs::write(path("events.jsonl"), EVENTS).expect("the input can be written");
        let line = format!("replay changes.toml --input events.jsonl --database {database} --now 2026-03-15T12:00:00Z");
        weir().run_in(folder.path(), line.split_whitespace()).ends_with(0);
        let rows = "SELECT k || ' ' || label || ' ' || rows || ' ' || sum FROM sums ORDER BY k, label";
        query(&path(database), rows)
    };
    let all = [
        ["threshold = 50", "threshold = 50, label = 1"],
        ["threshold = 0", "threshold = 10, label = 2"],
        ["threshold = 80", "threshold = 0, label = 3"],
        ["threshold = 0", "threshold = 61, label = 2"],
        ["threshold = 5", "threshold = 61, label = 2"],
    ];
    let mut seen = Vec::new();
    for (number, parameters) in all.into_iter().enumerate() {
        let went_on = replay("changes.db", parameters);
        let anew = replay(&format!("{number}.db"), parameters);
        assert_eq!(went_on, anew, "{parameters:?}");
        seen.push(went_on);
    }
    assert_eq!(seen[..2], [vec!["70 1 1 80"], vec!["10 2 2 123", "70 2 1 80"]]);
    weir().run_in(folder.path(), ["verify", "changes.db"]).ends_with(0);
}

#[test]
fn other_elements_of_a_changelog_do_not_go_on_with_what_the_former_left() {
    let pipeline = |keys: &str| {
        plan(format!(
            "name = 'changes'
             source = {{ stream = 'S', subject = 's', columns = {{ n = 'int', k = 'list(text)' }} }}
             step = [
                 {{ name = 'latest', last_value = {{ key = ['n'] }} }},
                 {{ name = 'tags', unnest = {{ column = 'k', as = 'tag', ordinal = 'place'{keys} }} }},
                 {{ name = 'counts', aggregate = {{ group_by = ['tag'], columns = {{ rows = {{ count = '*' }} }} }} }},
             ]
             sink = [{{ table = 'counts', primary_key = ['tag'] }}]"
        ))
    };
    let folder = scratch();
    let events = "{\"n\": 1, \"k\": [\"a\", \"b\"]}\n{\"n\": 2, \"k\": []}\n";
    run(&pipeline(""), folder.path(), events).expect("the run ends well");
    let said = refused(run(&pipeline(", keep_empty = true"), folder.path(), events));
    let said = said.replace(&folder.path().display().to_string(), "FOLDER");
    expect![[r#"database FOLDER/changes.db: step "counts" has read the changelog of step "latest" through tags (unnest k (list(text)) as tag (text) with place place) so far, and would now read the changelog of step "latest" through tags (unnest k (list(text)) as tag (text) with place place, empty ones too): rows that came the one way would not be taken back the other; run the pipeline into a new database instead, or put the steps back as they were"#]].assert_eq(&said);
    let more = format!("{events}{{\"n\": 1, \"k\": [\"b\"]}}\n");
    run(&pipeline(", keep_empty = false"), folder.path(), &more).expect("the same in other words is no change");
}

/// The pipeline file without its rule, before what stands behind it.
fn without_judge(with: &str, behind: &str) -> String {
    let judge = with.find("[[step]]\nname = 'judge'").expect("it is there");
    format!("{}{behind}", &with[..judge])
}

#[test]
fn a_rule_more_or_less_on_the_way_of_a_changelog_is_refused() {
    let (folder, module) = (scratch(), guest("versions"));
    let [before, ..] = CHANGELOGS;
    let [_, count, ..] = READERS;
    let with = text(before, &module, "", count);
    let without = without_judge(&with, count);
    run(&plan(with.clone()), folder.path(), EVENTS).expect("the run ends well");
    let said = refused(run(&plan(without.clone()), folder.path(), EVENTS));
    let said = said.replace(&folder.path().display().to_string(), "FOLDER");
    expect![[r#"database FOLDER/changes.db: state "latest/rows" is held for last_value by the first 1 of k text, n int, but the pipeline now has last_value by the first 1 of k text: what it holds fits nothing else; name another --database and fill it from the stream, or go back to what it is held for"#]].assert_eq(&said);
    let folder = scratch();
    run(&plan(without), folder.path(), EVENTS).expect("the run ends well");
    refused(run(&plan(with), folder.path(), EVENTS));
}

#[test]
fn another_rule_over_single_rows_takes_over() {
    let (folder, module) = (scratch(), guest("versions"));
    let sink = "[[sink]]\ntable = 'kept'";
    run(&plan(text("", &module, "label = 1", sink)), folder.path(), EVENTS).expect("the run ends well");
    let more = format!("{EVENTS}{{\"n\": 4, \"k\": \"a\"}}\n");
    run(&plan(text("", &module, "label = 2", sink)), folder.path(), &more).expect("it goes on");
    let versions = read_versions(&folder.path().join("changes.db"), "changes").expect("versions");
    assert_eq!(versions.iter().map(|v| v.first_sequence).collect::<Vec<_>>(), [1, 4]);
}

#[test]
fn a_database_that_did_not_remember_this_knows_the_versions_that_decided() {
    let (folder, module) = (scratch(), guest("versions"));
    let [before, ..] = CHANGELOGS;
    let [table, ..] = READERS;
    let first = plan(text(before, &module, "label = 1", table));
    run(&first, folder.path(), EVENTS).expect("the run ends well");
    let forget = || {
        let database = rusqlite::Connection::open(folder.path().join("changes.db")).expect("it can be opened");
        let forgotten = database.execute("DELETE FROM weir_state WHERE state LIKE '%/reads'", []);
        assert_eq!(forgotten.expect("it can be written"), 1);
    };
    forget();
    let other = plan(text(before, &module, "label = 2", table));
    assert!(refused(run(&other, folder.path(), EVENTS)).contains("and would read it through module"));
    run(&first, folder.path(), EVENTS).expect("it goes on");
    forget();
}

/// An aggregate over `from`.
fn severity(module: &Path, from: &str) -> Arc<Plan> {
    plan(format!(
        "name = 'changes'\nsource = {{ stream = 'S', subject = 's', columns = {{ claim = 'int', policy = 'int', kind = 'text', paid_cents = 'int' }} }}\n\
         [[step]]\nname = 'latest'\nlast_value = {{ key = ['claim'] }}\n\
         [[sink]]\nfrom = 'latest'\ntable = 'claims'\nprimary_key = ['claim']\n\
         [[step]]\nname = 'severity'\nfrom = '{from}'\n[step.aggregate]\ngroup_by = ['policy']\n\
         columns = {{ severity = {{ module = '{}' }} }}\n[[sink]]\ntable = 'severity'\nprimary_key = ['policy']\n",
        module.display()
    ))
}

const CLAIM: &str = "{\"claim\": 1, \"policy\": 1, \"kind\": \"fire\", \"paid_cents\": 100}\n";

#[test]
fn another_module_of_an_aggregate_takes_over_where_its_states_are_the_same() {
    let module = guest("claims-severity");
    for from in ["source", "latest"] {
        let folder = scratch();
        run(&severity(&module, from), folder.path(), CLAIM).expect("the run ends well");
        let rebuilt = rebuilt(folder.path(), "claims-severity");
        run(&severity(&rebuilt, from), folder.path(), &CLAIM.repeat(2)).expect("its states are the same");
        run(&severity(&module, from), folder.path(), &CLAIM.repeat(3)).expect("and back");
    }
}

/// Makes a database one that does not remember what computed results, but in what the state is held for.
fn forget_aggregates(folder: &Path, remembered: &str) {
    let database = rusqlite::Connection::open(folder.join("changes.db")).expect("it can be opened");
    let forgotten = database.execute("DELETE FROM weir_state WHERE state = 'severity/aggregates'", []);
    assert_eq!(forgotten.expect("it can be written"), 1);
    let states = "{claims: unsigned, weighted_cents: int}";
    let older = "UPDATE weir_state SET fingerprint = replace(fingerprint, ?1, ?1 || ?2) WHERE state LIKE 'severity/%'";
    database
        .execute(older, [states, remembered])
        .expect("it can be written");
}

#[test]
fn a_database_of_an_older_weir_goes_on_with_the_modules_that_it_names_and_remembers() {
    let module = guest("claims-severity");
    let parameters = " under grave = [\"injury\", \"fire\"], weight = 3";
    let digest = weir_tests::swaps::digest(&module);
    for remembered in [parameters.to_owned(), format!(" of module {digest}{parameters}")] {
        let folder = scratch();
        let rebuilt = rebuilt(folder.path(), "claims-severity");
        run(&severity(&module, "latest"), folder.path(), CLAIM).expect("the run ends well");
        forget_aggregates(folder.path(), &remembered);
        if remembered.contains("module") {
            let said = refused(run(&severity(&rebuilt, "latest"), folder.path(), CLAIM));
            assert!(said.contains("state \"severity/groups\" is held for"), "{said}");
            let is = weir_tests::swaps::digest(&rebuilt);
            assert!(said.contains(&digest) && said.contains(&is), "{said}");
        }
        run(&severity(&module, "latest"), folder.path(), CLAIM).expect("it goes on");
        run(&severity(&rebuilt, "latest"), folder.path(), CLAIM).expect("it has remembered");
    }
    // Over single rows it did not remember any.
    let folder = scratch();
    run(&severity(&module, "source"), folder.path(), CLAIM).expect("the run ends well");
    forget_aggregates(folder.path(), "");
    let rebuilt = rebuilt(folder.path(), "claims-severity");
    run(&severity(&rebuilt, "source"), folder.path(), CLAIM).expect("it goes on");
}

/// A step that counts a sum so many times.
fn summed(times: i64) -> String {
    format!(
        "[[step]]\nname = 'sum'\n[step.aggregate]\ngroup_by = ['k']\n\
         columns = {{ n = {{ module = '{}', parameters = {{ times = {times} }} }} }}",
        guest("factored-sum").display()
    )
}

/// As processes that die between the start and the commit.
#[test]
fn results_are_computed_anew_at_each_start_until_they_are_committed() {
    let (folder, module, [table, ..]) = (scratch(), guest("versions"), READERS);
    let path = folder.path().join("changes.db");
    let of = |times| plan(text(&summed(times), &module, "", table));
    let remembered = || -> String {
        let database = rusqlite::Connection::open(&path).expect("it can be opened");
        let remembered = "SELECT fingerprint FROM weir_state WHERE state = 'sum/aggregates'";
        database
            .query_row(remembered, [], |row| row.get(0))
            .expect("it is remembered")
    };
    run(&of(1), folder.path(), EVENTS).expect("the run ends well");
    let (held, before) = (contents(&path), remembered());
    let versions = read_versions(&path, "changes").expect("versions");
    for times in [3, 5] {
        let plan = of(times);
        let mut storage = hold(&path)
            .expect("nobody holds it")
            .open(plan.clone(), Messages::Drop)
            .expect("it opens");
        storage.claim(IDENTITY).expect("it is of this source");
        let stored = storage.stored().clone();
        let mut engine = Engine::new(plan, host(), stored.seed).expect("the guests start");
        storage.load(&mut engine).expect("the states are the same");
        engine.begin(stored.position, &versions).expect("it takes over");
        let turn = engine.take_turn(stored.turn + 1).expect("no invariant breaks");
        assert_eq!(turn.sinks.iter().flatten().count(), 1, "the table has rows");
        drop((engine, storage));
        assert_eq!((contents(&path), remembered()), (held.clone(), before.clone()));
    }
    run(&of(5), folder.path(), EVENTS).expect("it takes over");
    assert_ne!(remembered(), before);
    let numbers = |contents: &Contents| -> Vec<i64> {
        let kept = &contents.tables["kept"];
        let at = kept
            .columns
            .iter()
            .position(|name| name == "n")
            .expect("it has the sum");
        let number = |row: &Vec<Cell>| match row[at] {
            Cell::Int(number) => number,
            ref other => panic!("{other:?} is no number"),
        };
        kept.rows.iter().map(number).collect()
    };
    let before = numbers(&held);
    assert_eq!(before, [2, 4]);
    assert_eq!(numbers(&contents(&path)), [10, 20]);
}

/// What is said where this kind of change is refused.
fn said_of(kind: Unswappable) -> String {
    let (folder, module, [last_value, aggregate, _], [table, count, ..]) =
        (scratch(), guest("versions"), CHANGELOGS, READERS);
    let refused_by =
        |running: &Plan, plan: &Plan| Successor::check(running, plan).expect_err("it is refused").to_string();
    let refused_after = |first: Arc<Plan>, second: Arc<Plan>| {
        run(&first, folder.path(), EVENTS).expect("the run ends well");
        refused(run(&second, folder.path(), EVENTS))
    };
    match kind {
        Unswappable::Sink => {
            let columns = "n = 'int', k = 'text', event = 'text', id = 'int', now_premium = 'text', now_info = 'text'";
            let [running, plan] = ["versions", "saved-orders"].map(|rule| {
                plan(text("", &guest(rule), "", "[[sink]]\ntable = 'kept'").replace("n = 'int', k = 'text'", columns))
            });
            refused_by(&running, &plan)
        }
        // Without the rule, nobody reads a column that it reads.
        Unswappable::State => {
            let with = text(last_value, &module, "", count);
            let without = without_judge(&with, count);
            refused_after(plan(with), plan(without))
        }
        Unswappable::Way => {
            let sum = "[[step]]\nname = 'all'\naggregate = { group_by = ['k'], columns = { total = { sum = 'n' } } }\n\
                       [[sink]]\ntable = 'kept'\nprimary_key = ['k']";
            let with = text(aggregate, &module, "", sum);
            let without = without_judge(&with, sum);
            refused_after(plan(with), plan(without))
        }
        Unswappable::CurrentRow => {
            let first = plan(text(last_value, &module, "", table));
            run(&first, folder.path(), EVENTS).expect("the run ends well");
            let path = folder.path().join("changes.db");
            let mut storage = hold(&path)
                .expect("nobody holds it")
                .open(first.clone(), Messages::Drop)
                .expect("it opens");
            storage.claim(IDENTITY).expect("it is of this source");
            let stored = storage.stored().clone();
            let mut engine = Engine::new(first.clone(), host(), stored.seed).expect("the guests start");
            storage.load(&mut engine).expect("it fits");
            let versions = read_versions(&path, &first.name).expect("versions");
            engine.begin(stored.position, &versions).expect("nothing took over");
            let next = plan(text(last_value, &module, "fails = 'reject', every = 3", table));
            let next = Successor::prepare(&first, next, host(), 2).expect("the rule fits");
            let retired = engine.swap(next).expect("both are of one pipeline");
            retired.refused().expect("a row cannot be judged").to_owned()
        }
        Unswappable::RuleWithoutSwap => {
            let of = |label: &str| plan(text(last_value, &module, label, table));
            refused_after(of("label = 1"), of("label = 2"))
        }
        Unswappable::RunningAggregate => {
            let rebuilt = rebuilt(folder.path(), "claims-severity");
            refused_by(
                &severity(&guest("claims-severity"), "source"),
                &severity(&rebuilt, "source"),
            )
        }
        Unswappable::AggregateState => {
            let with = |module: &str| {
                plan(format!(
                    "name = 'changes'\nsource = {{ stream = 'S', subject = 's', columns = {{ n = 'int', k = 'text' }} }}\n\
                     [[step]]\nname = 'all'\naggregate = {{ group_by = ['k'], columns = {{ all = {{ module = '{}' }} }} }}\n\
                     [[sink]]\ntable = 'kept'\nprimary_key = ['k']\n",
                    folder.path().join(module).display()
                ))
            };
            let bytes = fs::read(guest("factored-sum")).expect("the guest was built");
            fs::write(folder.path().join("first.wasm"), &bytes).expect("the module can be written");
            let (from, to) = (b"summed_up", b"summed_in");
            let mut other = bytes.clone();
            let places = bytes.windows(from.len()).enumerate().filter(|(_, part)| part == from);
            places.for_each(|(at, _)| other[at..at + to.len()].copy_from_slice(to));
            fs::write(folder.path().join("second.wasm"), other).expect("the module can be written");
            refused_after(with("first.wasm"), with("second.wasm"))
        }
        Unswappable::AggregateResult => {
            let with = |times| plan(text(&summed(times), &module, "malformed = 10", table));
            refused_after(with(1), with(5))
        }
    }
}

#[test]
fn each_kind_of_refusal_is_met_and_says_why_and_what_to_do() {
    for kind in Unswappable::ALL {
        let said = said_of(kind);
        match kind {
            // What is wrong with the row is the reason, and whoever deploys a version knows the one before.
            Unswappable::CurrentRow => assert_eq!(
                said,
                "step \"judge\" would reject a row that its input holds by now: version 0 rejects 3"
            ),
            _ => {
                assert!(said.contains(kind.why()), "{kind:?}: {said}");
                assert!(said.ends_with(kind.instead()), "{kind:?}: {said}");
            }
        }
    }
}
