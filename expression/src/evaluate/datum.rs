//! What a node gives for the rows of a frame: a column, or one value that stands for every row.

use crate::{
    column::{Column, ColumnRef, Values, ValuesRef},
    forms::Value,
    types::{Layout, Type},
};
use std::borrow::Cow;

/// Why a function gives nothing for a row: the end of a sentence.
pub(crate) type Fault = &'static str;

/// The values of a node. One that is constant has one row, which stands for all.
#[derive(Clone, Debug)]
pub(crate) struct Datum<'a> {
    pub(crate) values: Held<'a>,
    /// 1 for a value.
    pub(crate) validity: Option<Cow<'a, [u8]>>,
    /// 1 where the value cannot be computed; what else is said of such a row is of no meaning.
    pub(crate) errors: Option<Vec<u8>>,
    /// What went wrong first in this node itself, where something did.
    pub(crate) fault: Option<Fault>,
    pub(crate) constant: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Held<'a> {
    Int(Cow<'a, [i64]>),
    Double(Cow<'a, [f64]>),
    Boolean(Cow<'a, [u8]>),
    Text(Cow<'a, [u32]>, Cow<'a, [u8]>),
    Decimal(Cow<'a, [i128]>),
}

impl<'a> Datum<'a> {
    pub(crate) fn borrowed(column: ColumnRef<'a>, constant: bool) -> Self {
        let values = match column.values {
            ValuesRef::Int(values) => Held::Int(Cow::Borrowed(values)),
            ValuesRef::Double(values) => Held::Double(Cow::Borrowed(values)),
            ValuesRef::Boolean(values) => Held::Boolean(Cow::Borrowed(values)),
            ValuesRef::Text { offsets, data } => Held::Text(Cow::Borrowed(offsets), Cow::Borrowed(data)),
            ValuesRef::Decimal(values) => Held::Decimal(Cow::Borrowed(values)),
        };
        Datum {
            values,
            validity: column.validity.map(Cow::Borrowed),
            errors: None,
            fault: None,
            constant,
        }
    }

    pub(crate) fn owned(values: Held<'a>) -> Self {
        Datum {
            values,
            validity: None,
            errors: None,
            fault: None,
            constant: false,
        }
    }

    /// So many nulls.
    pub(crate) fn nulls(layout: Layout, n: usize) -> Self {
        let values = match layout {
            Layout::Int => Held::Int(vec![0; n].into()),
            Layout::Double => Held::Double(vec![0.0; n].into()),
            Layout::Boolean => Held::Boolean(vec![0; n].into()),
            Layout::Text => Held::Text(vec![0; n + 1].into(), Vec::new().into()),
            Layout::Decimal => Held::Decimal(vec![0; n].into()),
        };
        Datum {
            validity: Some(vec![0; n].into()),
            ..Datum::owned(values)
        }
    }

    pub(crate) fn layout(&self) -> Layout {
        match self.values {
            Held::Int(_) => Layout::Int,
            Held::Double(_) => Layout::Double,
            Held::Boolean(_) => Layout::Boolean,
            Held::Text(..) => Layout::Text,
            Held::Decimal(_) => Layout::Decimal,
        }
    }

    #[inline(always)]
    pub(crate) fn at(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }

    #[inline]
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.validity
            .as_ref()
            .is_some_and(|validity| validity[self.at(row)] == 0)
    }

    #[inline]
    pub(crate) fn is_error(&self, row: usize) -> bool {
        self.errors.as_ref().is_some_and(|errors| errors[self.at(row)] != 0)
    }

    // The values by layout. The reader of programs sees to it that nobody asks for another.

    pub(crate) fn ints(&self) -> &[i64] {
        match &self.values {
            Held::Int(values) => values,
            _ => &[],
        }
    }

    pub(crate) fn doubles(&self) -> &[f64] {
        match &self.values {
            Held::Double(values) => values,
            _ => &[],
        }
    }

    pub(crate) fn booleans(&self) -> &[u8] {
        match &self.values {
            Held::Boolean(values) => values,
            _ => &[],
        }
    }

    pub(crate) fn decimals(&self) -> &[i128] {
        match &self.values {
            Held::Decimal(values) => values,
            _ => &[],
        }
    }

    #[inline]
    pub(crate) fn int(&self, row: usize) -> i64 {
        self.ints()[self.at(row)]
    }

    #[inline]
    pub(crate) fn double(&self, row: usize) -> f64 {
        self.doubles()[self.at(row)]
    }

    #[inline]
    pub(crate) fn boolean(&self, row: usize) -> bool {
        self.booleans()[self.at(row)] != 0
    }

    #[inline]
    pub(crate) fn decimal(&self, row: usize) -> i128 {
        self.decimals()[self.at(row)]
    }

    #[inline]
    pub(crate) fn text(&self, row: usize) -> &[u8] {
        let at = self.at(row);
        match &self.values {
            Held::Text(offsets, data) => &data[offsets[at] as usize..offsets[at + 1] as usize],
            _ => &[],
        }
    }

    /// The value of a row, of whichever layout.
    pub(crate) fn value(&self, row: usize) -> Value<'_> {
        if self.is_null(row) {
            return Value::Null;
        }
        match self.layout() {
            Layout::Int => Value::Int(self.int(row)),
            Layout::Double => Value::Double(self.double(row)),
            Layout::Boolean => Value::Boolean(self.boolean(row)),
            Layout::Text => Value::Text(self.text(row)),
            Layout::Decimal => Value::Decimal(self.decimal(row)),
        }
    }

    /// As many rows as the frame has.
    pub(crate) fn expanded(self, n: usize) -> Self {
        if !self.constant {
            return self;
        }
        let values = match &self.values {
            Held::Int(values) => Held::Int(vec![values[0]; n].into()),
            Held::Double(values) => Held::Double(vec![values[0]; n].into()),
            Held::Boolean(values) => Held::Boolean(vec![values[0]; n].into()),
            Held::Decimal(values) => Held::Decimal(vec![values[0]; n].into()),
            // Offsets would wrap: there is no batch of so many long texts that memory holds.
            Held::Text(..) if self.text(0).len().saturating_mul(n) > u32::MAX as usize => {
                return Datum {
                    errors: Some(vec![1; n]),
                    fault: Some(TOO_LONG),
                    ..Datum::nulls(Layout::Text, n)
                };
            }
            Held::Text(..) => {
                let text = self.text(0);
                let offsets = (0..=n).map(|row| (row * text.len()) as u32).collect::<Vec<_>>();
                Held::Text(offsets.into(), text.repeat(n).into())
            }
        };
        Datum {
            values,
            validity: self.validity.map(|validity| vec![validity[0]; n].into()),
            errors: self.errors.map(|errors| vec![errors[0]; n]),
            fault: self.fault,
            constant: false,
        }
    }

    /// The column of it, of `n` rows.
    pub(crate) fn into_column(self, n: usize) -> Column {
        let datum = self.expanded(n);
        let values = match datum.values {
            Held::Int(values) => Values::Int(values.into_owned()),
            Held::Double(values) => Values::Double(values.into_owned()),
            Held::Boolean(values) => Values::Boolean(values.into_owned()),
            Held::Decimal(values) => Values::Decimal(values.into_owned()),
            Held::Text(offsets, data) => Values::Text {
                offsets: offsets.into_owned(),
                data: data.into_owned(),
            },
        };
        let validity = datum
            .validity
            .filter(|validity| validity.contains(&0))
            .map(Cow::into_owned);
        Column { validity, values }
    }
}

/// Which rows have a value in every argument.
pub(crate) fn validity_of(arguments: &[Datum<'_>], n: usize) -> Option<Vec<u8>> {
    let mut all: Option<Vec<u8>> = None;
    for argument in arguments {
        let Some(validity) = &argument.validity else { continue };
        match (&mut all, argument.constant) {
            (None, true) => all = Some(vec![validity[0]; n]),
            (None, false) => all = Some(validity.to_vec()),
            (Some(all), true) => all.iter_mut().for_each(|all| *all &= validity[0]),
            (Some(all), false) => all.iter_mut().zip(validity.iter()).for_each(|(all, of)| *all &= of),
        }
    }
    all
}

/// Which rows have an error in some argument.
pub(crate) fn errors_of(arguments: &[Datum<'_>], n: usize) -> Option<Vec<u8>> {
    let mut all: Option<Vec<u8>> = None;
    for argument in arguments {
        let Some(errors) = &argument.errors else { continue };
        let all = all.get_or_insert_with(|| vec![0; n]);
        match argument.constant {
            true => all.iter_mut().for_each(|all| *all |= errors[0]),
            false => all.iter_mut().zip(errors).for_each(|(all, of)| *all |= of),
        }
    }
    all
}

/// Whether a function is asked for a row: all arguments have a value there, and none an error.
#[inline]
pub(crate) fn is_asked(validity: Option<&[u8]>, errors: Option<&[u8]>, row: usize) -> bool {
    validity.is_none_or(|validity| validity[row] != 0) && errors.is_none_or(|errors| errors[row] == 0)
}

/// Appends the text of a row and says whether it is one, or null.
pub(crate) type MakesText<'f> = &'f mut dyn FnMut(usize, &mut Vec<u8>) -> Result<bool, Fault>;

/// Nulls and errors of a result that is made row by row.
pub(crate) struct Rows {
    pub(crate) n: usize,
    validity: Option<Vec<u8>>,
    errors: Option<Vec<u8>>,
    fault: Option<Fault>,
}

impl Rows {
    /// Null where an argument is.
    pub(crate) fn strict(arguments: &[Datum<'_>], n: usize) -> Rows {
        Rows {
            validity: validity_of(arguments, n),
            ..Rows::lenient(arguments, n)
        }
    }

    /// Not null because of its arguments.
    pub(crate) fn lenient(arguments: &[Datum<'_>], n: usize) -> Rows {
        Rows {
            n,
            validity: None,
            errors: errors_of(arguments, n),
            fault: None,
        }
    }

    #[inline]
    fn is_asked(&self, row: usize) -> bool {
        is_asked(self.validity.as_deref(), self.errors.as_deref(), row)
    }

    fn null(&mut self, row: usize) {
        self.validity.get_or_insert_with(|| vec![1; self.n])[row] = 0;
    }

    fn fail(&mut self, row: usize, fault: Fault) {
        self.errors.get_or_insert_with(|| vec![0; self.n])[row] = 1;
        self.fault.get_or_insert(fault);
    }

    fn datum<'a>(self, values: Held<'a>) -> Datum<'a> {
        Datum {
            values,
            validity: self.validity.map(Cow::Owned),
            errors: self.errors,
            fault: self.fault,
            constant: false,
        }
    }

    fn fixed<T: Clone + Default>(&mut self, f: &mut dyn FnMut(usize) -> Result<Option<T>, Fault>) -> Vec<T> {
        let mut out = vec![T::default(); self.n];
        for (row, out) in out.iter_mut().enumerate() {
            if !self.is_asked(row) {
                continue;
            }
            match f(row) {
                Ok(Some(value)) => *out = value,
                Ok(None) => self.null(row),
                Err(fault) => self.fail(row, fault),
            }
        }
        out
    }

    pub(crate) fn ints<'a>(mut self, f: &mut dyn FnMut(usize) -> Result<Option<i64>, Fault>) -> Datum<'a> {
        let values = self.fixed(f);
        self.datum(Held::Int(values.into()))
    }

    /// Doubles; one that is not finite is an error, and there is one zero.
    pub(crate) fn doubles<'a>(mut self, f: &mut dyn FnMut(usize) -> Result<Option<f64>, Fault>) -> Datum<'a> {
        let values = self.fixed(&mut |row| match f(row)? {
            Some(value) if !value.is_finite() => Err(NOT_FINITE),
            value => Ok(value.map(|value| value + 0.0)),
        });
        self.datum(Held::Double(values.into()))
    }

    pub(crate) fn booleans<'a>(mut self, f: &mut dyn FnMut(usize) -> Result<Option<bool>, Fault>) -> Datum<'a> {
        let values = self.fixed(&mut |row| Ok(f(row)?.map(u8::from)));
        self.datum(Held::Boolean(values.into()))
    }

    pub(crate) fn decimals<'a>(mut self, f: &mut dyn FnMut(usize) -> Result<Option<i128>, Fault>) -> Datum<'a> {
        let values = self.fixed(f);
        self.datum(Held::Decimal(values.into()))
    }

    /// Texts: `f` appends one to the buffer and says whether it is a value. One that is too long is an error.
    pub(crate) fn texts<'a>(mut self, f: MakesText<'_>) -> Datum<'a> {
        let mut offsets = Vec::with_capacity(self.n + 1);
        let mut data = Vec::new();
        offsets.push(0);
        for row in 0..self.n {
            let start = data.len();
            if self.is_asked(row) {
                let made = f(row, &mut data);
                let made = made.and_then(|is_value| {
                    if data.len() - start > TEXT_BYTES_MAX {
                        Err(TOO_LONG)
                    } else {
                        Ok(is_value)
                    }
                });
                match made {
                    Ok(true) if u32::try_from(data.len()).is_ok() => (),
                    Ok(true) => {
                        data.truncate(start);
                        self.fail(row, TOO_LONG);
                    }
                    Ok(false) => {
                        data.truncate(start);
                        self.null(row);
                    }
                    Err(fault) => {
                        data.truncate(start);
                        self.fail(row, fault);
                    }
                }
            }
            offsets.push(data.len() as u32);
        }
        self.datum(Held::Text(offsets.into(), data.into()))
    }

    /// Values that were read from text or JSON, of this type.
    pub(crate) fn read<'a>(
        self,
        of: Type,
        f: &mut dyn FnMut(usize) -> Result<Option<crate::forms::Read>, Fault>,
    ) -> Datum<'a> {
        use crate::forms::Read;
        match of.layout() {
            Layout::Int => self.ints(&mut |row| {
                Ok(f(row)?.and_then(|read| if let Read::Int(value) = read { Some(value) } else { None }))
            }),
            Layout::Double => self.doubles(&mut |row| {
                Ok(f(row)?.and_then(|read| {
                    if let Read::Double(value) = read {
                        Some(value)
                    } else {
                        None
                    }
                }))
            }),
            Layout::Boolean => self.booleans(&mut |row| {
                Ok(f(row)?.and_then(|read| {
                    if let Read::Boolean(value) = read {
                        Some(value)
                    } else {
                        None
                    }
                }))
            }),
            Layout::Decimal => self.decimals(&mut |row| {
                Ok(f(row)?.and_then(|read| {
                    if let Read::Decimal(value) = read {
                        Some(value)
                    } else {
                        None
                    }
                }))
            }),
            Layout::Text => self.texts(&mut |row, out| match f(row)? {
                Some(Read::Text(text)) => {
                    out.extend_from_slice(&text);
                    Ok(true)
                }
                _ => Ok(false),
            }),
        }
    }
}

/// The most bytes of a text that is computed.
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 20;

pub(crate) const TOO_LONG: Fault = "the text has more than 1 MiB";
pub(crate) const NOT_FINITE: Fault = "the result is no finite double";
pub(crate) const BEYOND_INT: Fault = "the result is beyond the ints of 64 bits";
pub(crate) const BEYOND_DECIMAL: Fault = "the result has too many digits";
pub(crate) const BEYOND_TIME: Fault = "the result is beyond the years 0 to 9999";
pub(crate) const BY_ZERO: Fault = "it divides by zero";
