//! What comes from a guest, checked piece by piece.

use crate::{
    limits::REASON_BYTES_MAX,
    model::column::{Column, ColumnType, Layout, Values},
};

/// Checks that a column has this type and `rows` rows, and keeps the rules of the contract.
///
/// # Errors
/// Which of them it breaks.
pub(super) fn check_column(given: &Column, wanted: ColumnType, nullable: bool, rows: usize) -> Result<(), String> {
    let length = |found: usize, what: &str| match found == rows {
        true => Ok(()),
        false => Err(format!("{found} {what} for {rows} rows")),
    };
    if let Some(validity) = &given.validity {
        length(validity.len(), "validity bytes")?;
        if let Some(byte) = validity.iter().find(|&&byte| byte > 1) {
            return Err(format!("validity byte {byte}; accepted are 0 and 1"));
        }
        if !nullable && validity.contains(&0) {
            return Err("a null, though it is described as never null".to_owned());
        }
    }
    match &given.values {
        Values::Int(values) => length(values.len(), "values")?,
        Values::Double(values) => {
            length(values.len(), "values")?;
            if let Some((_, value)) = values
                .iter()
                .enumerate()
                .find(|&(row, value)| !value.is_finite() && !given.is_null(row))
            {
                return Err(format!("{value}; accepted are finite numbers"));
            }
        }
        Values::Boolean(values) => {
            length(values.len(), "values")?;
            if let Some(byte) = values.iter().find(|&&byte| byte > 1) {
                return Err(format!("boolean {byte}; accepted are 0 and 1"));
            }
        }
        Values::Text(texts) => {
            length(texts.offsets.len().wrapping_sub(1), "texts")?;
            check_texts(&texts.offsets, &texts.data)?;
        }
        Values::Decimal(values) => length(values.len(), "values")?,
    }
    let found = match given.layout() {
        Layout::Int => ColumnType::Int,
        Layout::Double => ColumnType::Double,
        Layout::Boolean => ColumnType::Boolean,
        Layout::Text => ColumnType::Text,
        Layout::Decimal => return Err("decimals, which the contract has not".to_owned()),
    };
    match found == wanted {
        true => Ok(()),
        false => Err(format!("{found} values, though it is described as {wanted}")),
    }
}

fn check_texts(offsets: &[u32], data: &[u8]) -> Result<(), String> {
    check_offsets(offsets, data, "texts")?;
    // Offsets into ASCII cannot fall into the middle of a character.
    if data.is_ascii() {
        return Ok(());
    }
    let text = std::str::from_utf8(data).map_err(|cause| format!("text that is not UTF-8: {cause}"))?;
    match offsets.iter().find(|&&offset| !text.is_char_boundary(offset as usize)) {
        Some(offset) => Err(format!("a text that ends within a character, at byte {offset}")),
        None => Ok(()),
    }
}

/// Checks that `offsets` cut `data` into pieces, which messages call `what`.
///
/// # Errors
/// Why they do not.
pub(super) fn check_offsets(offsets: &[u32], data: &[u8], what: &str) -> Result<(), String> {
    if offsets.first() != Some(&0) || offsets.last().map(|&last| last as usize) != Some(data.len()) {
        return Err(format!(
            "offsets of {what} that do not begin at 0 and end with the data"
        ));
    }
    match offsets.is_sorted() {
        true => Ok(()),
        false => Err(format!("offsets of {what} that descend")),
    }
}

/// Cuts a reason to what the database keeps.
pub(super) fn shorten(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
}
