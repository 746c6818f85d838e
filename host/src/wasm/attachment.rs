//! What a component carries beside its code: bytes in a custom section, which the guest reads through an import.
//!
//! Components that differ in them alone are one component to the compiler, so its code is made once, cached once and shared.

use super::read::Binary;
use crate::error::{Error, Result};
use std::{ops::Range, sync::Arc};
use wasmparser::BinaryReader;

/// The name of the section.
const SECTION: &str = "weir:attachment";

/// Bytes before the first section.
const HEADER_BYTES: usize = 8;

/// A component apart from its attachment.
pub(super) struct Parted {
    /// What is compiled: the component without its attachment.
    pub(super) code: Binary,
    /// The attachment.
    pub(super) attachment: Option<Arc<[u8]>>,
}

/// Parts what may be a component from its attachment. What is no component is left whole: the compiler says what is wrong with it.
///
/// # Errors
/// It has two of them.
pub(super) fn part(binary: &Binary) -> Result<Parted> {
    let bytes = binary.bytes();
    let mut found = sections(bytes).into_iter();
    let Some(first) = found.next() else {
        return Ok(Parted {
            code: binary.clone(),
            attachment: None,
        });
    };
    if found.next().is_some() {
        return Err(Error::definition(format!(
            "it has more than one section \"{SECTION}\"; accepted is one"
        )));
    }
    let of = |range: Range<usize>| bytes.get(range).unwrap_or_default();
    let code = [of(0..first.section.start), of(first.section.end..bytes.len())].concat();
    Ok(Parted {
        code: Binary::new(code),
        attachment: Some(of(first.contents).into()),
    })
}

/// A component with an attachment, which comes last.
pub(crate) fn with_attachment(component: &[u8], attachment: &[u8]) -> Vec<u8> {
    let mut contents = Vec::with_capacity(attachment.len() + SECTION.len() + 1);
    push_length(&mut contents, SECTION.len());
    contents.extend_from_slice(SECTION.as_bytes());
    contents.extend_from_slice(attachment);
    let mut component = component.to_vec();
    // A custom section.
    component.push(0);
    push_length(&mut component, contents.len());
    component.extend_from_slice(&contents);
    component
}

/// Appends a length in LEB128.
fn push_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

/// Where an attachment stands.
struct Section {
    /// With what says how long it is.
    section: Range<usize>,
    contents: Range<usize>,
}

/// Every attachment of a component; nothing behind a section that is broken.
fn sections(component: &[u8]) -> Vec<Section> {
    let mut found = Vec::new();
    let mut reader = BinaryReader::new(component.get(HEADER_BYTES..).unwrap_or_default(), HEADER_BYTES);
    while !reader.eof() {
        let start = reader.original_position();
        let Some((id, contents)) = section(&mut reader) else {
            break;
        };
        let mut inside = contents.clone();
        if id == 0 && inside.read_string().ok() == Some(SECTION) {
            found.push(Section {
                section: start..reader.original_position(),
                contents: inside.original_position()..reader.original_position(),
            });
        }
    }
    found
}

/// The next section: its number and its contents.
fn section<'b>(reader: &mut BinaryReader<'b>) -> Option<(u8, BinaryReader<'b>)> {
    let id = reader.read_u8().ok()?;
    let length = reader.read_var_u32().ok()? as usize;
    let start = reader.original_position();
    let contents = reader.read_bytes(length).ok()?;
    Some((id, BinaryReader::new(contents, start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn an_attachment_comes_off_again_wherever_it_stands() {
        let large = vec![7; 100_000];
        for attachment in [&b""[..], b"a", &large] {
            let whole = with_attachment(COMPONENT, attachment);
            let followed = [&whole[..], &[0, 2, 1, b'x']].concat();
            for (whole, code) in [
                (&whole, COMPONENT.to_vec()),
                (&followed, [COMPONENT, &[0, 2, 1, b'x']].concat()),
            ] {
                let parted = part(&Binary::new(whole.clone())).unwrap();
                assert_eq!(parted.attachment.as_deref(), Some(attachment));
                assert_eq!(&parted.code.bytes()[..], code);
            }
        }
    }

    #[test]
    fn what_has_none_is_left_as_it_is() {
        let broken = [COMPONENT, &[0, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
        let whole = with_attachment(COMPONENT, b"abc");
        for bytes in [&b""[..], b"\0asm", COMPONENT, &broken, &whole[..whole.len() - 1]] {
            let parted = part(&Binary::new(bytes.to_vec())).unwrap();
            assert_eq!(parted.attachment, None);
            assert_eq!(&parted.code.bytes()[..], bytes);
        }
    }

    #[test]
    fn two_are_one_too_many() {
        let twice = with_attachment(&with_attachment(COMPONENT, b"a"), b"b");
        let error = part(&Binary::new(twice)).err().unwrap();
        assert_eq!(
            error.to_string(),
            "it has more than one section \"weir:attachment\"; accepted is one"
        );
    }
}
