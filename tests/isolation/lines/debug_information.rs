//! Whether the debug information that means harm is debug information.

use weir_tests::hostile::dwarf::{FUNCTION, sections};

/// The debug information is sound: addr2line names its function, with a line.
#[test]
fn debug_information_says_what_it_says() {
    let sections = sections(0, 1000, 3);
    let dwarf = gimli::Dwarf::load(|id| {
        let data = sections.iter().find(|(name, _)| *name == id.name());
        let data = data.map_or(&[][..], |(_, data)| data);
        Ok::<_, gimli::Error>(gimli::EndianSlice::new(data, gimli::LittleEndian))
    });
    let context = addr2line::Context::from_dwarf(dwarf.expect("it can be read")).expect("it can be read");
    let mut frames = context.find_frames(500).skip_all_loads().expect("it can be read");
    let frame = frames.next().expect("it can be read").expect("there is one");
    let function = frame.function.expect("it has a function");
    let place = frame.location.expect("it has a line");
    assert_eq!(function.raw_name().expect("it has a name"), FUNCTION);
    assert_eq!((place.file, place.line), (Some("a.rs"), Some(1)));
}
