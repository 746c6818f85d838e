//! Messages that stand for a value: timestamps, dates, and those of one field.

use super::{Values, wire::Slot};
use crate::{
    format::{cursor::Rejected, scalar::Scalar},
    model::column_type::days_of,
    plan::protobuf::ProtoMessage,
};
use jiff::civil::Date;

impl<'a> Values<'a> {
    /// The last value of a field of a message.
    pub(super) fn last_of(
        &self,
        message: &ProtoMessage,
        parts: &[Slot],
        number: u32,
    ) -> Result<Option<Slot>, Rejected> {
        let entries = self.entries(message, parts)?;
        let of_number = |entry: &&(usize, Slot)| {
            let field = message.fields.get(entry.0);
            field.is_some_and(|field| field.number == number)
        };
        Ok(entries.iter().rev().find(of_number).map(|(_, slot)| *slot))
    }

    fn number(&self, message: &ProtoMessage, parts: &[Slot], number: u32) -> Result<i64, Rejected> {
        Ok(match self.last_of(message, parts, number)? {
            Some(Slot::Varint { bits, .. }) => bits as i64,
            _ => 0,
        })
    }

    /// Seconds since 1970, and nanoseconds of that second; what is finer than a microsecond is cut.
    pub(super) fn timestamp(&self, message: &ProtoMessage, parts: &[Slot]) -> Result<Scalar<'a>, Rejected> {
        let seconds = self.number(message, parts, 1)?;
        let nanos = self.number(message, parts, 2)?;
        let us = seconds
            .checked_mul(1_000_000)
            .and_then(|us| us.checked_add(nanos / 1000));
        Ok(Scalar::Timestamp(us.filter(|_| (0..1_000_000_000).contains(&nanos))))
    }

    /// A year, a month and a day; where one of them is zero it is no date.
    pub(super) fn date(&self, message: &ProtoMessage, parts: &[Slot]) -> Result<Scalar<'a>, Rejected> {
        let (year, month, day) = (
            self.number(message, parts, 1)?,
            self.number(message, parts, 2)?,
            self.number(message, parts, 3)?,
        );
        let date = || {
            let year = i16::try_from(year).ok().filter(|year| *year > 0)?;
            let date = Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()?;
            days_of(date)
        };
        Ok(Scalar::Date(date().unwrap_or(i64::MAX)))
    }
}
