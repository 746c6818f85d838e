//! What counts and measures: atomics that one thread writes and any thread reads.

use super::declaration::{Kind, Value};
use std::{
    marker::PhantomData,
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

const NANOS_PER_SECOND: f64 = 1e9;

/// What a declared metric is made of.
pub trait Instrument {
    /// What kind of metric it is.
    const KIND: Kind;
    /// The label that tells its values apart, and the values of that label; nothing for a single value.
    const VARIANTS: Option<(&'static str, &'static [&'static str])> = None;
    /// Gives each value with the variant that it is of. An absent value is left out.
    fn read(&self, each: &mut dyn FnMut(Option<&'static str>, Value));
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts more.
    pub fn add(&self, more: u64) {
        if more > 0 {
            self.0.fetch_add(more, Relaxed);
        }
    }

    /// The count since the start.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Instrument for Counter {
    const KIND: Kind = Kind::Counter;

    fn read(&self, each: &mut dyn FnMut(Option<&'static str>, Value)) {
        each(None, Value::Number(self.get() as f64));
    }
}

/// A time that only grows.
#[derive(Debug, Default)]
pub struct TimeCounter(Counter);

impl TimeCounter {
    /// Counts more.
    pub fn add(&self, more: Duration) {
        self.0.add(more.as_nanos() as u64);
    }

    /// The time since the start.
    pub fn get(&self) -> Duration {
        Duration::from_nanos(self.0.get())
    }
}

impl Instrument for TimeCounter {
    const KIND: Kind = Kind::Counter;

    fn read(&self, each: &mut dyn FnMut(Option<&'static str>, Value)) {
        each(None, Value::Number(self.get().as_secs_f64()));
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// It is this now.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// It is at least this.
    pub fn raise(&self, value: u64) {
        self.0.fetch_max(value, Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Instrument for Gauge {
    const KIND: Kind = Kind::Gauge;

    fn read(&self, each: &mut dyn FnMut(Option<&'static str>, Value)) {
        each(None, Value::Number(self.get() as f64));
    }
}

/// How long something took last.
#[derive(Debug, Default)]
pub struct DurationGauge(Gauge);

impl DurationGauge {
    /// It is this now.
    pub fn set(&self, value: Duration) {
        self.0.set(value.as_nanos() as u64);
    }

    /// What it is.
    pub fn get(&self) -> Duration {
        Duration::from_nanos(self.0.get())
    }
}

impl Instrument for DurationGauge {
    const KIND: Kind = Kind::Gauge;

    fn read(&self, each: &mut dyn FnMut(Option<&'static str>, Value)) {
        each(None, Value::Number(self.get().as_secs_f64()));
    }
}

/// An instant that moves; absent until it is known.
#[derive(Debug)]
pub struct TimeGauge(AtomicI64);

const UNKNOWN: i64 = i64::MIN;

impl Default for TimeGauge {
    fn default() -> Self {
        Self(AtomicI64::new(UNKNOWN))
    }
}

impl TimeGauge {
    /// It is this now, in milliseconds since 1970-01-01T00:00:00Z.
    pub fn set_ms(&self, value_ms: i64) {
        self.0.store(value_ms, Relaxed);
    }

    /// What it is, in milliseconds since 1970-01-01T00:00:00Z.
    pub fn get_ms(&self) -> Option<i64> {
        Some(self.0.load(Relaxed)).filter(|&value| value != UNKNOWN)
    }
}

impl Instrument for TimeGauge {
    const KIND: Kind = Kind::Gauge;

    fn read(&self, each: &mut dyn FnMut(Option<&'static str>, Value)) {
        if let Some(value_ms) = self.get_ms() {
            each(None, Value::Number(value_ms as f64 / 1e3));
        }
    }
}

/// A number that is known only sometimes.
#[derive(Debug, Default)]
pub struct KnownGauge(AtomicU64);

impl KnownGauge {
    /// It is this now, or not known.
    pub fn set(&self, value: Option<u64>) {
        self.0.store(value.map_or(0, |value| value.saturating_add(1)), Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> Option<u64> {
        self.0.load(Relaxed).checked_sub(1)
    }
}

impl Instrument for KnownGauge {
    const KIND: Kind = Kind::Gauge;

    fn read(&self, each: &mut dyn FnMut(Option<&'static str>, Value)) {
        if let Some(value) = self.get() {
            each(None, Value::Number(value as f64));
        }
    }
}

/// What tells the counts of a [`CounterBy`] apart.
pub trait Variant: Copy {
    /// The label.
    const LABEL: &'static str;
    /// Its values, in the order of [`Variant::index`].
    const NAMES: &'static [&'static str];
    /// Which of them it is.
    fn index(self) -> usize;
}

/// The most variants of a [`CounterBy`].
const VARIANTS_MAX: usize = 4;

/// Counts by what they are of, whose sum is a count as well.
#[derive(Debug)]
pub struct CounterBy<V> {
    counts: [Counter; VARIANTS_MAX],
    variants: PhantomData<fn(V)>,
}

impl<V> Default for CounterBy<V> {
    fn default() -> Self {
        Self {
            counts: Default::default(),
            variants: PhantomData,
        }
    }
}

impl<V: Variant> CounterBy<V> {
    const FITS: () = assert!(V::NAMES.len() <= VARIANTS_MAX);

    /// Counts more of `variant`.
    pub fn add(&self, variant: V, more: u64) {
        let () = Self::FITS;
        if let Some(count) = self.counts.get(variant.index()) {
            count.add(more);
        }
    }

    /// The count of `variant` since the start.
    pub fn get(&self, variant: V) -> u64 {
        self.counts.get(variant.index()).map_or(0, Counter::get)
    }

    /// The count of all of them.
    pub fn sum(&self) -> u64 {
        self.counts.iter().map(Counter::get).sum()
    }
}

impl<V: Variant> Instrument for CounterBy<V> {
    const KIND: Kind = Kind::Counter;
    const VARIANTS: Option<(&'static str, &'static [&'static str])> = Some((V::LABEL, V::NAMES));

    fn read(&self, each: &mut dyn FnMut(Option<&'static str>, Value)) {
        for (name, count) in V::NAMES.iter().zip(&self.counts) {
            each(Some(name), Value::Number(count.get() as f64));
        }
    }
}

/// The upper bounds of a histogram's buckets, in what it counts (nanoseconds, or events); the last has none.
pub trait Bounds {
    /// In ascending order.
    const BOUNDS: &'static [u64];
    /// How many of what it counts are one unit of the metric.
    const PER_UNIT: f64 = 1.0;
}

/// The most buckets of a [`Histogram`].
const BUCKETS_MAX: usize = 16;

/// How often values lay between which bounds.
#[derive(Debug)]
pub struct Histogram<B> {
    buckets: [Counter; BUCKETS_MAX],
    sum: Counter,
    bounds: PhantomData<fn(B)>,
}

impl<B> Default for Histogram<B> {
    fn default() -> Self {
        Self {
            buckets: Default::default(),
            sum: Counter::default(),
            bounds: PhantomData,
        }
    }
}

impl<B: Bounds> Histogram<B> {
    const FITS: () = assert!(B::BOUNDS.len() < BUCKETS_MAX);

    /// Takes note of a value.
    pub fn record(&self, value: u64) {
        let () = Self::FITS;
        let bucket = B::BOUNDS.partition_point(|&bound| bound < value);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.add(1);
        }
        self.sum.add(value);
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::get).sum()
    }
}

impl<B: Bounds> Instrument for Histogram<B> {
    const KIND: Kind = Kind::Histogram;

    fn read(&self, each: &mut dyn FnMut(Option<&'static str>, Value)) {
        let mut count = 0;
        let bounds = B::BOUNDS.iter().map(|&bound| bound as f64 / B::PER_UNIT);
        let buckets = bounds.chain([f64::INFINITY]).zip(&self.buckets);
        let buckets = buckets.map(|(bound, bucket)| {
            count += bucket.get();
            (bound, count)
        });
        let buckets = buckets.collect();
        let sum = self.sum.get() as f64 / B::PER_UNIT;
        each(None, Value::Buckets { buckets, sum });
    }
}

/// From a millisecond to half a minute.
#[derive(Debug)]
pub struct Durations;

impl Bounds for Durations {
    const BOUNDS: &'static [u64] = &[
        1_000_000,
        2_500_000,
        5_000_000,
        10_000_000,
        25_000_000,
        50_000_000,
        100_000_000,
        250_000_000,
        500_000_000,
        1_000_000_000,
        2_500_000_000,
        5_000_000_000,
        10_000_000_000,
        30_000_000_000,
    ];
    const PER_UNIT: f64 = NANOS_PER_SECOND;
}

impl Histogram<Durations> {
    /// Takes note of a time.
    pub fn record_time(&self, time: Duration) {
        self.record(time.as_nanos() as u64);
    }
}

/// From one to a million.
#[derive(Debug)]
pub struct Amounts;

impl Bounds for Amounts {
    const BOUNDS: &'static [u64] = &[1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(instrument: &impl Instrument) -> Vec<(Option<&'static str>, Value)> {
        let mut values = Vec::new();
        instrument.read(&mut |variant, value| values.push((variant, value)));
        values
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let (time, number) = (TimeGauge::default(), KnownGauge::default());
        assert!(values(&time).is_empty() && values(&number).is_empty());
        time.set_ms(-1_500);
        number.set(Some(0));
        assert_eq!(values(&time), [(None, Value::Number(-1.5))]);
        assert_eq!(values(&number), [(None, Value::Number(0.0))]);
        number.set(None);
        assert!(values(&number).is_empty());
    }

    #[test]
    fn the_buckets_of_a_histogram_are_cumulative_and_end_with_all() {
        let histogram = Histogram::<Amounts>::default();
        for value in [0, 1, 2, 10, 11, 5_000_000] {
            histogram.record(value);
        }
        let Some((None, Value::Buckets { buckets, sum })) = values(&histogram).pop() else {
            panic!("a histogram has buckets");
        };
        assert_eq!(&buckets[..3], [(1.0, 2), (10.0, 4), (100.0, 5)]);
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, histogram.count())));
        assert_eq!((histogram.count(), sum), (6, 5_000_024.0));
    }
}
