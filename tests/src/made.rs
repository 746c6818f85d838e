//! Components that are made in a test: stages of the contract around a core module that is written as text.

use crate::{seed::Random, workspace};
use std::fmt::Write;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What a made stage says of itself. Parameters are texts.
#[derive(Clone, Debug)]
pub struct Says {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does.
    pub doc: String,
    /// The columns that it reads: integers.
    pub inputs: Vec<String>,
    /// The names of its outputs, and the columns that each passes on.
    pub outputs: Vec<(String, Vec<String>)>,
    /// Its parameters: name, default, and what it is for.
    pub parameters: Vec<(String, Option<String>, String)>,
}

impl Default for Says {
    fn default() -> Self {
        Self {
            name: "made".to_owned(),
            version: "1".to_owned(),
            doc: String::new(),
            inputs: Vec::new(),
            outputs: vec![("out".to_owned(), Vec::new())],
            parameters: Vec::new(),
        }
    }
}

/// Where the description lies in memory. Before it everything is zero: an empty answer, and `ok`.
const DESCRIPTION_AT: usize = 1024;

/// A component that is a stage, and says this of itself. Its core module has `more` in it.
///
/// # Panics
/// When `more` is no text of WebAssembly.
pub fn stage(says: &Says, more: &str) -> Vec<u8> {
    stage_with(says, more, "")
}

/// As [`stage`]; before it describes itself it does what `first` says.
///
/// # Panics
/// When `more` or `first` is no text of WebAssembly.
pub fn stage_with(says: &Says, more: &str, first: &str) -> Vec<u8> {
    let image = Image::of(says).bytes;
    let pages = (DESCRIPTION_AT + image.len()) / 65_536 + 1;
    let mut data = String::new();
    for byte in image {
        let _ = write!(data, "\\{byte:02x}");
    }
    let core = format!(
        r#"(module
            (memory (export "memory") {pages})
            (data (i32.const {DESCRIPTION_AT}) "{data}")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export "weir:stage/stage@0.1.0#describe") (result i32) {first} (i32.const {DESCRIPTION_AT}))
            (func (export "weir:stage/stage@0.1.0#configure") (param i32 i32) (result i32) (i32.const 0))
            (func (export "weir:stage/stage@0.1.0#process") (param i32 i32 i32 i32 i32) (result i32) (i32.const 0))
            {more}
        )"#
    );
    let encoder = ComponentEncoder::default()
        .module(&core_module(&core))
        .expect("that is a module");
    encoder.validate(false).encode().expect("that is a stage")
}

/// The core module of a stage, of its text, as a compiler gives it to what makes a component of it.
///
/// # Panics
/// When that is no text of WebAssembly, or no stage.
pub fn core_module(text: &str) -> Vec<u8> {
    let mut core = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut resolve = Resolve::default();
    let wit = workspace().join("wit/0.1");
    let (package, _) = resolve.push_dir(wit).expect("the contract can be read");
    let world = resolve
        .select_world(&[package], Some("stage-component"))
        .expect("the contract has stages");
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).expect("it can be embedded");
    core
}

/// Memory as the contract's types are laid out in it.
struct Image {
    bytes: Vec<u8>,
}

impl Image {
    fn of(says: &Says) -> Self {
        let mut image = Self { bytes: vec![0; 52] };
        image.text(0, &says.name);
        image.text(8, &says.version);
        image.text(16, &says.doc);
        let inputs = image.list(24, says.inputs.len(), 12);
        for (at, name) in says.inputs.iter().enumerate() {
            image.text(inputs + 12 * at, name);
        }
        let outputs = image.list(36, says.outputs.len(), 24);
        for (at, (name, passed)) in says.outputs.iter().enumerate() {
            image.text(outputs + 24 * at, name);
            let columns = image.list(outputs + 24 * at + 8, passed.len(), 16);
            for (column, name) in passed.iter().enumerate() {
                image.text(columns + 16 * column, name);
                image.text(columns + 16 * column + 8, name);
            }
            image.list(outputs + 24 * at + 16, 0, 12);
        }
        let parameters = image.list(44, says.parameters.len(), 48);
        for (at, (name, default, doc)) in says.parameters.iter().enumerate() {
            let spec = parameters + 48 * at;
            image.text(spec, name);
            // Text is the fourth type, and the fourth case of a value.
            image.bytes[spec + 8] = 3;
            if let Some(default) = default {
                image.bytes[spec + 16] = 1;
                image.bytes[spec + 24] = 3;
                image.text(spec + 32, default);
            }
            image.text(spec + 40, doc);
        }
        image
    }

    /// Puts a text behind everything, and its place at `at`.
    fn text(&mut self, at: usize, text: &str) {
        self.point(at, text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Makes room for a list behind everything, and puts its place at `at`.
    fn list(&mut self, at: usize, items: usize, item_bytes: usize) -> usize {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.point(at, items);
        let place = self.bytes.len();
        self.bytes.resize(place + items * item_bytes, 0);
        place
    }

    fn point(&mut self, at: usize, count: usize) {
        let place = (DESCRIPTION_AT + self.bytes.len()) as u32;
        self.bytes[at..at + 4].copy_from_slice(&place.to_le_bytes());
        self.bytes[at + 4..at + 8].copy_from_slice(&(count as u32).to_le_bytes());
    }
}

/// A number as WebAssembly writes it.
pub fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

/// A section of a module or component.
pub fn section(id: u8, contents: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(contents.len()), contents].concat()
}

/// What a component begins with; it alone is an empty one.
pub const PREAMBLE: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// A component with another one in it, in that another, and so on.
pub fn nested(component: &[u8], depth: usize) -> Vec<u8> {
    // From within: each is told how long the one in it is. What stands before it is collected the other way round.
    const COMPONENT_SECTION: u8 = 4;
    let mut heads = Vec::new();
    let mut length = PREAMBLE.len();
    for _ in 0..depth {
        let head = [&[COMPONENT_SECTION][..], &leb(length), &PREAMBLE].concat();
        length += head.len();
        heads.push(head);
    }
    let mut bytes = component.to_vec();
    heads.iter().rev().for_each(|head| bytes.extend_from_slice(head));
    bytes
}

/// Loops in one another, over many locals: what a compiler does with them grows with the product.
pub fn loops(locals: usize, depth: usize, random: &mut Random) -> String {
    let mut text = format!("(func (param i32) (result i32) {}", "(local i32)".repeat(locals));
    for local in 1..=locals {
        let _ = write!(text, "(local.set {local} (local.get 0))");
    }
    text += &"(loop ".repeat(depth);
    for _ in 0..depth {
        let local = 1 + random.below(locals);
        let add = random.below(1000);
        let _ = write!(
            text,
            "(br_if 0 (local.tee {local} (i32.add (local.get {local}) (i32.const {add})))))"
        );
    }
    text += "(i32.const 0)";
    for local in 1..=locals {
        let _ = write!(text, "local.get {local} i32.add ");
    }
    text + ")"
}

/// Many small functions.
pub fn functions(count: usize, random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..count {
        let _ = write!(
            text,
            "(func (param i32) (result i32) (i32.mul (local.get 0) (i32.const {})))",
            random.number() as i32
        );
    }
    text
}

/// A jump with many targets.
pub fn targets(count: usize, random: &mut Random) -> String {
    let blocks = 100;
    let mut text = format!("(func (param i32) {}(br_table", "(block ".repeat(blocks));
    for _ in 0..count {
        let _ = write!(text, " {}", random.below(blocks));
    }
    text + " 0 (local.get 0))" + &")".repeat(blocks) + ")"
}

/// Many types of functions.
pub fn types(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        // Told apart by which of their parameters are wide.
        let parameters: String = (0..20)
            .map(|bit| if number >> bit & 1 == 1 { " i64" } else { " i32" })
            .collect();
        let _ = write!(text, "(type (func (param{parameters})))");
    }
    text
}
