//! Components, changed.

use wasm_encoder::{Component, InstanceSection, Module, NameMap, NameSection, RawSection};
use wasmparser::{BinaryReader, Name, NameSectionReader, Parser, Payload};
use weir_lines::SECTION;

/// The id of custom sections, and of modules within a component.
const CUSTOM: u8 = 0;
const MODULE: u8 = 1;

/// The sections of a module or a component: their ids and contents.
type Sections = Vec<(u8, Vec<u8>)>;

/// A component whose rule's own module is to be another one.
pub(super) struct Changed {
    sections: Sections,
    /// Which of them is the rule's own module: that with lines.
    own: usize,
    /// The sections of that module.
    module: Sections,
}

impl Changed {
    pub(super) fn new(component: &[u8]) -> Self {
        let sections = sections_of(component);
        let has_lines = |(id, data): &(u8, Vec<u8>)| *id == MODULE && custom(&sections_of(data), SECTION).is_some();
        let own = sections.iter().position(has_lines).expect("a module has lines");
        Self {
            module: sections_of(&sections[own].1),
            sections,
            own,
        }
    }

    pub(super) fn done(mut self) -> Vec<u8> {
        self.sections[self.own].1 = module(&self.module);
        let mut component = Component::new();
        for (id, data) in &self.sections {
            component.section(&RawSection { id: *id, data });
        }
        component.finish()
    }

    /// The contents of the table of lines.
    pub(super) fn lines(&self) -> Vec<u8> {
        custom(&self.module, SECTION).expect("it has lines").to_vec()
    }

    /// The contents of the code section.
    pub(super) fn code(&self) -> Vec<u8> {
        code_of(&module(&self.module))
    }

    pub(super) fn without_lines(self) -> Self {
        self.without(SECTION)
    }

    fn without(mut self, name: &str) -> Self {
        self.module.retain(|(id, data)| *id != CUSTOM || name_of(data) != name);
        self
    }

    pub(super) fn with_sections(mut self, sections: &[(&str, Vec<u8>)]) -> Self {
        self.module
            .extend(sections.iter().map(|(name, data)| named(name, data)));
        self
    }

    /// With the sections in the component, and in none of its modules.
    pub(super) fn with_sections_beside(mut self, sections: &[(&str, Vec<u8>)]) -> Self {
        self.sections
            .extend(sections.iter().map(|(name, data)| named(name, data)));
        self
    }

    /// With another name for the one function that has `part` in its own.
    pub(super) fn with_name(self, part: &str, name: &str) -> Self {
        let names = custom(&self.module, "name").expect("it has names").to_vec();
        let mut functions = NameMap::new();
        let mut found = 0;
        for names in NameSectionReader::new(BinaryReader::new(&names, 0)) {
            let Ok(Name::Function(all)) = names else { continue };
            for function in all {
                let function = function.expect("the names can be read");
                let is_it = function.name.contains(part);
                found += usize::from(is_it);
                functions.append(function.index, if is_it { name } else { function.name });
            }
        }
        assert_eq!(found, 1, "functions with {part:?} in their names");
        let mut names = NameSection::new();
        names.functions(&functions);
        let names = names.as_custom().data.into_owned();
        self.without("name").with_sections(&[("name", names)])
    }

    /// With a module more, of which there is an instance. Nobody uses it.
    pub(super) fn with_instance_of(mut self, module: &[u8]) -> Self {
        let modules = self.sections.iter().filter(|(id, _)| *id == MODULE).count();
        let mut instances = InstanceSection::new();
        instances.instantiate::<_, &str>(modules as u32, []);
        let mut component = Component::new();
        component.section(&RawSection {
            id: MODULE,
            data: module,
        });
        component.section(&instances);
        self.sections.extend(sections_of(&component.finish()));
        self
    }
}

/// A module that traps when it is instantiated, in the function of this name.
pub(super) fn that_traps_at_once(function: &str) -> Vec<u8> {
    let text = format!("(module (func ${function} unreachable) (start ${function}))");
    wat::parse_str(text).expect("that is a module")
}

/// A module with a custom section more.
pub(super) fn with_section(bytes: &[u8], name: &str, data: &[u8]) -> Vec<u8> {
    let mut sections = sections_of(bytes);
    sections.push(named(name, data));
    module(&sections)
}

/// The contents of a module's code section.
pub(super) fn code_of(module: &[u8]) -> Vec<u8> {
    let payloads = Parser::new(0).parse_all(module);
    let code = payloads.filter_map(|payload| match payload.expect("it can be read") {
        Payload::CodeSectionStart { range, .. } => Some(module[range].to_vec()),
        _ => None,
    });
    code.last().expect("the module has code")
}

fn sections_of(bytes: &[u8]) -> Sections {
    let mut depth = 0;
    let mut found = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.expect("it can be read");
        match payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            // What stands within one of them was copied with it.
            _ if depth > 1 => {}
            _ => found.extend(payload.as_section().map(|(id, range)| (id, bytes[range].to_vec()))),
        }
    }
    found
}

fn module(sections: &Sections) -> Vec<u8> {
    let mut module = Module::new();
    for (id, data) in sections {
        module.section(&RawSection { id: *id, data });
    }
    module.finish()
}

/// A custom section, whose name has less than 128 bytes.
fn named(name: &str, data: &[u8]) -> (u8, Vec<u8>) {
    (CUSTOM, [&[name.len() as u8], name.as_bytes(), data].concat())
}

fn name_of(section: &[u8]) -> &str {
    let length = usize::from(section[0]);
    std::str::from_utf8(&section[1..=length]).expect("a name is text")
}

fn custom<'a>(sections: &'a Sections, name: &str) -> Option<&'a [u8]> {
    let found = sections
        .iter()
        .find(|(id, data)| *id == CUSTOM && name_of(data) == name);
    found.map(|(_, data)| &data[1 + name.len()..])
}
