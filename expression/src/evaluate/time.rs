//! Functions of times and dates.

use super::{
    Run,
    datum::{BEYOND_TIME, Datum, Fault, Rows},
    prepare::Prepared,
    zones::ZoneReader,
};
use crate::{
    calendar::{self, Civil, DATES, DAY_US, SECOND_US, TIMESTAMPS_US},
    function::Function as F,
    types::{Layout, Type},
};

/// A unit or a part of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    // Parts only.
    Dow,
    Isodow,
    Doy,
    Isoyear,
    Epoch,
}

/// The names of units, each in the singular.
const UNITS: [(&str, Unit); 15] = [
    ("microsecond", Unit::Microsecond),
    ("millisecond", Unit::Millisecond),
    ("second", Unit::Second),
    ("minute", Unit::Minute),
    ("hour", Unit::Hour),
    ("day", Unit::Day),
    ("week", Unit::Week),
    ("month", Unit::Month),
    ("quarter", Unit::Quarter),
    ("year", Unit::Year),
    ("dow", Unit::Dow),
    ("isodow", Unit::Isodow),
    ("doy", Unit::Doy),
    ("isoyear", Unit::Isoyear),
    ("epoch", Unit::Epoch),
];

impl Unit {
    /// The unit of this name, for this function; of dates where `of_dates`.
    ///
    /// # Errors
    ///
    /// A sentence with the names that there are.
    pub fn named(name: &str, function: F, of_dates: bool) -> Result<Unit, String> {
        let fits = |unit: Unit| match function {
            F::DatePart => !of_dates || unit >= Unit::Day && unit != Unit::Epoch,
            F::FromEpoch | F::ToEpoch => unit <= Unit::Second,
            _ => unit <= Unit::Year && (!of_dates || unit >= Unit::Day),
        };
        let lower = name.to_ascii_lowercase();
        let singular = lower.strip_suffix('s').unwrap_or(&lower);
        let found = UNITS
            .iter()
            .find(|(known, unit)| fits(*unit) && (*known == lower || *known == singular));
        found.map(|(_, unit)| *unit).ok_or_else(|| {
            let names: Vec<&str> = UNITS
                .iter()
                .filter(|(_, unit)| fits(*unit))
                .map(|(name, _)| *name)
                .collect();
            format!("there is no unit {name:?} here: there are {}", names.join(", "))
        })
    }

    /// Its name, in the singular.
    pub fn name(self) -> &'static str {
        UNITS
            .iter()
            .find(|(_, unit)| *unit == self)
            .map_or("", |(name, _)| name)
    }

    /// How long it is, where it is always as long.
    fn us(self) -> Option<i64> {
        Some(match self {
            Unit::Microsecond => 1,
            Unit::Millisecond => 1000,
            Unit::Second => SECOND_US,
            Unit::Minute => 60 * SECOND_US,
            Unit::Hour => 3600 * SECOND_US,
            Unit::Day => DAY_US,
            Unit::Week => 7 * DAY_US,
            _ => return None,
        })
    }

    /// How many months it is.
    fn months(self) -> i64 {
        match self {
            Unit::Quarter => 3,
            Unit::Year => 12,
            _ => 1,
        }
    }
}

fn timestamp(us: i64) -> Result<Option<i64>, Fault> {
    Some(us)
        .filter(|us| TIMESTAMPS_US.contains(us))
        .map(Some)
        .ok_or(BEYOND_TIME)
}

fn date(days: i64) -> Result<Option<i64>, Fault> {
    Some(days)
        .filter(|days| DATES.contains(days))
        .map(Some)
        .ok_or(BEYOND_TIME)
}

impl<'a> Run<'a> {
    /// Any function of times. `types` are those of the arguments.
    pub(super) fn time<'d>(
        &self,
        function: F,
        data: &[Datum<'_>],
        types: &[Type],
        prepared: Option<&Prepared>,
        to: Type,
        n: usize,
    ) -> Datum<'d> {
        let unit = match prepared {
            Some(Prepared::Unit(unit)) => *unit,
            _ => Unit::Day,
        };
        // Which argument is the time, and which the zone, where there is one.
        let (time, zone) = match function {
            F::DateAdd => (2, 3),
            F::DateDiff => (1, 3),
            F::DateTrunc | F::DatePart | F::FromEpoch | F::ToEpoch => (1, 2),
            F::AtDate | F::StartOfDay => (0, 1),
            _ => (0, 2),
        };
        let of_dates = types.get(time) == Some(&Type::Date);
        let zone = data.get(zone).filter(|_| function != F::MakeDate);
        let Some(of) = data.get(time) else {
            return Datum::nulls(to.layout(), n);
        };
        let second = data.get(1);
        let int = |datum: Option<&Datum<'_>>, row: usize| datum.map_or(0, |datum| datum.int(row));
        // The years that there are leave room for every offset; beyond, sums could overflow.
        let range = match types.get(time) {
            Some(Type::Timestamp) => TIMESTAMPS_US,
            Some(Type::Date) => DATES,
            _ => i64::MIN..=i64::MAX,
        };
        let check = |of: &Datum<'_>, row: usize| match of.layout() != Layout::Int || range.contains(&of.int(row)) {
            true => Ok(()),
            false => Err(BEYOND_TIME),
        };
        let mut reader: Option<ZoneReader<'_>> = None;
        let rows = Rows::strict(data, n);
        if function == F::FormatTime {
            return rows.texts(&mut |row, out| {
                let zone = self.read_zone(&mut reader, zone, row)?;
                let Some(Prepared::Format(format)) = prepared else {
                    return Ok(false);
                };
                check(of, row)?;
                let us = if of_dates {
                    of.int(row).saturating_mul(DAY_US)
                } else {
                    of.int(row)
                };
                let offset_us = zone.map_or(Ok(0), |zone| zone.offset_us(us))?;
                format.write(us, offset_us, out);
                Ok(true)
            });
        }
        rows.ints(&mut |row| {
            let zone = self.read_zone(&mut reader, zone, row)?;
            check(of, row)?;
            if function == F::DateDiff {
                data.get(2).map_or(Ok(()), |to| check(to, row))?;
            }
            match function {
                F::DateTrunc if of_dates => date(truncated_days(of.int(row), unit)),
                F::DateTrunc => truncated(of.int(row), unit, zone).and_then(timestamp),
                F::DatePart if of_dates => Ok(Some(part(of.int(row).saturating_mul(DAY_US), 0, unit))),
                F::DatePart => {
                    let us = of.int(row);
                    let offset_us = zone.map_or(Ok(0), |zone| zone.offset_us(us))?;
                    Ok(Some(part(us, offset_us, unit)))
                }
                F::DateAdd if of_dates => date(added_days(of.int(row), int(second, row), unit)?),
                F::DateAdd => added(of.int(row), int(second, row), unit, zone).and_then(timestamp),
                F::DateDiff => {
                    let (from, to) = (of.int(row), int(data.get(2), row));
                    let scale = if of_dates { DAY_US } else { 1 };
                    difference(from.saturating_mul(scale), to.saturating_mul(scale), unit, zone).map(Some)
                }
                F::FromEpoch => {
                    let us = of.int(row).checked_mul(unit.us().unwrap_or(1)).ok_or(BEYOND_TIME)?;
                    timestamp(us)
                }
                F::ToEpoch => Ok(Some(of.int(row).div_euclid(unit.us().unwrap_or(1)))),
                F::ToTimestamp | F::ToDate => {
                    let Some(Prepared::Format(format)) = prepared else {
                        return Ok(None);
                    };
                    let read = format
                        .read(of.text(row))
                        .ok_or("the text is not written in the format")?;
                    match (function, read.offset_us, zone) {
                        (F::ToDate, ..) => date(read.local_us.div_euclid(DAY_US)),
                        (_, Some(offset_us), _) => timestamp(read.local_us - offset_us),
                        (_, None, Some(zone)) => timestamp(zone.instant(read.local_us)?),
                        (_, None, None) => Err("the format has no offset and no zone is given"),
                    }
                }
                F::AtDate => {
                    let us = of.int(row);
                    let local = zone.map_or(Ok(us), |zone| zone.local(us))?;
                    date(local.div_euclid(DAY_US))
                }
                F::StartOfDay => {
                    let local = of.int(row).saturating_mul(DAY_US);
                    timestamp(zone.map_or(Ok(local), |zone| zone.beginning(local))?)
                }
                F::MakeDate => {
                    let date = calendar::date_of_parts(of.int(row), int(second, row), int(data.get(2), row));
                    date.map(Some).ok_or("there is no such date")
                }
                _ => Ok(None),
            }
        })
    }

    /// The zone of a row, where there is one: that of the row before, or another.
    fn read_zone<'r>(
        &self,
        reader: &'r mut Option<ZoneReader<'a>>,
        zone: Option<&Datum<'_>>,
        row: usize,
    ) -> Result<Option<&'r mut ZoneReader<'a>>, Fault>
    where
        Self: 'a,
    {
        let Some(zone) = zone else { return Ok(None) };
        let name = zone.text(row);
        if !reader.as_ref().is_some_and(|reader| reader.is(name)) {
            *reader = Some(ZoneReader::new(&self.of.zones, self.zones, name)?);
        }
        Ok(reader.as_mut())
    }
}

/// The beginning of the unit that holds a date.
fn truncated_days(days: i64, unit: Unit) -> i64 {
    let (year, month, _) = calendar::civil_of_days(days);
    match unit {
        Unit::Week => days - calendar::weekday(days) + 1,
        Unit::Month => calendar::days_of_civil(year, month, 1),
        Unit::Quarter => calendar::days_of_civil(year, (month - 1) / 3 * 3 + 1, 1),
        Unit::Year => calendar::days_of_civil(year, 1, 1),
        _ => days,
    }
}

fn truncated(us: i64, unit: Unit, zone: Option<&mut ZoneReader<'_>>) -> Result<i64, Fault> {
    let cut = |us: i64| match unit.us().filter(|_| unit < Unit::Day) {
        Some(of) => us - us.rem_euclid(of),
        None => truncated_days(us.div_euclid(DAY_US), unit) * DAY_US,
    };
    let Some(zone) = zone else { return Ok(cut(us)) };
    let local = cut(zone.local(us)?);
    match unit < Unit::Day {
        // An hour that occurs twice is two hours.
        true => zone.near(local, us),
        false => zone.beginning(local),
    }
}

/// A part of a time, by a clock of this offset.
fn part(us: i64, offset_us: i64, unit: Unit) -> i64 {
    let civil = Civil::of_us(us + offset_us);
    let days = civil.days();
    match unit {
        Unit::Microsecond => civil.us_of_second(),
        Unit::Millisecond => civil.us_of_second() / 1000,
        Unit::Second => civil.second(),
        Unit::Minute => civil.minute(),
        Unit::Hour => civil.hour(),
        Unit::Day => civil.day,
        Unit::Week => calendar::iso_week(days).1,
        Unit::Month => civil.month,
        Unit::Quarter => (civil.month - 1) / 3 + 1,
        Unit::Year => civil.year,
        Unit::Dow => calendar::weekday(days) % 7,
        Unit::Isodow => calendar::weekday(days),
        Unit::Doy => calendar::day_of_year(days),
        Unit::Isoyear => calendar::iso_week(days).0,
        Unit::Epoch => us.div_euclid(SECOND_US),
    }
}

fn added_days(days: i64, count: i64, unit: Unit) -> Result<i64, Fault> {
    let later = match unit {
        Unit::Day => days.checked_add(count),
        Unit::Week => count.checked_mul(7).and_then(|count| days.checked_add(count)),
        _ => count
            .checked_mul(unit.months())
            .and_then(|months| calendar::add_months(days, months)),
    };
    later.ok_or(BEYOND_TIME)
}

fn added(us: i64, count: i64, unit: Unit, zone: Option<&mut ZoneReader<'_>>) -> Result<i64, Fault> {
    let is_of_calendar = unit.us().is_none() || zone.is_some() && unit >= Unit::Day;
    if !is_of_calendar {
        let us_of = unit.us().and_then(|of| of.checked_mul(count));
        return us_of.and_then(|of| us.checked_add(of)).ok_or(BEYOND_TIME);
    }
    let by_calendar = |local: i64| -> Result<i64, Fault> {
        let days = added_days(local.div_euclid(DAY_US), count, unit)?;
        let days = Some(days)
            .filter(|days| (DATES.start() - 2..=DATES.end() + 2).contains(days))
            .ok_or(BEYOND_TIME)?;
        Ok(days * DAY_US + local.rem_euclid(DAY_US))
    };
    match zone {
        None => by_calendar(us),
        Some(zone) => {
            let local = zone.local(us)?;
            zone.instant(by_calendar(local)?)
        }
    }
}

/// How many whole units lie between two times.
fn difference(from: i64, to: i64, unit: Unit, zone: Option<&mut ZoneReader<'_>>) -> Result<i64, Fault> {
    let is_of_calendar = unit.us().is_none() || zone.is_some() && unit >= Unit::Day;
    let (from, to) = match zone {
        Some(zone) if is_of_calendar => (zone.local(from)?, zone.local(to)?),
        _ => (from, to),
    };
    if let Some(of) = unit.us() {
        return Ok(to.saturating_sub(from) / of);
    }
    // Months between, and one less where the last is not whole.
    let (start, end) = (from.min(to), from.max(to));
    let months_of = |us: i64| {
        let civil = Civil::of_us(us);
        civil.year * 12 + civil.month
    };
    let mut months = months_of(end) - months_of(start);
    let reached =
        calendar::add_months(start.div_euclid(DAY_US), months).map(|days| days * DAY_US + start.rem_euclid(DAY_US));
    months -= i64::from(reached.is_none_or(|reached| reached > end));
    let units = months / unit.months();
    Ok(if from <= to { units } else { -units })
}
