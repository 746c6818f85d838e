//! Modules in the object store, by digest.

use super::{MODULES, Registry, messages::next_message};
use crate::{
    error::{Error, Result},
    limits::GUEST_MODULE_BYTES_MAX,
};
use async_nats::jetstream::{
    object_store::{InfoErrorKind, ObjectInfo},
    stream::Stream,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// How long the next piece of a module may take to come.
const PIECE_WAIT: Duration = Duration::from_secs(5);

/// Pieces of a module that are asked for at once. They have 128 KiB each.
const PIECES_AT_ONCE: u64 = 8;

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
        let info = tokio::time::timeout(PIECE_WAIT, self.modules.info(digest)).await;
        let info = info.map_err(|_| nothing_came())?;
        let info = match info {
            Ok(info) if !info.deleted => info,
            Err(cause) if cause.kind() != InfoErrorKind::NotFound => return Err(self.failed(&what(), cause)),
            Ok(_) | Err(_) => {
                return Err(Error::mismatch(format!(
                    "there is no module {digest} in bucket {MODULES} at {}; deploy it again",
                    self.nats.server()
                )));
            }
        };
        let too_large = |bytes: usize| {
            Error::definition(format!(
                "module {digest} of bucket {MODULES} has {bytes} bytes; accepted are up to {GUEST_MODULE_BYTES_MAX}"
            ))
        };
        // What the store says of it is no more to be trusted than what it holds.
        if info.size as u64 > GUEST_MODULE_BYTES_MAX {
            return Err(too_large(info.size));
        }
        let name = format!("OBJ_{MODULES}");
        let stream = tokio::time::timeout(PIECE_WAIT, self.nats.jetstream.get_stream(&name)).await;
        let stream = stream
            .map_err(|_| nothing_came())?
            .map_err(|cause| self.failed(&what(), cause))?;
        self.check_pieces(digest, &info, &stream).await?;

        // Piece by piece, and not by a consumer: who may make one may have anything of the bucket sent to any subject.
        let subject = format!("$O.{MODULES}.C.{}", info.nuid);
        let (mut bytes, mut next, mut count) = (Vec::new(), 1, 0);
        while bytes.len() < info.size {
            // The pieces of a module follow one another as a rule, so that several can be asked for at once.
            let at_once = if bytes.is_empty() { 1 } else { PIECES_AT_ONCE };
            let pieces = (next..next + at_once).map(|sequence| next_message(&stream, &subject, sequence));
            let mut pieces = futures_util::stream::iter(pieces).buffered(PIECES_AT_ONCE as usize);
            let begun_at = next;
            while let Some(piece) = tokio::time::timeout(PIECE_WAIT, pieces.next())
                .await
                .map_err(|_| nothing_came())?
            {
                match piece.map_err(|cause| self.failed(&what(), cause))? {
                    // Where there is another message between them, one piece is the next of two sequences.
                    Some(piece) if piece.sequence < next => {}
                    Some(piece) => {
                        next = piece.sequence + 1;
                        count += 1;
                        bytes.extend_from_slice(&piece.payload);
                        if bytes.len() as u64 > GUEST_MODULE_BYTES_MAX {
                            return Err(too_large(bytes.len()));
                        }
                    }
                    None => break,
                }
            }
            if next == begun_at {
                break;
            }
        }
        if count < info.chunks {
            // Any server that has a copy answers, and one that is behind does not have the last pieces yet.
            return Err(Error::environment(format!(
                "of module {digest} of bucket {MODULES} at {} {count} of {} pieces came",
                self.nats.server(),
                info.chunks
            )));
        }
        let store_digest = URL_SAFE_NO_PAD.encode(Sha256::digest(&bytes));
        let expected = info
            .digest
            .as_deref()
            .and_then(|digest| digest.strip_prefix("SHA-256="));
        match expected.is_some_and(|expected| expected.trim_end_matches('=') == store_digest) {
            true => Ok(bytes),
            false => Err(Error::mismatch(format!(
                "module {digest} of bucket {MODULES} at {} was damaged: wrong digest; deploy it again",
                self.nats.server()
            ))),
        }
    }

    /// Whether all pieces are there: one that is gone would be waited for.
    async fn check_pieces(&self, digest: &str, info: &ObjectInfo, stream: &Stream) -> Result<()> {
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
