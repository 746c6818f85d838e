//! A good component, and what is put around its calls and beside its modules.

use crate::made::section;
use std::fmt::Write;

/// Where the component takes its work from its own module.
const PROCESS: &str = "(alias core export $main \"weir:stage/stage@0.2.0#process\" (core func ";

/// What it calls that.
const PROCESS_NAME: &str = "$weir:stage/stage@0.2.0#process";

/// The arguments of that.
const ARGUMENTS: &str = "(local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)";

/// A good component.
pub(super) struct Base {
    bytes: Vec<u8>,
    /// As text, line by line.
    lines: Vec<String>,
    /// The line with [`PROCESS`].
    process: usize,
}

impl Base {
    pub(super) fn of(good: &[u8]) -> Self {
        let text = wasmprinter::print_bytes(good).expect("the good component can be printed");
        // Of its own debug information nothing is kept, so that what is put there is all that there is.
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("(@custom \".debug"));
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        let process = lines.iter().position(|line| line.trim_start().starts_with(PROCESS));
        Self {
            bytes: good.to_vec(),
            process: process.expect("the good component is a stage"),
            lines,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// With a core module beside its own that nothing uses.
    pub(super) fn beside_module(&self, module: &[u8]) -> Vec<u8> {
        [&self.bytes[..], &section(1, module)].concat()
    }

    /// With a component beside its own modules that nothing uses.
    pub(super) fn beside_component(&self, component: &[u8]) -> Vec<u8> {
        [&self.bytes[..], &section(4, component)].concat()
    }

    /// With `count` instances of a module of these fields.
    pub(super) fn with_instances(&self, fields: &str, count: usize) -> Vec<u8> {
        let instances = "(core instance (instantiate $more))\n".repeat(count);
        self.with(
            &format!("(core module $more {fields})\n{instances}"),
            &self.lines[self.process],
        )
    }

    /// Each call does something first.
    pub(super) fn with_call(&self, fields: &str, body: &str) -> Vec<u8> {
        self.wrapped("", "", "", fields, body)
    }

    /// Each call traps, if it is one with rows; beside that module stand these custom sections.
    pub(super) fn with_debug_information(&self, sections: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut fields = String::new();
        for (name, data) in sections {
            let _ = writeln!(fields, "(@custom \"{name}\" (after last) \"{}\")", escaped(data));
        }
        self.with_call(&fields, "(if (local.get 0) (then unreachable))")
    }

    /// Each call with rows traps in a function of a long name.
    pub(super) fn with_long_name(&self, length: usize) -> Vec<u8> {
        // What names of Rust look like, and what takes longest to read.
        let name = format!("_RNv{}", "NtC1a".repeat(length / 5));
        let fields = format!("(func $long (@name \"{name}\") unreachable)");
        self.with_call(&fields, "(if (local.get 0) (then (call $long)))")
    }

    /// Each call lets one of `count` memories grow by so many MiB, and writes to all of it.
    pub(super) fn with_growing_memories(&self, count: usize, mib: usize) -> Vec<u8> {
        let pages = 16 * mib;
        let mut modules = format!(
            "(core module $grows (memory 1 1024)
               (func (export \"step\") (result i32) (local i32 i32)
                 ;; A memory that is full is left as it is: the bound is to be met by all of them together.
                 (if (i32.gt_u (i32.add (memory.size) (i32.const {pages})) (i32.const 1024))
                   (then (return (i32.const 0))))
                 (local.set 0 (memory.grow (i32.const {pages})))
                 (local.set 0 (i32.shl (local.get 0) (i32.const 16)))
                 (local.set 1 (i32.add (local.get 0) (i32.const {})))
                 (loop $page
                   (i32.store (local.get 0) (i32.const 1))
                   (local.set 0 (i32.add (local.get 0) (i32.const 4096)))
                   (br_if $page (i32.lt_u (local.get 0) (local.get 1))))
                 (i32.const 1)))\n",
            pages << 16
        );
        let (mut imports, mut arguments, mut body) = (String::new(), String::new(), "(block $done ".to_owned());
        for number in 0..count {
            let _ = writeln!(modules, "(core instance $grows{number} (instantiate $grows))");
            let _ = writeln!(
                imports,
                "(import \"{number}\" \"step\" (func $step{number} (result i32)))"
            );
            let _ = writeln!(arguments, "(with \"{number}\" (instance $grows{number}))");
            let _ = writeln!(body, "(br_if $done (call $step{number}))");
        }
        body += ")";
        self.wrapped(&modules, &imports, &arguments, "", &body)
    }

    /// Each call lets a table grow.
    pub(super) fn with_growing_table(&self, elements: usize) -> Vec<u8> {
        self.with_call(
            "(table $t 0 funcref)",
            &format!("(drop (table.grow $t (ref.null func) (i32.const {elements})))"),
        )
    }

    /// Each call with rows makes so many handles of a resource.
    pub(super) fn with_handles(&self, count: usize) -> Vec<u8> {
        self.wrapped(
            "(type $handle (resource (rep i32)))
             (core func $new (canon resource.new $handle))
             (core instance $handles (export \"new\" (func $new)))\n",
            "(import \"handles\" \"new\" (func $new (param i32) (result i32)))",
            "(with \"handles\" (instance $handles))",
            "(global $left (mut i32) (i32.const 0))",
            &format!(
                "(if (local.get 0) (then
                   (global.set $left (i32.const {count}))
                   (loop $next
                     (drop (call $new (i32.const 1)))
                     (global.set $left (i32.sub (global.get $left) (i32.const 1)))
                     (br_if $next (global.get $left)))))"
            ),
        )
    }

    /// Each call fills a memory of so many MiB, so many times, one after the other.
    pub(super) fn with_fills(&self, mib: usize, times: usize) -> Vec<u8> {
        let fill = format!("(memory.fill (i32.const 0) (i32.const 7) (i32.const {}))", mib << 20);
        self.with_call(&format!("(memory {})", 16 * mib), &fill.repeat(times))
    }

    fn wrapped(&self, modules: &str, imports: &str, arguments: &str, fields: &str, body: &str) -> Vec<u8> {
        let taken = self.lines[self.process].replacen(PROCESS_NAME, "$inner", 1);
        let wrapper = format!(
            "{taken}
             {modules}
             (core module $wrapper
               (import \"main\" \"process\" (func $process (param i32 i32 i32 i32 i32) (result i32)))
               {imports} {fields}
               (func (export \"process\") (param i32 i32 i32 i32 i32) (result i32)
                 {body}
                 (call $process {ARGUMENTS})))
             (core instance $wrapped (export \"process\" (func $inner)))
             (core instance $wrapping (instantiate $wrapper (with \"main\" (instance $wrapped)) {arguments}))
             (alias core export $wrapping \"process\" (core func {PROCESS_NAME}))"
        );
        self.with("", &wrapper)
    }

    /// With `before` in front of the line with the work, and another line in its place.
    fn with(&self, before: &str, process: &str) -> Vec<u8> {
        let (first, rest) = self.lines.split_at(self.process);
        let text = [&first.join("\n"), before, process, &rest[1..].join("\n")].join("\n");
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
    }
}

fn escaped(data: &[u8]) -> String {
    data.iter().map(|byte| format!("\\{byte:02x}")).collect()
}
