//! Modules in the object store, by digest.

use super::{MODULES, Registry};
use crate::{
    error::{Error, Result},
    limits::GUEST_MODULE_BYTES_MAX,
};
use async_nats::jetstream::object_store::{GetErrorKind, InfoErrorKind, ObjectInfo};
use futures_util::StreamExt;
use std::{io, time::Duration};
use tokio::io::AsyncReadExt;

/// How long the next piece of a module may take to come.
const PIECE_WAIT: Duration = Duration::from_secs(5);

/// How much of a module is read at once.
const PIECE_BYTES: usize = 128 << 10;

impl Registry {
    /// Stores a component under its digest, unless it is there.
    ///
    /// # Errors
    /// When the server does not take it.
    pub fn put_module(&self, digest: &str, component: &[u8]) -> Result<()> {
        let info = self.nats.runtime.block_on(self.modules.info(digest));
        match info {
            // Not by its size alone: one that was damaged is put right by deploying it again.
            Ok(info) if !info.deleted && info.size == component.len() => {
                if self.module(digest).is_ok_and(|stored| stored == component) {
                    return Ok(());
                }
            }
            Ok(_) => {}
            Err(error) if error.kind() == InfoErrorKind::NotFound => {}
            Err(error) => return Err(self.failed(&format!("look for module {digest} in bucket {MODULES}"), error)),
        }
        let mut bytes = component;
        let put = self.nats.runtime.block_on(self.modules.put(digest, &mut bytes));
        put.map(|_| ()).map_err(|cause| {
            let what = format!("store module {digest} in bucket {MODULES}");
            super::not_taken(&self.nats, &what, &format!("$O.{MODULES}.>"), cause)
        })
    }

    /// The component of that digest, as it is stored: its digest has to be checked.
    ///
    /// # Errors
    /// When there is none, or it was damaged, or pieces of it are gone, or it is larger than any module may be, or the server
    /// does not answer.
    pub fn module(&self, digest: &str) -> Result<Vec<u8>> {
        self.nats.runtime.block_on(self.read_module(digest))
    }

    async fn read_module(&self, digest: &str) -> Result<Vec<u8>> {
        let what = || format!("read module {digest} of bucket {MODULES}");
        let nothing_came = || self.failed(&what(), format!("nothing came for {} s", PIECE_WAIT.as_secs()));
        let get = tokio::time::timeout(PIECE_WAIT, self.modules.get(digest)).await;
        let mut object = get.map_err(|_| nothing_came())?.map_err(|cause| match cause.kind() {
            GetErrorKind::NotFound => Error::mismatch(format!(
                "there is no module {digest} in bucket {MODULES} at {}; deploy it again",
                self.nats.server()
            )),
            _ => self.failed(&what(), cause),
        })?;
        let too_large = |bytes: usize| {
            Error::definition(format!(
                "module {digest} of bucket {MODULES} has {bytes} bytes; accepted are up to {GUEST_MODULE_BYTES_MAX}"
            ))
        };
        // What the store says of it is no more to be trusted than what it holds.
        if object.info().size as u64 > GUEST_MODULE_BYTES_MAX {
            return Err(too_large(object.info().size));
        }
        self.check_pieces(digest, object.info()).await?;
        let mut bytes = Vec::new();
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = tokio::time::timeout(PIECE_WAIT, object.read(&mut piece)).await;
            let read = read.map_err(|_| nothing_came())?.map_err(|cause| match cause.kind() {
                // The library checks the store's own digest of what it read.
                io::ErrorKind::InvalidData => Error::mismatch(format!(
                    "module {digest} of bucket {MODULES} at {} was damaged: {cause}; deploy it again",
                    self.nats.server()
                )),
                _ => self.failed(&what(), cause),
            })?;
            if read == 0 {
                return Ok(bytes);
            }
            bytes.extend(piece.iter().take(read));
            if bytes.len() as u64 > GUEST_MODULE_BYTES_MAX {
                return Err(too_large(bytes.len()));
            }
        }
    }

    /// Whether all pieces are there: one that is gone would be waited for.
    async fn check_pieces(&self, digest: &str, info: &ObjectInfo) -> Result<()> {
        let stream = self.nats.jetstream.get_stream(format!("OBJ_{MODULES}"));
        let Ok(Ok(stream)) = tokio::time::timeout(PIECE_WAIT, stream).await else {
            return Ok(());
        };
        let pieces = stream.info_with_subjects(format!("$O.{MODULES}.C.{}", info.nuid));
        let Ok(Ok(mut pieces)) = tokio::time::timeout(PIECE_WAIT, pieces).await else {
            return Ok(());
        };
        let mut there = 0;
        while let Ok(Some(Ok((_, count)))) = tokio::time::timeout(PIECE_WAIT, pieces.next()).await {
            there += count;
        }
        if there < info.chunks {
            return Err(Error::mismatch(format!(
                "of module {digest} of bucket {MODULES} at {} {there} of {} pieces are there; deploy it again",
                self.nats.server(),
                info.chunks
            )));
        }
        Ok(())
    }
}
