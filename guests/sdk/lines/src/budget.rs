//! How much the tables of a component may be.

/// Bytes of all tables of a component. The rules of this repository have 0.3 to 5 KB; one of a hundred thousand lines, with what
/// is inlined into it, has some hundred KB.
pub const SECTION_BYTES_MAX: usize = 1 << 20;

/// Tables, each of a core module. A component of Python, with its libraries, has some forty modules.
pub const TABLES_MAX: usize = 100;

/// Places of all tables. Each takes 12 bytes of whoever reads them.
pub const PLACES_MAX: usize = 100_000;

/// Frames of all tables. Each takes 16 bytes.
pub const FRAMES_MAX: usize = 100_000;

/// Names of functions and files in all tables. Each takes 4 bytes beside its own.
pub const NAMES_MAX: usize = 50_000;

/// Bytes of a name: more than anybody reads in a reason.
pub const NAME_BYTES_MAX: usize = 1024;

/// Components and modules that stand within one another, for somebody who looks for tables in them.
pub const NESTING_MAX: usize = 100;

const _: () = assert!(
    SECTION_BYTES_MAX + 4 * NAMES_MAX + 16 * FRAMES_MAX + 12 * PLACES_MAX <= 5 << 20,
    "the lines of a component take 5 MiB of a host at most"
);

/// What the tables of a component may have yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub(crate) tables: usize,
    pub(crate) bytes: usize,
    pub(crate) names: usize,
    pub(crate) frames: usize,
    pub(crate) places: usize,
}

impl Default for Budget {
    /// All of it.
    fn default() -> Self {
        Self {
            tables: TABLES_MAX,
            bytes: SECTION_BYTES_MAX,
            names: NAMES_MAX,
            frames: FRAMES_MAX,
            places: PLACES_MAX,
        }
    }
}
