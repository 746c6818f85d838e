//! Figures, as a table for people and as JSON for programs.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::{Value as Json, json};

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

/// One figure with its baseline.
#[derive(Debug)]
pub(crate) struct Figure {
    /// The part of the benchmark.
    pub(crate) part: &'static str,
    /// What was measured.
    pub(crate) what: String,
    /// How much it was.
    pub(crate) value: f64,
    /// The unit of `value` and of the baseline.
    pub(crate) unit: &'static str,
    /// The same thing done otherwise, in the same run.
    pub(crate) baseline: f64,
    /// How it was done there.
    pub(crate) baseline_what: &'static str,
    /// What is promised.
    pub(crate) targets: Vec<Target>,
    /// More of the same measurement: name, value, unit.
    pub(crate) also: Vec<(&'static str, f64, &'static str)>,
}

/// A promise about a figure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// The value is at most this.
    Most(f64),
    /// The value is at least this.
    Least(f64),
    /// The value is at most this many times the baseline.
    MostTimesBaseline(f64),
    /// The value is at least this many times the baseline.
    LeastTimesBaseline(f64),
    /// The value of this name in [`Figure::also`] is at most this.
    AlsoMost(&'static str, f64),
}

impl Report {
    /// Adds a figure, and says it.
    pub(crate) fn add(&mut self, figure: Figure) {
        let ratio = figure.ratio();
        crate::say(format_args!(
            "{}: {}: {} {} ({ratio:.2} times {})",
            figure.part,
            figure.what,
            number(figure.value),
            figure.unit,
            figure.baseline_what
        ));
        self.figures.push(figure);
    }

    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table
            .load_style(UTF8_HORIZONTAL_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["part", "what", "figure", "", "baseline", "", "ratio", "target", "also"]);
        for figure in &self.figures {
            table.add_row([
                figure.part.to_owned(),
                figure.what.clone(),
                number(figure.value),
                figure.unit.to_owned(),
                number(figure.baseline),
                figure.baseline_what.to_owned(),
                format!("{:.2}", figure.ratio()),
                figure
                    .targets
                    .iter()
                    .map(|target| target.shown(figure))
                    .collect::<Vec<_>>()
                    .join("\n"),
                figure
                    .also
                    .iter()
                    .map(|(name, value, unit)| format!("{name} {} {unit}", number(*value)))
                    .collect::<Vec<_>>()
                    .join("\n"),
            ]);
        }
        for column in [2, 4, 6] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        format!("{table}\n")
    }

    /// A JSON object with the list of figures.
    pub(crate) fn json(&self) -> String {
        let figures: Vec<Json> = self.figures.iter().map(Figure::json).collect();
        let mut text = serde_json::to_string_pretty(&json!({ "figures": figures })).unwrap_or_default();
        text.push('\n');
        text
    }
}

impl Figure {
    fn ratio(&self) -> f64 {
        self.value / self.baseline
    }

    fn json(&self) -> Json {
        let also: serde_json::Map<String, Json> = self
            .also
            .iter()
            .map(|(name, value, unit)| ((*name).to_owned(), json!({ "value": value, "unit": unit })))
            .collect();
        let targets: Vec<Json> = self
            .targets
            .iter()
            .map(|target| json!({ "target": target.text(self), "met": target.is_met(self) }))
            .collect();
        json!({
            "part": self.part,
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "baseline": { "value": self.baseline, "what": self.baseline_what },
            "ratio": self.ratio(),
            "targets": targets,
            "also": also,
        })
    }
}

impl Target {
    fn is_met(self, figure: &Figure) -> bool {
        match self {
            Self::Most(most) => figure.value <= most,
            Self::Least(least) => figure.value >= least,
            Self::MostTimesBaseline(most) => figure.ratio() <= most,
            Self::LeastTimesBaseline(least) => figure.ratio() >= least,
            Self::AlsoMost(name, most) => figure.also.iter().any(|(of, value, _)| *of == name && *value <= most),
        }
    }

    fn text(self, figure: &Figure) -> String {
        let unit = |name| {
            figure
                .also
                .iter()
                .find(|(of, ..)| *of == name)
                .map_or("", |(.., unit)| *unit)
        };
        match self {
            Self::Most(most) => format!("at most {} {}", number(most), figure.unit),
            Self::Least(least) => format!("at least {} {}", number(least), figure.unit),
            Self::MostTimesBaseline(most) => format!("at most {most} times the baseline"),
            Self::LeastTimesBaseline(least) => format!("at least {least} times the baseline"),
            Self::AlsoMost(name, most) => format!("{name} at most {} {}", number(most), unit(name)),
        }
    }

    fn shown(self, figure: &Figure) -> String {
        format!(
            "{}: {}",
            self.text(figure),
            if self.is_met(figure) { "met" } else { "MISSED" }
        )
    }
}

/// A number with as many digits as mean something: `1 234 567`, `48.3`, `0.91`.
fn number(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 1_000.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    shown
}
