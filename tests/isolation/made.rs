//! Rules that no compiler makes: the text of a core module, and the component of it.

use std::{path::Path, sync::Arc};
use weir::{
    definition::File,
    plan::{Now, Plan},
    wasm::{Instance, Module},
};
use weir_tests::{
    made::{core_module, leb, section},
    replay::{GOLDEN_NOW_MS, Run, host},
    table::Contents,
};

/// A rule that passes column `id` of every row on.
///
/// What is inserted runs as WebAssembly text: `fields` in the module, `configure` in that call, and `process` in that one,
/// where local 0 holds the number of rows and local 1 is free. It rejects all rows where `$reject` is not 0 at the end.
/// Below 200,000 the memory is in use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Made<'a> {
    pub(crate) fields: &'a str,
    pub(crate) configure: &'a str,
    pub(crate) process: &'a str,
}

/// Its page that holds the numbers of rows, and those behind it with reasons.
const PAGES: usize = 4;

impl Made<'_> {
    pub(crate) fn component(&self) -> Vec<u8> {
        let Self {
            fields,
            configure,
            process,
        } = self;
        // Where the answers lie: what the contract says, as the canonical ABI writes it.
        let text = format!(
            r#"(module
  (import "weir:stage/log@0.1.0" "write" (func $write (param i32 i32 i32)))
  (import "weir:stage/time-zone@0.1.0" "offset-at" (func $offset_at (param i32 i32 i64 i32)))
  (memory (export "memory") {PAGES})
  (global $reject (mut i32) (i32.const 0))
  (data (i32.const 1024) "{description}")
  (data (i32.const 1160) "made1outidrejected")
  {fields}
  (func (export "weir:stage/stage@0.1.0#describe") (result i32) i32.const 1024)
  (func (export "weir:stage/stage@0.1.0#configure") (param i32 i32) (result i32) {configure} i32.const 1200)
  (func $process (export "weir:stage/stage@0.1.0#process") (param i32 i32 i32 i32 i32) (result i32)
    {process}
    (local.set 1 (i32.const 0))
    (block $done (loop $rows
      (br_if $done (i32.ge_u (local.get 1) (local.get 0)))
      (i32.store (i32.add (i32.const 65536) (i32.mul (local.get 1) (i32.const 4))) (local.get 1))
      (i32.store (i32.add (i32.const 90000) (i32.mul (local.get 1) (i32.const 12))) (local.get 1))
      (i32.store (i32.add (i32.const 90004) (i32.mul (local.get 1) (i32.const 12))) (i32.const 1170))
      (i32.store (i32.add (i32.const 90008) (i32.mul (local.get 1) (i32.const 12))) (i32.const 8))
      (local.set 1 (i32.add (local.get 1) (i32.const 1)))
      (br $rows)))
    ;; One output, of all rows or none, and the rejected.
    (i32.store (i32.const 1300) (i32.const 1320))
    (i32.store (i32.const 1304) (i32.const 1))
    (i32.store (i32.const 1308) (i32.const 90000))
    (i32.store (i32.const 1312) (select (local.get 0) (i32.const 0) (global.get $reject)))
    (i32.store (i32.const 1320) (i32.const 65536))
    (i32.store (i32.const 1324) (select (i32.const 0) (local.get 0) (global.get $reject)))
    (i32.store (i32.const 1328) (i32.const 1400))
    (i32.store (i32.const 1332) (i32.const 0))
    i32.const 1300)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 150000))"#,
            description = Words::description(),
        );
        weir_component::component_from_core(&core_module(&text))
            .expect("that is a rule")
            .bytes
    }

    /// The pipeline of it, with these limits, of events with an `id`.
    pub(crate) fn plan(&self, limits: &str) -> Arc<Plan> {
        let folder = weir_tests::scratch();
        let path = folder.path().join("made.wasm");
        std::fs::write(&path, self.component()).expect("the module can be written");
        let mut plan = plan_of(&path, limits).unwrap_or_else(|error| panic!("{error}"));
        plan.now = Now::Fixed(GOLDEN_NOW_MS);
        Arc::new(plan)
    }

    /// An instance of it, with these limits.
    pub(crate) fn instance(&self, limits: &str) -> Instance {
        let plan = self.plan(limits);
        let stage = plan.stage("made").expect("that is its stage");
        Instance::new(host(), module(&plan), Vec::new(), &stage.limits)
    }
}

pub(crate) fn module(plan: &Plan) -> Arc<Module> {
    plan.stage("made").expect("that is its stage").module.clone()
}

/// The pipeline of the module at `path`.
pub(crate) fn plan_of(path: &Path, limits: &str) -> weir::error::Result<Plan> {
    let text = format!(
        r#"name = "made"
source = {{ stream = "TEST", subject = "test", columns = {{ id = "int" }} }}
[[step]]
name = "made"
stage = {{ module = '{}', limits = {{ {limits} }} }}
[[sink]]
table = "all"
"#,
        path.display()
    );
    Plan::build(&File::from_text("made.toml", text), host())
}

/// What is left of events with the numbers below `events`, in batches of `batch`.
pub(crate) fn run(plan: &Arc<Plan>, events: usize, batch: usize) -> Contents {
    let input: String = (0..events).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    Run {
        plan,
        lookup_rows: &[],
        input: input.as_bytes(),
        batches: &[batch],
        stops: &[],
    }
    .contents()
}

/// Numbers in the order of a memory, as text.
struct Words;

impl Words {
    /// Name, version, doc, no inputs, no times, one output that passes `id` on, no parameters; then the output, and what it
    /// passes on.
    fn description() -> String {
        let (name, version, out, id) = ((1160, 4), (1164, 1), (1165, 3), (1168, 2));
        let (nothing, output, passed) = ((1400, 0), 1024 + 52, 1024 + 76);
        let words = [
            name.0, name.1, version.0, version.1, nothing.0, nothing.1, nothing.0, nothing.1, 0, output, 1, nothing.0,
            nothing.1, // The output.
            out.0, out.1, passed, 1, nothing.0, nothing.1, // What it passes on.
            id.0, id.1, id.0, id.1,
        ];
        let bytes = words.iter().flat_map(|word: &u32| word.to_le_bytes());
        bytes.map(|byte| format!("\\{byte:02x}")).collect()
    }
}

/// `component` with a module in it that is instantiated `times` times.
pub(crate) fn with_module(component: Vec<u8>, module: &str, times: usize) -> Vec<u8> {
    const CORE_MODULE: u8 = 1;
    const CORE_INSTANCE: u8 = 2;
    with_instances(component, module, times, [CORE_MODULE, CORE_INSTANCE])
}

/// `component` with a component in it that is instantiated `times` times.
pub(crate) fn with_component(component: Vec<u8>, within: &str, times: usize) -> Vec<u8> {
    const COMPONENT: u8 = 4;
    const INSTANCE: u8 = 5;
    with_instances(component, within, times, [COMPONENT, INSTANCE])
}

/// `component` with what is written in `text` behind all that it has, which is where that can be used, in a section of the first
/// kind, and its instances in one of the other.
fn with_instances(component: Vec<u8>, text: &str, times: usize, [kind, instance]: [u8; 2]) -> Vec<u8> {
    let within = wat::parse_str(text).expect("that is WebAssembly");
    let number = sections(&component).filter(|&id| id == kind).count();
    let one = [&[0][..], &leb(number), &[0]].concat();
    let instances = [leb(times), one.repeat(times)].concat();
    [component, section(kind, &within), section(instance, &instances)].concat()
}

/// The sections of a component, by what they are.
fn sections(component: &[u8]) -> impl Iterator<Item = u8> {
    let mut at = 8;
    std::iter::from_fn(move || {
        let id = *component.get(at)?;
        let (mut length, mut shift) = (0, 0);
        loop {
            at += 1;
            let byte = component[at];
            length |= usize::from(byte & 127) << shift;
            shift += 7;
            if byte < 128 {
                break;
            }
        }
        at += 1 + length;
        Some(id)
    })
}
