//! What looks at an argument only in rows that need it: `and`, `or`, `case`, `coalesce`.

use super::{
    Frame, Rejected, Run,
    datum::{Datum, Held},
    framed,
};
use crate::{
    function::Function,
    program::Node,
    types::{Layout, Type},
};

/// What costs no more than this is computed for every row: leaving rows out costs as much.
const CHEAP: u32 = 24;

/// The rows whose byte is 1.
pub(super) fn rows_of(mask: &[u8]) -> Vec<u32> {
    let mut rows = vec![0u32; mask.len()];
    let mut count = 0;
    for (row, byte) in mask.iter().enumerate() {
        rows[count] = row as u32;
        count += usize::from(*byte & 1);
    }
    rows.truncate(count);
    rows
}

/// What a node gives for some rows: all of the frame, or those that are named.
struct Part<'f> {
    datum: Datum<'f>,
    rows: Option<Vec<u32>>,
}

impl<'a> Run<'a> {
    /// Evaluates a function that looks at its arguments by itself; nothing for any other.
    pub(super) fn lazy<'f>(
        &'f self,
        function: Function,
        arguments: &[u32],
        node: &Node,
        frame: &'f Frame<'f>,
    ) -> Option<Result<Datum<'f>, Rejected>> {
        Some(match function {
            Function::And => self.fold(arguments, frame, false),
            Function::Or => self.fold(arguments, frame, true),
            Function::Case => self.case(arguments, node.of, frame),
            Function::Coalesce => self.coalesce(arguments, node.of, frame),
            Function::Reject => self.reject(arguments, frame),
            _ => return None,
        })
    }

    /// `and` of its arguments, or `or`: the value `decides` decides it, from left to right.
    fn fold<'f>(&'f self, arguments: &[u32], frame: &'f Frame<'f>, decides: bool) -> Result<Datum<'f>, Rejected> {
        let mut all: Option<Datum<'f>> = None;
        for argument in arguments {
            let Some(left) = all.take() else {
                all = Some(self.eval(*argument, frame)?);
                continue;
            };
            let is_cheap = self.cost(*argument) <= CHEAP && !frame.explains;
            let right = match is_cheap {
                true => self.eval(*argument, frame)?,
                false => {
                    let open: Vec<u8> = (0..frame.n)
                        .map(|row| u8::from(!left.is_error(row) && (left.is_null(row) || left.boolean(row) != decides)))
                        .collect();
                    let part = self.part(*argument, frame, &open)?;
                    spread(part, frame.n, decides)
                }
            };
            all = Some(folded(left, right, frame.n, decides));
        }
        Ok(all.unwrap_or_else(|| Datum::nulls(Layout::Boolean, frame.n)))
    }

    fn case<'f>(&'f self, arguments: &[u32], of: Type, frame: &'f Frame<'f>) -> Result<Datum<'f>, Rejected> {
        let mut blend = Blend::new(frame.n);
        for branch in arguments.chunks(2) {
            if blend.is_done() {
                break;
            }
            match branch {
                [condition, value] => {
                    let part = self.part(*condition, frame, &blend.open)?;
                    let taken = blend.taken(&part);
                    let part = self.part(*value, frame, &taken)?;
                    blend.take(part, &taken);
                }
                [rest] => {
                    let part = self.part(*rest, frame, &blend.open)?;
                    let taken = blend.open.clone();
                    blend.take(part, &taken);
                }
                _ => (),
            }
        }
        Ok(blend.finish(of.layout()))
    }

    fn coalesce<'f>(&'f self, arguments: &[u32], of: Type, frame: &'f Frame<'f>) -> Result<Datum<'f>, Rejected> {
        let mut blend = Blend::new(frame.n);
        for argument in arguments {
            if blend.is_done() {
                break;
            }
            let part = self.part(*argument, frame, &blend.open)?;
            // A null is left for the next; an error is taken.
            let taken = blend.mask(&part, |datum, row| datum.is_error(row) || !datum.is_null(row));
            blend.take(part, &taken);
        }
        Ok(blend.finish(of.layout()))
    }

    /// True, and an error where the condition is true. The reason is for those who ask why.
    fn reject<'f>(&'f self, arguments: &[u32], frame: &'f Frame<'f>) -> Result<Datum<'f>, Rejected> {
        let [condition, reason] = arguments else {
            return Ok(Datum::nulls(Layout::Boolean, frame.n));
        };
        let condition = self.eval(*condition, frame)?.expanded(frame.n);
        let fails = |row: usize| condition.is_error(row) || !condition.is_null(row) && condition.boolean(row);
        if frame.explains && fails(0) {
            return Err(self.stated(*reason, frame));
        }
        let errors: Vec<u8> = (0..frame.n).map(|row| u8::from(fails(row))).collect();
        let errors = errors.contains(&1).then_some(errors);
        Ok(Datum {
            errors,
            ..Datum::owned(Held::Boolean(vec![1; frame.n].into()))
        })
    }

    fn cost(&self, node: u32) -> u32 {
        self.of.costs.get(node as usize).copied().unwrap_or(0)
    }

    /// Evaluates a node for the rows that are marked, and for the others as well where that is cheaper.
    fn part<'f>(&'f self, node: u32, frame: &'f Frame<'f>, needed: &[u8]) -> Result<Part<'f>, Rejected> {
        let is_cheap = self.cost(node) <= CHEAP && !frame.explains;
        let count = needed.iter().map(|byte| usize::from(*byte)).sum::<usize>();
        if is_cheap || count == frame.n {
            return Ok(Part {
                datum: self.eval(node, frame)?,
                rows: None,
            });
        }
        let rows = rows_of(needed);
        if rows.is_empty() {
            let layout = self
                .of
                .program
                .nodes
                .get(node as usize)
                .map_or(Layout::Int, |node| node.of.layout());
            return Ok(Part {
                datum: Datum::nulls(layout, 0),
                rows: Some(rows),
            });
        }
        let gathered = self.gathered(frame, &rows, &[node]);
        let some = framed(&gathered, rows.len(), frame.explains);
        let datum = self.eval(node, &some)?;
        let errors = datum.errors.clone();
        let constant = datum.constant;
        let column = match constant {
            true => datum.into_column(1),
            false => datum.into_column(rows.len()),
        };
        let datum = Datum {
            validity: column.validity.map(Into::into),
            errors,
            fault: None,
            constant,
            ..Datum::owned(held(column.values))
        };
        Ok(Part {
            datum,
            rows: Some(rows),
        })
    }
}

fn held<'a>(values: crate::column::Values) -> Held<'a> {
    use crate::column::Values;
    match values {
        Values::Int(values) => Held::Int(values.into()),
        Values::Double(values) => Held::Double(values.into()),
        Values::Boolean(values) => Held::Boolean(values.into()),
        Values::Text { offsets, data } => Held::Text(offsets.into(), data.into()),
        Values::Decimal(values) => Held::Decimal(values.into()),
    }
}

/// A boolean of some rows as one of all: what decides nothing stands in the others.
fn spread(part: Part<'_>, n: usize, decides: bool) -> Datum<'_> {
    let Some(rows) = part.rows else { return part.datum };
    let mut values = vec![u8::from(!decides); n];
    let (mut validity, mut errors) = (None::<Vec<u8>>, None::<Vec<u8>>);
    for (at, row) in rows.iter().enumerate() {
        let row = *row as usize;
        values[row] = u8::from(part.datum.boolean(at));
        if part.datum.is_null(at) {
            validity.get_or_insert_with(|| vec![1; n])[row] = 0;
        }
        if part.datum.is_error(at) {
            errors.get_or_insert_with(|| vec![0; n])[row] = 1;
        }
    }
    Datum {
        validity: validity.map(Into::into),
        errors,
        ..Datum::owned(Held::Boolean(values.into()))
    }
}

/// `left and right` or `left or right`, in three values.
pub(super) fn folded<'f>(left: Datum<'f>, right: Datum<'f>, n: usize, decides: bool) -> Datum<'f> {
    let constant = left.constant && right.constant;
    let n = if constant { 1 } else { n };
    let widened = |datum: Datum<'f>| if constant { datum } else { datum.expanded(n) };
    let (left, right) = (widened(left), widened(right));
    let (a, b) = (left.booleans(), right.booleans());
    let is_plain = |datum: &Datum<'_>| datum.validity.is_none() && datum.errors.is_none();
    if is_plain(&left) && is_plain(&right) {
        let values: Vec<u8> = match decides {
            true => a.iter().zip(b).map(|(a, b)| a | b).collect(),
            false => a.iter().zip(b).map(|(a, b)| a & b).collect(),
        };
        return Datum {
            constant,
            ..Datum::owned(Held::Boolean(values.into()))
        };
    }
    // `or` is `and` of the opposites, so that what decides is always 0.
    let flip = u8::from(decides);
    let (mut values, mut validity) = (Vec::with_capacity(n), Vec::with_capacity(n));
    let mut errors = (left.errors.is_some() || right.errors.is_some()).then(|| Vec::with_capacity(n));
    let ones = vec![1u8; n];
    let zeros = vec![0u8; n];
    let (va, vb) = (
        left.validity.as_deref().unwrap_or(&ones),
        right.validity.as_deref().unwrap_or(&ones),
    );
    for (((a, b), va), vb) in a.iter().zip(b).zip(va).zip(vb) {
        let (a, b) = (a ^ flip, b ^ flip);
        values.push(((a & va) & (b & vb)) ^ flip);
        validity.push((va & vb) | (va & (1 - a)) | (vb & (1 - b)));
    }
    if let Some(errors) = &mut errors {
        let (ea, eb) = (
            left.errors.as_deref().unwrap_or(&zeros),
            right.errors.as_deref().unwrap_or(&zeros),
        );
        for (((ea, eb), a), va) in ea.iter().zip(eb).zip(a).zip(va) {
            errors.push(ea | (eb & (1 - (va & (1 - (a ^ flip))))));
        }
    }
    Datum {
        validity: Some(validity.into()),
        errors,
        constant,
        ..Datum::owned(Held::Boolean(values.into()))
    }
}

/// A column that is put together of parts, row by row.
struct Blend<'f> {
    n: usize,
    parts: Vec<Datum<'f>>,
    /// For each row the part and the place in it.
    chosen: Vec<(u32, u32)>,
    /// The rows that no part was chosen for.
    open: Vec<u8>,
    errors: Option<Vec<u8>>,
}

const NO_PART: u32 = u32::MAX;

impl<'f> Blend<'f> {
    fn new(n: usize) -> Self {
        Blend {
            n,
            parts: Vec::new(),
            chosen: vec![(NO_PART, 0); n],
            open: vec![1; n],
            errors: None,
        }
    }

    fn is_done(&self) -> bool {
        self.n > 0 && !self.open.contains(&1)
    }

    /// The open rows of which something is so in a part.
    fn mask(&self, part: &Part<'_>, is: impl Fn(&Datum<'_>, usize) -> bool) -> Vec<u8> {
        match &part.rows {
            None => (0..self.n)
                .map(|row| self.open[row] & u8::from(is(&part.datum, row)))
                .collect(),
            Some(rows) => {
                let mut mask = vec![0; self.n];
                for (at, row) in rows.iter().enumerate() {
                    mask[*row as usize] = self.open[*row as usize] & u8::from(is(&part.datum, at));
                }
                mask
            }
        }
    }

    /// The open rows in which a condition is true. Where it is an error, the row is one, and closed.
    fn taken(&mut self, condition: &Part<'_>) -> Vec<u8> {
        if condition.datum.errors.is_some() {
            let failed = self.mask(condition, |datum, row| datum.errors.is_some() && datum.is_error(row));
            let errors = self.errors.get_or_insert_with(|| vec![0; self.n]);
            for row in 0..self.n {
                errors[row] |= failed[row];
                self.open[row] &= 1 - failed[row];
            }
        }
        self.mask(condition, |datum, row| !datum.is_null(row) && datum.boolean(row))
    }

    /// Chooses a part for these rows.
    fn take(&mut self, part: Part<'f>, taken: &[u8]) {
        let number = self.parts.len() as u32;
        let mut choose = |row: usize, at: usize| {
            if taken[row] != 0 {
                self.chosen[row] = (number, at as u32);
                self.open[row] = 0;
                if part.datum.is_error(at) {
                    self.errors.get_or_insert_with(|| vec![0; self.n])[row] = 1;
                }
            }
        };
        match &part.rows {
            None => (0..self.n).for_each(|row| choose(row, row)),
            Some(rows) => rows.iter().enumerate().for_each(|(at, row)| choose(*row as usize, at)),
        }
        self.parts.push(part.datum);
    }

    fn finish(self, layout: Layout) -> Datum<'f> {
        let mut errors = self.errors;
        let of = |(part, at): (u32, u32)| self.parts.get(part as usize).map(|datum| (datum, at as usize));
        let validity: Vec<u8> = self
            .chosen
            .iter()
            .map(|chosen| u8::from(of(*chosen).is_some_and(|(datum, at)| !datum.is_null(at))))
            .collect();
        macro_rules! fixed {
            ($held:ident, $get:ident, $none:expr) => {{
                let pick = |chosen: &(u32, u32)| of(*chosen).map_or($none, |(datum, at)| datum.$get()[datum.at(at)]);
                Held::$held(self.chosen.iter().map(pick).collect::<Vec<_>>().into())
            }};
        }
        let values = match layout {
            Layout::Int => fixed!(Int, ints, 0),
            Layout::Double => fixed!(Double, doubles, 0.0),
            Layout::Boolean => fixed!(Boolean, booleans, 0),
            Layout::Decimal => fixed!(Decimal, decimals, 0),
            Layout::Text => {
                let (mut offsets, mut data) = (vec![0u32], Vec::new());
                for (row, chosen) in self.chosen.iter().enumerate() {
                    if let Some((datum, at)) = of(*chosen).filter(|_| validity[row] != 0) {
                        match data.len() + datum.text(at).len() > u32::MAX as usize {
                            true => errors.get_or_insert_with(|| vec![0; self.n])[row] = 1,
                            false => data.extend_from_slice(datum.text(at)),
                        }
                    }
                    offsets.push(data.len() as u32);
                }
                Held::Text(offsets.into(), data.into())
            }
        };
        let validity = validity.contains(&0).then(|| validity.into());
        Datum {
            validity,
            errors,
            ..Datum::owned(values)
        }
    }
}
