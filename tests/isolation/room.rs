//! Memories, tables and instances within a component: what a guest may have is bounded as a whole.

use crate::made::{Made, plan_of, run, with_component, with_module};
use std::{fs, sync::Arc};
use weir::{
    definition::File,
    engine::Engine,
    error::{Error, ErrorKind},
    limits::{GUEST_MEMORIES_MAX, GUESTS_LOOSE, GUESTS_OF_PIPELINE, GUESTS_OF_STAGE, MAPPINGS_OF_MEMORY},
    plan::Plan,
    wasm::{Compiler, Instance, StageHost},
};
use weir_tests::{replay::host, scratch};

/// What is said against `component` as a rule.
#[track_caller]
fn refused(component: &[u8], limits: &str, words: &[&str]) {
    let folder = scratch();
    let path = folder.path().join("rule.wasm");
    fs::write(&path, component).expect("the module can be written");
    let error = plan_of(&path, limits).expect_err("it is refused").to_string();
    for words in ["made.toml:5:", "step \"made\": "].iter().chain(words) {
        assert!(error.contains(words), "{words:?} is not in {error}");
    }
}

#[track_caller]
fn accepted(component: &[u8], limits: &str) {
    let folder = scratch();
    let path = folder.path().join("rule.wasm");
    fs::write(&path, component).expect("the module can be written");
    plan_of(&path, limits).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn all_memories_of_a_module_share_the_limit() {
    let made = Made {
        fields: "(memory $a 0) (memory $b 0) (memory $c 0)",
        // 4 MiB more of each for each row.
        process: "(drop (memory.grow $a (i32.mul (local.get 0) (i32.const 64))))
            (drop (memory.grow $b (i32.mul (local.get 0) (i32.const 64))))
            (drop (memory.grow $c (i32.mul (local.get 0) (i32.const 64))))",
        ..Default::default()
    };
    for batch in [1, 7, 256] {
        let found = run(&made.plan("memory_mib = 8"), 10, batch);
        assert_eq!(found.counts.dead_letters, 10, "12 MiB do not fit into 8");
        for letter in &found.dead_letters {
            let reason = &letter.reason;
            assert!(reason.contains("the rule needs more than 8 MiB of memory"), "{reason}");
        }
        let found = run(&made.plan("memory_mib = 16"), 10, batch);
        assert_eq!(found.counts.dead_letters, 0, "each fits on its own");
        assert_eq!(found.tables["all"].rows.len(), 10);
    }
}

#[test]
fn tables_count_as_memory() {
    let grows = Made {
        fields: "(table $t 0 funcref)",
        process: "(if (local.get 0) (then (drop (table.grow $t (ref.null func) (i32.const 1500000)))))",
        ..Default::default()
    };
    let found = run(&grows.plan("memory_mib = 8"), 3, 256);
    assert_eq!(found.counts.dead_letters, 3);
    let reason = &found.dead_letters[0].reason;
    assert!(reason.contains("the rule needs more than 8 MiB of memory"), "{reason}");
    let found = run(&grows.plan("memory_mib = 32"), 3, 256);
    assert_eq!(found.counts.dead_letters, 0);

    let made = Made {
        fields: "(table $t 2000000 funcref)",
        ..Default::default()
    };
    accepted(&made.component(), "memory_mib = 32");
    refused(
        &made.component(),
        "memory_mib = 8",
        &["the rule cannot be instantiated: the rule needs more than 8 MiB of memory"],
    );
}

#[test]
fn memories_of_instances_within_share_the_limit() {
    let grows = "(module (memory 64) (func $start (drop (memory.grow (i32.const 64)))) (start $start))";
    // Each 8 MiB, half of it at once and half by growing.
    let three = with_module(Made::default().component(), grows, 3);
    accepted(&three, "memory_mib = 32");
    refused(
        &three,
        "memory_mib = 16",
        &["the rule cannot be instantiated: the rule needs more than 16 MiB of memory"],
    );
}

/// Before it can be asked anything.
#[test]
fn an_instance_that_never_begins_is_refused_by_its_deadline() {
    let forever = "(module (func $start (loop $again (br $again))) (start $start))";
    let component = with_module(Made::default().component(), forever, 1);
    refused(
        &component,
        "",
        &["the rule cannot be instantiated: the rule ran longer than 500 ms"],
    );
}

#[test]
fn what_the_host_keeps_of_an_instance_counts_as_memory() {
    // 16 bytes for each, which are two in the component.
    let elements = "$f ".repeat(100_000);
    let module = format!("(module (func $f) (elem func {elements}))");
    let made = with_module(Made::default().component(), &module, 20);
    accepted(&made, "memory_mib = 64");
    refused(&made, "memory_mib = 16", &["the rule needs more than 16 MiB of memory"]);
}

#[test]
fn a_declared_maximum_is_no_matter_of_the_limit() {
    let made = Made {
        fields: "(memory $a 0 1)",
        process: "(if (local.get 0) (then (drop (memory.grow $a (i32.const 2)))))",
        ..Default::default()
    };
    let found = run(&made.plan("memory_mib = 8"), 1, 1);
    let reason = &found.dead_letters[0].reason;
    assert!(
        reason.contains("it needs more memory than it declares itself"),
        "{reason}"
    );
}

#[test]
fn more_memories_tables_and_instances_than_a_rule_needs_are_refused_with_the_figures() {
    let made = || Made::default().component();
    let memory = "(module (memory 0))";
    accepted(&with_module(made(), memory, 7), "");
    refused(
        &with_module(made(), memory, 8),
        "",
        &["it needs 9 linear memories, accepted are up to 8"],
    );
    refused(
        &with_module(made(), memory, 250),
        "",
        &[
            "core instances, accepted are up to 128",
            "251 linear memories, accepted are up to 8",
        ],
    );
    let table = "(module (table 0 funcref))";
    accepted(&with_module(made(), table, 10), "");
    refused(&with_module(made(), table, 40), "", &["tables, accepted are up to 16"]);
    accepted(&with_module(made(), "(module)", 100), "");
    refused(
        &with_module(made(), "(module)", 500),
        "",
        &["core instances, accepted are up to 128"],
    );
    let within = "(component (core module $m (memory 0)) (core instance (instantiate $m)))";
    accepted(&with_component(made(), within, 7), "");
    refused(
        &with_component(made(), within, 8),
        "",
        &["it needs 9 linear memories, accepted are up to 8"],
    );
    refused(
        &with_component(made(), "(component)", 100),
        "",
        &["instances of components within it, accepted are up to 64"],
    );
    let memories = "(memory 0)".repeat(8);
    let many = Made {
        fields: &memories,
        ..Default::default()
    };
    refused(&many.component(), "", &["it needs 9 linear memories"]);
}

/// Guests of Python have some 40 core instances each, and every one of them lives beside the others.
#[test]
fn as_many_guests_with_as_much_as_they_may_have_fit_into_a_process_as_it_says() {
    let made = with_module(Made::default().component(), "(module (memory 0))", 7);
    let large = with_module(made, "(module)", 100);
    let folder = scratch();
    let path = folder.path().join("rule.wasm");
    fs::write(&path, large).expect("the module can be written");
    let plan = plan_of(&path, "").unwrap_or_else(|error| panic!("{error}"));
    let module = crate::made::module(&plan);
    let limits = &plan.stage("made").expect("that is its stage").limits;
    let own = host()
        .for_pipeline(weir::plan::GuestCounts {
            stages: 60,
            over_changelogs: 0,
            aggregates: 0,
            keyed: 0,
        })
        .expect("there is room");
    let mappings = || {
        fs::read_to_string("/proc/self/maps")
            .expect("this is Linux")
            .lines()
            .count()
    };
    let before = mappings();
    let guests: Vec<_> = (0..60 * GUESTS_OF_STAGE)
        .map(|at| {
            let mut guest = Instance::new(&own, module.clone(), Vec::new(), limits);
            guest.configure().unwrap_or_else(|error| panic!("guest {at}: {error}"));
            guest
        })
        .collect();
    // Other tests run beside this one.
    let more = mappings().saturating_sub(before);
    let most = guests.len() * GUEST_MEMORIES_MAX * MAPPINGS_OF_MEMORY + 1000;
    assert!(
        more <= most,
        "{more} mappings for {} guests, expected are up to {most}",
        guests.len()
    );
}

fn chain(name: &str, steps: usize) -> weir::error::Result<Plan> {
    let folder = scratch();
    let path = folder.path().join("rule.wasm");
    fs::write(&path, Made::default().component()).expect("the module can be written");
    let steps: String = (0..steps)
        .map(|at| {
            format!(
                "[[step]]\nname = \"step-{at}\"\nstage = {{ module = '{}' }}\n",
                path.display()
            )
        })
        .collect();
    let text = format!(
        "name = \"{name}\"\nsource = {{ stream = \"TEST\", subject = \"test\", columns = {{ id = \"int\" }} }}\n\
         {steps}[[sink]]\ntable = \"all\"\n"
    );
    Plan::build(&File::from_text("chain.toml", text), host())
}

#[test]
fn a_pipeline_of_more_guests_than_a_process_has_places_for_is_refused_with_the_figures() {
    let error = chain("long", 171).expect_err("there is no room").to_string();
    for words in [
        "pipeline long: its 171 stages and 0 aggregates that are guests need 1028 places",
        "a process has 1024: make two pipelines of it",
    ] {
        assert!(error.contains(words), "{words:?} is not in {error}");
    }
    let first = chain("first", 100).unwrap_or_else(|error| panic!("{error}"));
    let second = chain("second", 100).unwrap_or_else(|error| panic!("{error}"));
    let alone = StageHost::new(None, Compiler::InProcess).expect("this machine can run WebAssembly");
    let host_of_first = alone.for_pipeline(first.guest_counts()).expect("there is room for one");
    let error = alone.for_pipeline(second.guest_counts()).expect_err("not for two");
    let error = error.to_string();
    assert!(
        error.contains("its 100 stages") && error.contains("422 of the 1024 of this process are free"),
        "{error}"
    );
    drop(host_of_first);
    assert!(alone.for_pipeline(second.guest_counts()).is_ok());
}

#[test]
fn a_place_that_others_have_now_is_waited_for_and_is_no_fault_of_the_rule() {
    let folder = scratch();
    let path = folder.path().join("rule.wasm");
    fs::write(&path, Made::default().component()).expect("the module can be written");
    let text = format!(
        "name = \"made\"\nsource = {{ stream = \"TEST\", subject = \"test\", columns = {{ id = \"int\" }} }}\n\
         [[step]]\nname = \"made\"\nstage = {{ module = '{}' }}\n[[sink]]\ntable = \"all\"\n",
        path.display()
    );
    let file = File::from_text("made.toml", text);
    let all = StageHost::new(None, Compiler::InProcess).expect("this machine can run WebAssembly");
    let plan = Arc::new(Plan::build(&file, &all).unwrap_or_else(|error| panic!("{error}")));
    let module = crate::made::module(&plan);
    let limits = &plan.stage("made").expect("that is its stage").limits;
    let of_pipeline = all.for_pipeline(plan.guest_counts()).expect("there is room");
    for (host, places) in [
        (&of_pipeline, GUESTS_OF_PIPELINE + GUESTS_OF_STAGE),
        (&all, GUESTS_LOOSE),
    ] {
        let guest = || {
            let mut guest = Instance::new(host, module.clone(), Vec::new(), limits);
            guest.configure().map(|()| guest)
        };
        let mut guests: Vec<_> = (0..places).map(|_| guest().expect("there is a place")).collect();
        let words = format!("all {places} places");
        let check = |error: Error| {
            assert_eq!(error.kind(), ErrorKind::Environment, "{error}");
            let said = error.to_string();
            assert!(
                said.contains(&words) && said.contains("try again when they have ended"),
                "{said}"
            );
        };
        // Checked with its parameters, made for a pipeline that starts, and asked what it is.
        check(Plan::build(&file, host).expect_err("no place is free"));
        check(Engine::new(plan.clone(), host, 1).expect_err("no place is free"));
        let other = Made {
            fields: "(global $other i32 (i32.const 1))",
            ..Default::default()
        };
        fs::write(folder.path().join("other.wasm"), other.component()).expect("the module can be written");
        check(
            host.load(&folder.path().join("other.wasm"))
                .expect_err("no place is free"),
        );
        guests.pop();
        Plan::build(&file, host).unwrap_or_else(|error| panic!("{error}"));
        Engine::new(plan.clone(), host, 1).unwrap_or_else(|error| panic!("{error}"));
    }
}
