//! Payloads that are compressed. One that claims to be much more than it is stops at a bound.

use super::{columns::RejectedPayload, scalar::malformed};
use crate::{definition::Compression, limits::DECOMPRESSED_BYTES_MAX};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use std::{
    fmt,
    io::{self, Read},
};

/// Decompresses the payloads of an input.
pub(super) struct Compressed {
    compression: Compression,
    /// Its tables are used again.
    zstd: FrameDecoder,
    unpacked: Vec<u8>,
}

impl fmt::Debug for Compressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressed")
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
}

impl Compressed {
    pub(super) fn new(compression: Compression) -> Self {
        let mut zstd = FrameDecoder::new();
        zstd.set_max_window_size(DECOMPRESSED_BYTES_MAX as u64);
        Self {
            compression,
            zstd,
            unpacked: Vec::new(),
        }
    }

    /// How many bytes the last payload had once it was decompressed.
    pub(super) fn unpacked_bytes(&self) -> usize {
        self.unpacked.len()
    }

    /// What was compressed. An empty payload is empty.
    ///
    /// # Errors
    /// When it was not compressed so, is cut off, or is more than there is room for.
    pub(super) fn unpack(&mut self, payload: &[u8]) -> Result<&[u8], RejectedPayload> {
        self.unpacked.clear();
        let read = match self.compression {
            _ if payload.is_empty() => Ok(()),
            Compression::Gzip => bounded(MultiGzDecoder::new(payload), &mut self.unpacked),
            Compression::Zstd => self.frames(payload),
        };
        let name = self.compression.name();
        match read {
            Ok(()) if self.unpacked.len() > DECOMPRESSED_BYTES_MAX => {
                self.unpacked = Vec::new();
                Err(malformed(format!(
                    "found a payload that has more than {DECOMPRESSED_BYTES_MAX} bytes once it is decompressed; accepted are as many"
                )))
            }
            Ok(()) => Ok(&self.unpacked),
            Err(cause) => Err(malformed(format!(
                "found a payload that is not whole, or not compressed with {name}: {cause}; accepted is {name}, as key \
                 `compression` says"
            ))),
        }
    }

    /// Frames of zstd, one after the other.
    fn frames(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut rest = payload;
        while !rest.is_empty() && self.unpacked.len() <= DECOMPRESSED_BYTES_MAX {
            let frame = StreamingDecoder::new_with_decoder(&mut rest, &mut self.zstd);
            bounded(frame.map_err(io::Error::other)?, &mut self.unpacked)?;
            let (said, found) = (self.zstd.get_checksum_from_data(), self.zstd.get_calculated_checksum());
            if said.is_some() && said != found && self.zstd.is_finished() {
                return Err(io::Error::other("the checksum is another"));
            }
        }
        Ok(())
    }
}

/// Appends all that there is, or a byte more than there is room for.
fn bounded(from: impl Read, to: &mut Vec<u8>) -> io::Result<()> {
    let room = (DECOMPRESSED_BYTES_MAX + 1).saturating_sub(to.len());
    from.take(room as u64).read_to_end(to).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression as Level, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    #[test]
    fn what_was_compressed_comes_out() {
        for (compression, compress) in [
            (Compression::Gzip, gzip as fn(&[u8]) -> Vec<u8>),
            (Compression::Zstd, zstd),
        ] {
            let mut compressed = Compressed::new(compression);
            let texts = [b"".to_vec(), b"{}".to_vec(), b"abc".repeat(100_000)];
            for text in texts.iter().chain(&texts) {
                let packed = compress(text);
                assert_eq!(compressed.unpack(&packed).unwrap(), text);
                assert_eq!(compressed.unpacked_bytes(), text.len());
                // Two, one behind the other.
                let twice = [packed.clone(), packed.clone()].concat();
                assert_eq!(compressed.unpack(&twice).unwrap(), text.repeat(2));
                for end in 1..packed.len().min(100) {
                    let cut = compressed.unpack(&packed[..end]).unwrap_err();
                    assert!(cut.reason.contains(compression.name()), "{}", cut.reason);
                }
                let trailing = [packed, b"abcdef".to_vec()].concat();
                compressed.unpack(&trailing).unwrap_err();
            }
            assert_eq!(compressed.unpack(b"").unwrap(), b"");
            compressed.unpack(b"{\"id\": 1}").unwrap_err();
            assert_eq!(compressed.unpack(&compress(b"again")).unwrap(), b"again");
        }
    }

    #[test]
    fn what_claims_to_be_much_more_stops() {
        // A thousand times as small, several times over.
        let large = vec![0; DECOMPRESSED_BYTES_MAX];
        for (compression, packed) in [(Compression::Gzip, gzip(&large)), (Compression::Zstd, zstd(&large))] {
            let mut compressed = Compressed::new(compression);
            assert_eq!(compressed.unpack(&packed).unwrap().len(), large.len());
            let refused = compressed.unpack(&packed.repeat(1000)).unwrap_err();
            assert!(
                refused.reason.contains("more than 67108864 bytes"),
                "{}",
                refused.reason
            );
            assert_eq!(compressed.unpacked_bytes(), 0);
        }
    }
}
