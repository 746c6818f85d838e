//! What a schema registry has in front of a payload.

use super::cursor::{Cursor, Rejected, broken};

/// The number of the schema that stands in front of a payload: a byte that is zero, and four of the number.
pub(super) fn schema_number(cursor: &mut Cursor<'_>) -> Result<u32, Rejected> {
    const ACCEPTED: &str =
        "accepted is a byte of 0 and the number of a schema in four bytes, as a schema registry has it";
    match cursor.byte()? {
        0 => Ok(u32::from_be_bytes(cursor.array()?)),
        byte => Err(broken(format!(
            "found the byte {byte} in front of the payload; {ACCEPTED}"
        ))),
    }
}
