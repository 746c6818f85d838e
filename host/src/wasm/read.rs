//! The bytes of components: where they come from, and whether they are those that are wanted.

use crate::{
    error::{Error, Result},
    limits::{GUEST_MODULE_BYTES_MAX, REFUSAL_BYTES_MAX},
};
use sha2::{Digest, Sha256};
use std::{fmt, path::Path, sync::Arc};

/// Reads a component and loads it; what goes wrong is told with its path.
pub(super) fn read<M>(path: &Path, load: impl FnOnce(&Binary) -> Result<M>) -> Result<M> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|cause| {
        let build = "`weir build FOLDER` makes that of a guest, `cargo xtask guests` those of this repository";
        Error::definition(format!("cannot read module {shown}: {cause}; {build}"))
    })?;
    // Of a device or a pipe nobody knows the size.
    if !metadata.is_file() {
        return Err(Error::definition(format!(
            "module {shown} is no file; name a component"
        )));
    }
    check_size(metadata.len()).map_err(|error| error.context(format!("module {shown}")))?;
    let bytes =
        std::fs::read(path).map_err(|cause| Error::definition(format!("cannot read module {shown}: {cause}")))?;
    load(&Binary::new(bytes)).map_err(|error| error.cut(REFUSAL_BYTES_MAX).context(format!("module {shown}")))
}

/// The bytes of what may be a component, and their digest. That is computed once, since there may be 32 MiB of them. Cheap to
/// clone.
#[derive(Clone)]
pub struct Binary {
    digest: Arc<str>,
    bytes: Arc<[u8]>,
}

impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Binary").field(&self.digest).finish()
    }
}

impl Binary {
    /// These bytes, whatever their digest is.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self {
            digest: digest_of(&bytes).into(),
            bytes,
        }
    }

    /// The bytes that are stored under this digest.
    ///
    /// # Errors
    /// When they have another one, so that they were damaged or exchanged on the way; and when there are more of them than a
    /// component may have.
    pub fn stored(digest: &str, bytes: impl Into<Arc<[u8]>>) -> Result<Self> {
        let binary = Self::new(bytes);
        if binary.digest() != digest {
            return Err(Error::mismatch(format!(
                "module {digest} was damaged or exchanged: what is stored under that name has the digest {}; deploy it again",
                binary.digest
            )));
        }
        check_size(binary.bytes.len() as u64).map_err(|error| error.context(format!("module {digest}")))?;
        Ok(binary)
    }

    /// SHA-256 of the bytes, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The bytes.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

/// SHA-256, in hexadecimal.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks by the first eight bytes that it is a component. Nothing else of one is read in this process before it
/// is compiled.
///
/// # Errors
/// What it is instead.
pub(super) fn check_header(bytes: &[u8]) -> Result<()> {
    if !bytes.starts_with(b"\0asm") {
        return Err(Error::definition("this is no WebAssembly; expected is a component"));
    }
    if bytes.get(4..8) == Some(&[1, 0, 0, 0]) {
        return Err(Error::definition(
            "this is a core module; expected is a component (`weir-component core.wasm -o rule.wasm` makes one)",
        ));
    }
    Ok(())
}

fn check_size(bytes: u64) -> Result<()> {
    if bytes > GUEST_MODULE_BYTES_MAX {
        return Err(Error::definition(format!(
            "it has {bytes} bytes; accepted are up to {GUEST_MODULE_BYTES_MAX}"
        )));
    }
    Ok(())
}
