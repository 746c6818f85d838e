//! Hashes and encodings.

use super::datum::{Datum, Rows};
use crate::{function::Function as F, types::Layout};
use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use md5::Md5;
use sha2::{Digest, Sha256};

/// Any of them: they take texts or bytes, and give such.
pub(super) fn call<'a>(function: F, data: &[Datum<'_>], n: usize) -> Datum<'a> {
    let Some(a) = data.first() else {
        return Datum::nulls(Layout::Text, n);
    };
    Rows::strict(data, n).texts(&mut |row, out| {
        let of = a.text(row);
        match function {
            F::Sha256 => out.extend_from_slice(HEXLOWER.encode(&Sha256::digest(of)).as_bytes()),
            F::Md5 => out.extend_from_slice(HEXLOWER.encode(&Md5::digest(of)).as_bytes()),
            F::HmacSha256 => {
                let text = data.get(1).map_or(&[][..], |text| text.text(row));
                out.extend_from_slice(HEXLOWER.encode(&hmac_sha256(of, text)).as_bytes());
            }
            F::ToHex => out.extend_from_slice(HEXLOWER.encode(of).as_bytes()),
            F::FromHex => out.extend_from_slice(
                &HEXLOWER_PERMISSIVE
                    .decode(of)
                    .map_err(|_| "the text is not hexadecimal")?,
            ),
            F::ToBase64 => out.extend_from_slice(BASE64.encode(of).as_bytes()),
            F::FromBase64 => out.extend_from_slice(&BASE64.decode(of).map_err(|_| "the text is not base64")?),
            _ => return Ok(false),
        }
        Ok(true)
    })
}

/// RFC 2104 over SHA-256.
fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0u8; 64];
    let hashed: [u8; 32] = Sha256::digest(key).into();
    let key = if key.len() > block.len() { &hashed[..] } else { key };
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new_with_prefix(block.map(|byte| byte ^ 0x36))
        .chain_update(text)
        .finalize();
    Sha256::new_with_prefix(block.map(|byte| byte ^ 0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}
