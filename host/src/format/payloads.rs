//! One trait for all formats.

use super::{
    Scanner,
    columns::{ColumnBuilders, Decoded, RejectedPayload},
};
use std::fmt;

/// Turns payloads of one format into rows.
///
/// To add a format: a variant of [`PayloadFormat`] with what is known of it once a pipeline is planned, a file beside this one, and its
/// place in `input_payloads.rs`.
///
/// [`PayloadFormat`]: crate::plan::PayloadFormat
pub(super) trait Payloads: fmt::Debug + Send {
    /// Appends the event in `payload` as one row to the materialised columns of `sink`. Every declared column is checked, also one
    /// that is not materialised.
    ///
    /// # Errors
    /// Says which column is wrong, what was found and what is accepted. The sink then holds what it held before.
    fn decode(&mut self, payload: &[u8], sink: &mut ColumnBuilders) -> Result<Decoded, RejectedPayload>;
}

impl Payloads for Scanner {
    fn decode(&mut self, payload: &[u8], sink: &mut ColumnBuilders) -> Result<Decoded, RejectedPayload> {
        Self::decode(self, payload, sink)
    }
}
