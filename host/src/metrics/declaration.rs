//! What a metric is called, what it counts, and what it says: each is declared once, with its instrument.

use std::fmt;

/// A kind of metric, as Prometheus has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows from zero at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts values by their size.
    Histogram,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What it counts, in the plural.
    pub unit: &'static str,
    /// Its labels, that which tells variants apart included.
    pub labels: &'static [&'static str],
    /// The values of that label.
    pub variants: Option<(&'static str, &'static [&'static str])>,
    /// A sentence.
    pub help: &'static str,
}

/// What a metric is now.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a counter or a gauge.
    Number(f64),
    /// Of a histogram.
    Buckets {
        /// Upper bounds, and how many values were not above; the last bound is infinite.
        buckets: Vec<(f64, u64)>,
        /// The sum of all values.
        sum: f64,
    },
}

/// A value of a metric.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Whose.
    pub metric: Declaration,
    /// The labels, in the order of the declaration.
    pub labels: Vec<(&'static str, String)>,
    /// What it is.
    pub value: Value,
}

/// Declares a group of metrics that have labels in common: a struct with an instrument each, and what each is.
macro_rules! declare {
    (
        $(#[$meta:meta])*
        $group:ident $labels:tt
        $($field:ident: $instrument:ty = $name:literal, $unit:literal, $help:literal;)+
    ) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub struct $group {
            $(#[doc = $help] pub $field: $instrument,)+
        }

        impl $group {
            /// Its metrics.
            pub const DECLARED: &'static [Declaration] = &[$(Declaration {
                name: $name,
                kind: <$instrument as Instrument>::KIND,
                unit: $unit,
                labels: &$labels,
                variants: <$instrument as Instrument>::VARIANTS,
                help: $help,
            }),+];

            /// Adds the values of its metrics, which bear these labels.
            fn sample(&self, labels: &[&str], samples: &mut Vec<Sample>) {
                let mut declared = Self::DECLARED.iter();
                $(if let Some(metric) = declared.next() {
                    Instrument::read(&self.$field, &mut |variant, value| {
                        let labels = metric.labels.iter().zip(labels);
                        let labels = labels.map(|(name, value)| (*name, (*value).to_owned()));
                        let variant = metric.variants.zip(variant).map(|((name, _), value)| (name, value.to_owned()));
                        let labels = labels.chain(variant).collect();
                        samples.push(Sample { metric: *metric, labels, value });
                    });
                })+
            }
        }
    };
}

pub(super) use declare;
