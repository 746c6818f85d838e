//! Components that mean harm, grown from a good one: more of something than anybody needs, at each moment of a module's
//! life. Which, and how much of it, is for a seed to say.
//!
//! Each still says what the good one says and answers as it does, unless what it does besides gets in its way. So a host that
//! bounds what it does loses nothing of its events, and one that does not shows it in its memory and its time.

mod binary;
pub mod dwarf;
mod wrapped;

use crate::{
    made::{PREAMBLE, nested},
    seed::Random,
};
use std::collections::BTreeSet;
use wrapped::Base;

/// A component that means harm.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// What it does.
    pub kind: Kind,
    /// How much of it.
    pub figures: String,
    /// The component.
    pub bytes: Vec<u8>,
}

/// What a component does besides its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It traps, and its debug information has units that share one line program.
    DebugInformation,
    /// Names of its functions are long, and it traps.
    LongNames,
    /// Many memories grow a little with each call.
    GrowingMemories,
    /// Many memories that hold nothing.
    EmptyMemories,
    /// One module with many memories.
    MultipleMemories,
    /// Many core instances.
    CoreInstances,
    /// Many tables, or large ones.
    Tables,
    /// A table grows with each call.
    GrowingTable,
    /// It makes resources and drops none.
    Handles,
    /// Loops within loops, with many variables.
    NestedLoops,
    /// Components within components.
    NestedComponents,
    /// Very many functions.
    Functions,
    /// A jump with very many targets.
    JumpTable,
    /// Very many types.
    Types,
    /// It never ends its start.
    EndlessStart,
    /// It never ends a call.
    EndlessCall,
    /// It calls itself.
    Recursion,
    /// It fills its memory again and again, without a loop.
    FillsMemory,
    /// It gives back nothing that it took.
    Leak,
    /// Some of its bytes are others.
    Mutated,
    /// It ends too early.
    CutOff,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::DebugInformation,
        Self::LongNames,
        Self::GrowingMemories,
        Self::EmptyMemories,
        Self::MultipleMemories,
        Self::CoreInstances,
        Self::Tables,
        Self::GrowingTable,
        Self::Handles,
        Self::NestedLoops,
        Self::NestedComponents,
        Self::Functions,
        Self::JumpTable,
        Self::Types,
        Self::EndlessStart,
        Self::EndlessCall,
        Self::Recursion,
        Self::FillsMemory,
        Self::Leak,
        Self::Mutated,
        Self::CutOff,
    ];
}

/// `count` components: each kind about as often as the others, in an order that `random` decides. The first of each kind does
/// as much as any, the others as much as `random` says.
///
/// # Panics
/// When `good` is no component that `weir build` made of a stage.
pub fn grown(good: &[u8], count: usize, random: &mut Random) -> Vec<Hostile> {
    let base = Base::of(good);
    let mut kinds: Vec<Kind> = Kind::ALL.into_iter().cycle().take(count).collect();
    for at in (1..kinds.len()).rev() {
        kinds.swap(at, random.below(at + 1));
    }
    let mut seen = BTreeSet::new();
    let mut next = |kind| one(&base, kind, seen.insert(kind), random);
    kinds.into_iter().map(&mut next).collect()
}

/// One component that does as much of this as any.
///
/// # Panics
/// As [`grown`].
pub fn full(good: &[u8], kind: Kind) -> Vec<u8> {
    one(&Base::of(good), kind, true, &mut Random::new(0)).bytes
}

/// One component that makes so many handles in a call with rows, and drops none.
///
/// # Panics
/// As [`grown`].
pub fn with_handles(good: &[u8], count: usize) -> Vec<u8> {
    Base::of(good).with_handles(count)
}

/// One component of this kind.
fn one(base: &Base, kind: Kind, is_full: bool, random: &mut Random) -> Hostile {
    // Small ones are as common as large ones: what is let in has to be harmless as well.
    let mut up_to = |most: usize| {
        if is_full {
            return most;
        }
        let magnitude = 1 + random.below(most.ilog2() as usize + 1);
        (1 + random.below(1 << magnitude)).min(most)
    };
    let (figures, bytes) = match kind {
        Kind::DebugInformation => {
            let (rows, units) = (up_to(100_000), up_to(2_500));
            (
                format!("{units} units, {rows} rows"),
                base.with_debug_information(&dwarf::sections(0x1000_0000, rows, units)),
            )
        }
        Kind::LongNames => {
            let length = up_to(1_000_000);
            (format!("{length} bytes"), base.with_long_name(length))
        }
        Kind::GrowingMemories => {
            let (memories, mib) = (up_to(100), up_to(16));
            (
                format!("{memories} memories, {mib} MiB a call"),
                base.with_growing_memories(memories, mib),
            )
        }
        Kind::EmptyMemories => {
            let count = up_to(251);
            (format!("{count} memories"), base.with_instances("(memory 0)", count))
        }
        Kind::MultipleMemories => {
            let count = up_to(200);
            (
                format!("{count} memories"),
                base.with_instances(&"(memory 0)".repeat(count), 1),
            )
        }
        Kind::CoreInstances => {
            let count = up_to(1_100);
            (format!("{count} instances"), base.with_instances("", count))
        }
        Kind::Tables => {
            let (count, elements) = (up_to(500), up_to(1 << 20));
            let table = format!("(table {elements} funcref)");
            (
                format!("{count} tables of {elements}"),
                base.with_instances(&table, count),
            )
        }
        Kind::GrowingTable => {
            let elements = up_to(1 << 22);
            (format!("{elements} elements a call"), base.with_growing_table(elements))
        }
        Kind::Handles => {
            let count = up_to(1 << 20);
            (format!("{count} a call"), base.with_handles(count))
        }
        Kind::NestedLoops => {
            let (loops, locals) = (up_to(600), up_to(600));
            let module = binary::module(&[binary::nested_loops(loops, locals)]);
            (
                format!("{loops} loops, {locals} variables"),
                base.beside_module(&module),
            )
        }
        Kind::NestedComponents => {
            let depth = up_to(20_000);
            (
                format!("{depth} deep"),
                base.beside_component(&nested(&PREAMBLE, depth)),
            )
        }
        Kind::Functions => {
            let count = up_to(100_000);
            let module = binary::module(&vec![binary::small_function(); count]);
            (format!("{count} functions"), base.beside_module(&module))
        }
        Kind::JumpTable => {
            let targets = up_to(300_000);
            let module = binary::module(&[binary::jump_table(targets)]);
            (format!("{targets} targets"), base.beside_module(&module))
        }
        Kind::Types => {
            let count = up_to(100_000);
            (format!("{count} types"), base.beside_module(&binary::types(count)))
        }
        Kind::EndlessStart => (
            String::new(),
            base.with_instances("(func $s (loop $l (br $l))) (start $s)", 1),
        ),
        Kind::EndlessCall => (String::new(), base.with_call("", "(loop $l (br $l))")),
        Kind::Recursion => (
            String::new(),
            base.with_call("(func $again (call $again) (call $again))", "(call $again)"),
        ),
        Kind::FillsMemory => {
            let (mib, times) = (up_to(60), up_to(20_000));
            (format!("{mib} MiB, {times} times"), base.with_fills(mib, times))
        }
        Kind::Leak => {
            let kib = up_to(16 << 10);
            (
                format!("{kib} KiB a call"),
                base.with_growing_memories(1, kib.div_ceil(1 << 10)),
            )
        }
        Kind::Mutated => {
            let count = up_to(32);
            let mut bytes = base.bytes().to_vec();
            for _ in 0..count {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            (format!("{count} bytes"), bytes)
        }
        Kind::CutOff => {
            let length = random.below(base.bytes().len());
            (format!("after {length} bytes"), base.bytes()[..length].to_vec())
        }
    };
    Hostile { kind, figures, bytes }
}
