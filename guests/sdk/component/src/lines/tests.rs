//! Reduced modules, against what addr2line says of them.

use super::{own::own_lines, reduce, reduce_component};
use std::{fs, path::PathBuf};
use wasmparser::{Parser, Payload};
use weir_lines::{Budget, Lines};

/// A module with a function, and custom sections of these names.
fn module(sections: &[(&str, &str)]) -> Vec<u8> {
    let sections = sections
        .iter()
        .map(|(name, data)| format!("(@custom \"{name}\" \"{data}\")"));
    let text = format!("(module (func (export \"f\")) {})", sections.collect::<String>());
    wat::parse_str(text).unwrap()
}

fn reduced(core: &[u8]) -> (Vec<u8>, Option<String>) {
    let reduced = reduce(core, Budget::default()).unwrap();
    (reduced.module, reduced.missing)
}

#[test]
fn a_module_without_debug_information_stays_as_it_is() {
    let core = module(&[("producers", "x")]);
    assert_eq!(reduced(&core), (core, None));
}

#[test]
fn debug_information_that_cannot_be_read_is_left_out_and_said_to_be() {
    let core = module(&[
        (".debug_info", "what is this"),
        ("other", "kept"),
        (".debug_abbrev", "?"),
        ("weir:lines", "of something else"),
    ]);
    let (kept, missing) = reduced(&core);
    assert_eq!(kept, module(&[("other", "kept")]));
    let missing = missing.unwrap();
    assert!(missing.starts_with("its debug information cannot be read"), "{missing}");
}

/// The core modules of all guests of the repository, as cargo made them.
fn guests() -> Vec<PathBuf> {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../target/guests/build/wasm32-unknown-unknown/guest"
    );
    let files =
        fs::read_dir(folder).unwrap_or_else(|cause| panic!("{folder}: {cause}; `cargo xtask guests` builds them"));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wasm"));
    files.sort();
    files
}

/// At every byte of the code the table has what addr2line says of the rule's own debug information there, in the same words.
#[test]
fn the_table_of_every_guest_has_what_addr2line_says_at_every_byte() {
    let guests = guests();
    assert!(guests.len() > 10, "{guests:?}");
    for guest in guests {
        let core = fs::read(&guest).unwrap();
        let (module, missing) = reduced(&core);
        assert_eq!(missing, None, "{}", guest.display());
        assert_eq!(module, reduced(&core).0, "the same bytes in, the same bytes out");
        let lines = Lines::read(&module).unwrap_or_else(|broken| panic!("{}: {broken}", guest.display()));

        let mut debug = Vec::new();
        let mut code = 0..0;
        let mut reduced_code = 0..0;
        for payload in Parser::new(0).parse_all(&core) {
            match payload.unwrap() {
                Payload::CustomSection(section) if section.name().starts_with(".debug_") => {
                    debug.push((section.name(), section.data()));
                }
                Payload::CodeSectionStart { range, .. } => code = range,
                _ => {}
            }
        }
        for payload in Parser::new(0).parse_all(&module) {
            match payload.unwrap() {
                Payload::CustomSection(section) => assert!(!section.name().starts_with(".debug_")),
                Payload::CodeSectionStart { range, .. } => reduced_code = range,
                _ => {}
            }
        }
        assert_eq!(core[code.clone()], module[reduced_code.clone()], "the code is the same");

        let own = own_lines(&debug).unwrap();
        let own: Vec<_> = own.iter().map(|(name, data)| (*name, data.as_slice())).collect();
        let context = addr2line::Context::from_dwarf(super::load(&own).unwrap()).unwrap();
        let mut with_lines = 0;
        for at in 0..code.len() {
            let frames = super::frames_at(&context, at as u64).into_iter();
            let expected: Vec<String> = frames
                .filter(super::Frame::is_own)
                .map(|frame| frame.to_string())
                .collect();
            let found: Vec<String> = lines
                .at(reduced_code.start + at)
                .map(|frame| frame.to_string())
                .collect();
            assert_eq!(found, expected, "{} at byte {at} of the code", guest.display());
            with_lines += usize::from(!expected.is_empty());
        }
        assert!(
            lines
                .at(reduced_code.start - 1)
                .chain(lines.at(reduced_code.end))
                .next()
                .is_none()
        );
        let sizes: Vec<usize> = lines.tables().map(|table| table.places().count()).collect();
        println!(
            "{}: {} bytes of code, {with_lines} of them with lines, {sizes:?} places",
            guest.display(),
            code.len()
        );
        assert!(with_lines > 0, "{}", guest.display());
    }
}

/// A component of core modules, also within others, is reduced as each of them would be; all else stays as it was.
#[test]
fn the_core_modules_of_a_component_are_reduced_one_by_one() {
    let guest = fs::read(&guests()[0]).unwrap();
    let component = |module: &[u8]| {
        let nested = |inner: &[u8], id: u8| {
            let mut outer = wasm_encoder::Component::new();
            outer.section(&wasm_encoder::RawSection { id, data: inner });
            outer.section(&wasm_encoder::CustomSection {
                name: "other".into(),
                data: (&b"kept"[..]).into(),
            });
            outer
        };
        let inner = nested(module, 1).finish();
        let mut outer = nested(&inner, 4);
        outer.section(&wasm_encoder::RawSection { id: 1, data: module });
        outer.finish()
    };
    let (found, missing) = reduce_component(&component(&guest)).unwrap();
    assert_eq!(missing, None);
    assert_eq!(found, component(&reduced(&guest).0));
    let lines = Lines::read(&found).unwrap();
    let places: Vec<usize> = lines.tables().map(|table| table.places().count()).collect();
    assert_eq!((places.len(), places[0]), (2, places[1]));
    assert!(places[0] > 0);
}

/// What another tool made a component of comes to the same as what this one makes.
#[test]
fn a_component_of_another_tool_gets_the_same_lines() {
    let guest = guests()
        .into_iter()
        .find(|guest| guest.ends_with("hourly_orders.wasm"))
        .unwrap();
    let core = fs::read(guest).unwrap();
    let mut encoder = wit_component::ComponentEncoder::default().module(&core).unwrap();
    let theirs = encoder.encode().unwrap();
    let ours = crate::component_from_core(&core).unwrap();
    let with_lines = crate::with_lines(&theirs).unwrap();
    assert!(theirs.len() > 2 * ours.bytes.len(), "theirs has debug information");
    assert_eq!((with_lines.bytes, with_lines.missing_lines), (ours.bytes, None));
}
