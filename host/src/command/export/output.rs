//! Where exported rows go: a file that appears once it is whole, or standard output.

use crate::{
    command::{terminal, write_failed},
    error::{Context, Error, Result},
    files::private_file::Partial,
};
use std::{
    fmt,
    io::{self, BufWriter, Write},
    path::Path,
};

/// Bytes that are collected before they are written.
const BUFFER_BYTES: usize = 1 << 18;

/// What rows are written to.
pub(super) struct Output {
    target: Target,
    /// For errors.
    name: String,
    bytes: u64,
}

enum Target {
    File(BufWriter<Partial>),
    Standard(BufWriter<Box<dyn Write + Send>>),
}

impl Output {
    /// A file. One that is there is replaced where `replaces` says so.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn file(path: &Path, replaces: bool) -> Result<Self> {
        let partial = Partial::begin(path, replaces)?;
        Ok(Self {
            target: Target::File(BufWriter::with_capacity(BUFFER_BYTES, partial)),
            name: path.display().to_string(),
            bytes: 0,
        })
    }

    /// Standard output.
    pub(super) fn standard() -> Self {
        Self {
            target: Target::Standard(BufWriter::with_capacity(BUFFER_BYTES, terminal::data())),
            name: "standard output".to_owned(),
            bytes: 0,
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes).map_err(|cause| self.failed(&cause))
    }

    /// Gives the file its name. Gives how many bytes were written.
    ///
    /// # Errors
    /// When that cannot be.
    pub(super) fn finish(mut self) -> Result<u64> {
        self.flush().map_err(|cause| self.failed(&cause))?;
        match self.target {
            Target::File(file) => {
                let partial = file.into_inner().map_err(io::IntoInnerError::into_error);
                partial
                    .environment(|| format!("cannot write {}", self.name))?
                    .finish()?;
            }
            Target::Standard(_) => {}
        }
        Ok(self.bytes)
    }

    fn failed(&self, cause: &io::Error) -> Error {
        match self.target {
            Target::Standard(_) => write_failed(cause),
            Target::File(_) => Error::environment(format!("{}: {cause}", self.cannot_write())),
        }
    }

    /// What goes wrong, for whoever writes past [`Output::put`].
    pub(super) fn cannot_write(&self) -> String {
        format!("cannot write {}", self.name)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.target {
            Target::File(file) => file.write(bytes)?,
            Target::Standard(standard) => standard.write(bytes)?,
        };
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.target {
            Target::File(file) => file.flush(),
            Target::Standard(standard) => standard.flush(),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
