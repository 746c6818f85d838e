//! What a component takes to be instantiated, counted before it is compiled.
//!
//! A component may instantiate others that it holds, and these others again: what comes of a few hundred bytes can be
//! millions of memories. The counts of what is held are known before it is used, so that one pass over the bytes adds up
//! all of it.

use crate::limits::{
    GUEST_COMPONENT_INSTANCES_MAX, GUEST_CORE_INSTANCES_MAX, GUEST_MEMORIES_MAX, GUEST_PARTS_MAX, GUEST_TABLES_MAX,
};
use serde::{Deserialize, Serialize};
use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, ElementItems, ElementKind, Encoding, Instance, Parser, Payload,
};

/// What all instances within one of a component take together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Required {
    /// Instances of core modules.
    pub(super) core_instances: u64,
    /// Instances of components within it.
    pub(super) component_instances: u64,
    /// Linear memories.
    pub(super) memories: u64,
    /// Tables.
    pub(super) tables: u64,
    /// Bytes that the host keeps of functions, globals, imports and elements, or a little more.
    pub(super) host_bytes: u64,
}

/// Bytes that the host keeps for each, as wasmtime lays them out.
const INSTANCE_BYTES: u64 = 1024;
const IMPORT_OR_FUNCTION_BYTES: u64 = 32;
const GLOBAL_BYTES: u64 = 16;
const MEMORY_OR_TABLE_BYTES: u64 = 64;
const ELEMENT_BYTES: u64 = 16;
const CANONICAL_BYTES: u64 = 64;

impl Required {
    /// What the component in `bytes` takes.
    ///
    /// # Errors
    /// When it cannot be counted, takes more than a guest may, or is no component.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, String> {
        let mut counter = Counter::default();
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(|cause| cannot_be_read(&cause))?;
            if let Some(whole) = counter.take(payload)? {
                return whole.checked();
            }
        }
        Err("this is no component that can be run: it has no end".to_owned())
    }

    /// Bytes that the host keeps of each instance.
    pub(super) fn host_bytes(&self) -> usize {
        usize::try_from(self.host_bytes).unwrap_or(usize::MAX)
    }

    fn checked(self) -> Result<Self, String> {
        let bounds = [
            (self.core_instances, GUEST_CORE_INSTANCES_MAX, "core instances"),
            (
                self.component_instances,
                GUEST_COMPONENT_INSTANCES_MAX,
                "instances of components within it",
            ),
            (self.memories, GUEST_MEMORIES_MAX, "linear memories"),
            (self.tables, GUEST_TABLES_MAX, "tables"),
        ];
        let too_many: Vec<String> = bounds
            .iter()
            .filter(|(found, most, _)| *found > *most as u64)
            .map(|(found, most, what)| format!("{found} {what}, accepted are up to {most}"))
            .collect();
        match too_many.is_empty() {
            true => Ok(self),
            false => Err(format!("it needs {}", too_many.join(", and "))),
        }
    }

    fn add(&mut self, other: Self) {
        let Self {
            core_instances,
            component_instances,
            memories,
            tables,
            host_bytes,
        } = other;
        self.core_instances = self.core_instances.saturating_add(core_instances);
        self.component_instances = self.component_instances.saturating_add(component_instances);
        self.memories = self.memories.saturating_add(memories);
        self.tables = self.tables.saturating_add(tables);
        self.host_bytes = self.host_bytes.saturating_add(host_bytes);
    }

    fn keep(&mut self, count: u32, bytes_each: u64) {
        self.host_bytes = self.host_bytes.saturating_add(u64::from(count) * bytes_each);
    }
}

fn cannot_be_read(cause: &BinaryReaderError) -> String {
    format!("this is no component that can be run: {cause}")
}

/// A component or a module that is being read. What is handed to a component, or comes out of an instance, is not known.
#[derive(Debug)]
struct Part {
    is_module: bool,
    modules: Vec<Option<Required>>,
    components: Vec<Option<Required>>,
    needs: Required,
}

#[derive(Debug, Default)]
struct Counter {
    open: Vec<Part>,
    /// Entries of all lists of modules and components.
    parts: usize,
}

impl Counter {
    /// Takes in what comes next. Gives what the whole takes at its end.
    fn take(&mut self, payload: Payload<'_>) -> Result<Option<Required>, String> {
        if let Payload::Version { encoding, .. } = &payload {
            self.open.push(Part {
                is_module: *encoding == Encoding::Module,
                modules: Vec::new(),
                components: Vec::new(),
                needs: Required::default(),
            });
            return Ok(None);
        }
        if let Payload::End(_) = &payload {
            return self.end();
        }
        let Some(part) = self.open.last_mut() else {
            return Ok(None);
        };
        match part.is_module {
            true => part.needs.take(payload).map_err(|cause| cannot_be_read(&cause))?,
            false => self.take_of_component(payload)?,
        }
        Ok(None)
    }

    fn end(&mut self) -> Result<Option<Required>, String> {
        let Some(mut part) = self.open.pop() else {
            return Ok(None);
        };
        if part.is_module {
            part.needs.core_instances = 1;
            part.needs.host_bytes = part.needs.host_bytes.saturating_add(INSTANCE_BYTES);
        }
        if self.open.is_empty() {
            return Ok(Some(part.needs));
        }
        let kind = match part.is_module {
            true => ComponentExternalKind::Module,
            false => ComponentExternalKind::Component,
        };
        self.list(kind, Some(part.needs))?;
        Ok(None)
    }

    /// Enters a module or a component into the list of the component that is open.
    fn list(&mut self, kind: ComponentExternalKind, needs: Option<Required>) -> Result<(), String> {
        let Some(part) = self.open.last_mut() else {
            return Ok(());
        };
        match kind {
            ComponentExternalKind::Module => part.modules.push(needs),
            ComponentExternalKind::Component => part.components.push(needs),
            _ => return Ok(()),
        }
        self.parts += 1;
        match self.parts > GUEST_PARTS_MAX {
            true => Err(format!(
                "it has more than {GUEST_PARTS_MAX} modules and components within it, which is as many as are accepted"
            )),
            false => Ok(()),
        }
    }

    /// What a module or a component takes that is already listed, by how far out its list is.
    fn listed(&self, is_module: bool, outwards: u32, index: u32) -> Option<Required> {
        let at = self.open.len().checked_sub(1)?.checked_sub(outwards as usize)?;
        let part = self.open.get(at)?;
        let list = if is_module { &part.modules } else { &part.components };
        list.get(index as usize).copied().flatten()
    }

    fn take_of_component(&mut self, payload: Payload<'_>) -> Result<(), String> {
        match payload {
            Payload::InstanceSection(reader) => {
                for instance in reader {
                    if let Instance::Instantiate { module_index, .. } =
                        instance.map_err(|cause| cannot_be_read(&cause))?
                    {
                        self.instantiate(self.listed(true, 0, module_index), "module", false)?;
                    }
                }
            }
            Payload::ComponentInstanceSection(reader) => {
                for instance in reader {
                    if let ComponentInstance::Instantiate { component_index, .. } =
                        instance.map_err(|cause| cannot_be_read(&cause))?
                    {
                        self.instantiate(self.listed(false, 0, component_index), "component", true)?;
                    }
                }
            }
            Payload::ComponentAliasSection(reader) => {
                for alias in reader {
                    match alias.map_err(|cause| cannot_be_read(&cause))? {
                        ComponentAlias::InstanceExport { kind, .. } => self.list(kind, None)?,
                        ComponentAlias::Outer { kind, count, index } => match kind {
                            ComponentOuterAliasKind::CoreModule => {
                                self.list(ComponentExternalKind::Module, self.listed(true, count, index))?;
                            }
                            ComponentOuterAliasKind::Component => {
                                self.list(ComponentExternalKind::Component, self.listed(false, count, index))?;
                            }
                            ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => {}
                        },
                        ComponentAlias::CoreInstanceExport { .. } => {}
                    }
                }
            }
            Payload::ComponentImportSection(reader) => {
                for import in reader {
                    let import = import.map_err(|cause| cannot_be_read(&cause))?;
                    if let ComponentTypeRef::Module(_) | ComponentTypeRef::Component(_) = import.ty {
                        self.list(import.ty.kind(), None)?;
                    }
                }
            }
            // Functions that cross the border of a component.
            Payload::ComponentCanonicalSection(reader) => {
                if let Some(part) = self.open.last_mut() {
                    part.needs.keep(reader.count(), CANONICAL_BYTES);
                }
            }
            // What is exported has another number from there on.
            Payload::ComponentExportSection(reader) => {
                for export in reader {
                    let export = export.map_err(|cause| cannot_be_read(&cause))?;
                    let is_module = export.kind == ComponentExternalKind::Module;
                    self.list(export.kind, self.listed(is_module, 0, export.index))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn instantiate(&mut self, needs: Option<Required>, what: &str, is_component: bool) -> Result<(), String> {
        let needs = needs.ok_or_else(|| {
            format!(
                "it instantiates a {what} that is handed to it or comes out of an instance, so that nobody can tell what \
                 it takes; accepted are those that stand in it"
            )
        })?;
        if let Some(part) = self.open.last_mut() {
            part.needs.add(needs);
            part.needs.component_instances = part.needs.component_instances.saturating_add(u64::from(is_component));
        }
        Ok(())
    }
}

impl Required {
    /// Takes in a section of a core module.
    fn take(&mut self, payload: Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::ImportSection(reader) => {
                for import in reader.into_imports() {
                    import?;
                    self.keep(1, IMPORT_OR_FUNCTION_BYTES);
                }
            }
            Payload::FunctionSection(reader) => self.keep(reader.count(), IMPORT_OR_FUNCTION_BYTES),
            Payload::GlobalSection(reader) => self.keep(reader.count(), GLOBAL_BYTES),
            Payload::TableSection(reader) => {
                self.tables = u64::from(reader.count());
                self.keep(reader.count(), MEMORY_OR_TABLE_BYTES);
            }
            Payload::MemorySection(reader) => {
                self.memories = u64::from(reader.count());
                self.keep(reader.count(), MEMORY_OR_TABLE_BYTES);
            }
            Payload::ElementSection(reader) => {
                for element in reader {
                    let element = element?;
                    // Others are written into their table and are gone.
                    if let ElementKind::Passive = element.kind {
                        let count = match element.items {
                            ElementItems::Functions(items) => items.count(),
                            ElementItems::Expressions(_, items) => items.count(),
                        };
                        self.keep(count, ELEMENT_BYTES);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
