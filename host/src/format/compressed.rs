//! Payloads that are compressed. One that claims to be much more than it is stops at a bound.

use super::{columns::RejectedPayload, scalar::malformed};
use crate::{definition::Compression, limits::DECOMPRESSED_BYTES_MAX, model::headers::Headers, text::printable};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use std::{
    fmt,
    io::{self, Read},
};

/// The header that says how a payload is compressed, as HTTP has it.
const HEADER: &str = "Content-Encoding";

/// Bytes of a header's value that a reason shows.
const VALUE_SHOWN: usize = 40;

/// Decompresses the payloads of an input.
pub(super) struct Compressed {
    compression: Compression,
    /// Its tables are used again.
    zstd: FrameDecoder,
    unpacked: Vec<u8>,
}

/// How a payload is compressed.
#[derive(Clone, Copy, Debug)]
enum Coding {
    Gzip,
    Zstd,
}

impl Coding {
    /// Its name in HTTP, and in pipeline files.
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
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

    /// Whether the headers of a message say how it is compressed.
    pub(super) fn reads_headers(&self) -> bool {
        self.compression == Compression::Header
    }

    /// How many bytes the last payload had once it was decompressed.
    pub(super) fn unpacked_bytes(&self) -> usize {
        self.unpacked.len()
    }

    /// What was compressed, of a message with these headers as [`Message::headers`] has them. An empty payload is empty.
    ///
    /// # Errors
    /// When it was not compressed so, is cut off, or is more than there is room for.
    ///
    /// [`Message::headers`]: crate::model::delivery::Message::headers
    pub(super) fn unpack<'p>(&'p mut self, payload: &'p [u8], headers: &str) -> Result<&'p [u8], RejectedPayload> {
        self.unpacked.clear();
        let (coding, said_by) = match self.compression {
            Compression::Gzip => (Coding::Gzip, "key `compression`"),
            Compression::Zstd => (Coding::Zstd, "key `compression`"),
            Compression::Header => match coding_of(headers)? {
                Some(coding) => (coding, "its header"),
                None => return Ok(payload),
            },
        };
        let read = match coding {
            _ if payload.is_empty() => Ok(()),
            Coding::Gzip => bounded(MultiGzDecoder::new(payload), &mut self.unpacked),
            Coding::Zstd => self.frames(payload),
        };
        let name = coding.name();
        match read {
            Ok(()) if self.unpacked.len() > DECOMPRESSED_BYTES_MAX => {
                self.unpacked = Vec::new();
                Err(malformed(format!(
                    "found a payload that has more than {DECOMPRESSED_BYTES_MAX} bytes once it is decompressed; accepted are as many"
                )))
            }
            Ok(()) => Ok(&self.unpacked),
            Err(cause) => Err(malformed(format!(
                "found a payload that is not whole, or not compressed with {name}: {cause}; accepted is {name}, as {said_by} says"
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

/// How the headers of a message say that its payload is compressed; nothing where it is not.
fn coding_of(headers: &str) -> Result<Option<Coding>, RejectedPayload> {
    let headers = match headers.is_empty() {
        true => Headers::default(),
        false => Headers::parse(headers).unwrap_or_default(),
    };
    // HTTP makes no difference between upper and lower case here, and what publishes may come from there.
    let mut values = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(HEADER));
    let said = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some((_, value)), None) => value.trim(),
        (Some(_), Some(_)) => "several values",
    };
    for coding in [Coding::Gzip, Coding::Zstd] {
        if said.eq_ignore_ascii_case(coding.name()) {
            return Ok(Some(coding));
        }
    }
    if said.is_empty() || said.eq_ignore_ascii_case("identity") {
        return Ok(None);
    }
    let shown = said.get(..said.floor_char_boundary(VALUE_SHOWN)).unwrap_or_default();
    let more = if shown.len() < said.len() { "…" } else { "" };
    Err(malformed(format!(
        "found \"{}{more}\" in header \"{HEADER}\"; accepted is gzip, zstd or identity, or no such header",
        printable(shown)
    )))
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
        for (compression, headers, compress) in [
            (Compression::Gzip, "", gzip as fn(&[u8]) -> Vec<u8>),
            (Compression::Zstd, "", zstd),
            (Compression::Header, r#"{"Content-Encoding":"gzip"}"#, gzip),
            (Compression::Header, r#"{"content-encoding":" ZSTD "}"#, zstd),
        ] {
            let mut compressed = Compressed::new(compression);
            let mut unpack = |payload: &[u8]| compressed.unpack(payload, headers).map(<[u8]>::to_vec);
            let texts = [b"".to_vec(), b"{}".to_vec(), b"abc".repeat(100_000)];
            for text in texts.iter().chain(&texts) {
                let packed = compress(text);
                assert_eq!(unpack(&packed).unwrap(), *text);
                // Two, one behind the other.
                let twice = [packed.clone(), packed.clone()].concat();
                assert_eq!(unpack(&twice).unwrap(), text.repeat(2));
                for end in 1..packed.len().min(100) {
                    let cut = unpack(&packed[..end]).unwrap_err();
                    assert!(cut.reason.contains("is not whole"), "{}", cut.reason);
                }
                let trailing = [packed, b"abcdef".to_vec()].concat();
                unpack(&trailing).unwrap_err();
            }
            assert_eq!(unpack(b"").unwrap(), b"");
            unpack(b"{\"id\": 1}").unwrap_err();
            assert_eq!(unpack(&compress(b"again")).unwrap(), b"again");
            assert_eq!(compressed.unpacked_bytes(), 5);
        }
    }

    #[test]
    fn a_header_says_how_a_payload_is_compressed() {
        let mut compressed = Compressed::new(Compression::Header);
        for plain in [
            "",
            "{}",
            r#"{"Content-Encoding":"identity"}"#,
            r#"{"Content-Encoding":""}"#,
        ] {
            assert_eq!(compressed.unpack(b"{}", plain).unwrap(), b"{}", "{plain}");
            assert_eq!(compressed.unpacked_bytes(), 0);
        }
        for (headers, found) in [
            (r#"{"Content-Encoding":"br\n"}"#, "\"br\""),
            (r#"{"Content-Encoding":"gzip, zstd"}"#, "\"gzip, zstd\""),
            (r#"{"Content-Encoding":["gzip","gzip"]}"#, "\"several values\""),
        ] {
            let refused = compressed.unpack(&gzip(b"{}"), headers).unwrap_err();
            assert_eq!(
                refused.reason,
                format!(
                    "found {found} in header \"Content-Encoding\"; accepted is gzip, zstd or identity, or no such header"
                )
            );
        }
    }

    #[test]
    fn what_claims_to_be_much_more_stops() {
        // A thousand times as small, several times over.
        let large = vec![0; DECOMPRESSED_BYTES_MAX];
        for (compression, packed) in [(Compression::Gzip, gzip(&large)), (Compression::Zstd, zstd(&large))] {
            let mut compressed = Compressed::new(compression);
            assert_eq!(compressed.unpack(&packed, "").unwrap().len(), large.len());
            let refused = compressed.unpack(&packed.repeat(1000), "").unwrap_err();
            assert!(
                refused.reason.contains("more than 67108864 bytes"),
                "{}",
                refused.reason
            );
            assert_eq!(compressed.unpacked_bytes(), 0);
        }
    }
}
