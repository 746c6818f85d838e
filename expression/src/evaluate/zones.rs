//! Time zones. Somebody else knows their offsets; what was answered is kept for the span that it holds for.

use super::datum::Fault;
use crate::calendar::{SECOND_US, TIMESTAMPS_US};
use std::{cell::RefCell, fmt};

/// Knows the offsets of time zones.
pub trait Zones {
    /// The offset of `zone` at an instant: seconds to add to UTC, the first instant in milliseconds of the span for which that holds, and
    /// the first after it.
    ///
    /// # Errors
    ///
    /// A sentence: the name is not known.
    fn offset_at(&self, zone: &str, instant_ms: i64) -> Result<(i32, i64, i64), String>;
}

/// Knows no zone but `UTC`.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoZones;

impl Zones for NoZones {
    fn offset_at(&self, zone: &str, _: i64) -> Result<(i32, i64, i64), String> {
        match zone {
            "UTC" => Ok((0, i64::MIN, i64::MAX)),
            _ => Err(format!("there is no time zone {zone:?} here")),
        }
    }
}

/// The spans of one zone that were answered.
#[derive(Debug)]
pub(super) struct KnownZone {
    name: String,
    spans: Vec<Span>,
}

/// What is known of all zones.
pub(super) type KnownZones = Vec<KnownZone>;

/// The most zones, and spans of one, that are kept. Beyond, those that were kept are forgotten.
const KEPT_MAX: usize = 256;

/// An offset and the time for which it holds, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Span {
    offset_us: i64,
    from_us: i64,
    until_us: i64,
}

/// One zone.
pub(super) struct ZoneReader<'a> {
    known: &'a RefCell<KnownZones>,
    zones: &'a dyn Zones,
    name: String,
    last: Option<Span>,
}

impl fmt::Debug for ZoneReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

pub(super) const NO_ZONE: Fault = "there is no such time zone";

impl<'a> ZoneReader<'a> {
    pub(super) fn new(
        known: &'a RefCell<KnownZones>,
        zones: &'a dyn Zones,
        name: &[u8],
    ) -> Result<ZoneReader<'a>, Fault> {
        let name = std::str::from_utf8(name).map_err(|_| NO_ZONE)?.to_owned();
        Ok(ZoneReader {
            known,
            zones,
            name,
            last: None,
        })
    }

    pub(super) fn is(&self, name: &[u8]) -> bool {
        self.name.as_bytes() == name
    }

    fn span_at(&mut self, us: i64) -> Result<Span, Fault> {
        let holds = |span: &Span| span.from_us <= us && us < span.until_us;
        if let Some(span) = self.last.filter(holds) {
            return Ok(span);
        }
        let mut known = self.known.borrow_mut();
        let kept = known.iter().find(|zone| zone.name == self.name);
        let kept = kept.and_then(|zone| zone.spans.iter().copied().find(holds));
        let span = match kept {
            Some(span) => span,
            None => {
                let answer = self
                    .zones
                    .offset_at(&self.name, us.div_euclid(1000))
                    .map_err(|_| NO_ZONE)?;
                let (offset_s, from_ms, until_ms) = answer;
                let span = Span {
                    // No zone is further from UTC.
                    offset_us: i64::from(offset_s.clamp(-93_599, 93_599)) * SECOND_US,
                    from_us: from_ms.saturating_mul(1000).min(us),
                    until_us: until_ms.saturating_mul(1000).max(us.saturating_add(1)),
                };
                match known.iter_mut().find(|zone| zone.name == self.name) {
                    Some(zone) => {
                        if zone.spans.len() >= KEPT_MAX {
                            zone.spans.clear();
                        }
                        zone.spans.push(span);
                    }
                    None => {
                        if known.len() >= KEPT_MAX {
                            known.clear();
                        }
                        known.push(KnownZone {
                            name: self.name.clone(),
                            spans: vec![span],
                        });
                    }
                }
                span
            }
        };
        self.last = Some(span);
        Ok(span)
    }

    /// What a clock in the zone shows at an instant, as if it were in UTC.
    pub(super) fn local(&mut self, us: i64) -> Result<i64, Fault> {
        Ok(us + self.span_at(us)?.offset_us)
    }

    /// The offset at an instant, in microseconds.
    pub(super) fn offset_us(&mut self, us: i64) -> Result<i64, Fault> {
        Ok(self.span_at(us)?.offset_us)
    }

    /// When a clock in the zone shows a local time: the earlier of two, and of one that is skipped, the time shifted forward by the gap.
    pub(super) fn instant(&mut self, local: i64) -> Result<i64, Fault> {
        self.instant_or_gap(local).map(|(us, _)| us)
    }

    /// When a local day or any other beginning begins: as [`ZoneReader::instant`], but where it is skipped, the end of the gap.
    pub(super) fn beginning(&mut self, local: i64) -> Result<i64, Fault> {
        self.instant_or_gap(local).map(|(us, gap)| gap.unwrap_or(us))
    }

    /// The instant, and where the local time is skipped, the end of the gap.
    fn instant_or_gap(&mut self, local: i64) -> Result<(i64, Option<i64>), Fault> {
        const DAY_AND_A_BIT_US: i64 = 93_600 * SECOND_US;
        let before = self.span_at(local.saturating_sub(DAY_AND_A_BIT_US))?;
        let after = self.span_at(local.saturating_add(DAY_AND_A_BIT_US))?;
        let near = self.span_at(local - before.offset_us)?;
        let mut found: Option<i64> = None;
        for offset_us in [before.offset_us, near.offset_us, after.offset_us] {
            let us = local - offset_us;
            if self.span_at(us)?.offset_us == offset_us {
                found = Some(found.map_or(us, |found| found.min(us)));
            }
        }
        match found {
            Some(us) => Ok((us, None)),
            // The clocks went from one offset to the next over this time.
            None => {
                let shifted = local - before.offset_us;
                Ok((shifted, Some(self.span_at(shifted)?.from_us)))
            }
        }
    }

    /// A local time of the same offset as an instant has, but not before that offset began to hold.
    pub(super) fn near(&mut self, local: i64, us: i64) -> Result<i64, Fault> {
        let span = self.span_at(us)?;
        Ok((local - span.offset_us).max(span.from_us.max(*TIMESTAMPS_US.start())))
    }
}
