//! Two rules over a changelog, one behind the other: versions of the first are deployed, and the pipeline file names others
//! of the second.

pub(super) mod model;

use std::collections::BTreeMap;
use weir::{model::deployment::Deployment, nats::Registry};
use weir_tests::{guest, seed::Random, swaps};

/// The pipeline's name. It reads the events of [`swaps`].
pub(super) const PIPELINE: &str = "totals";

/// The rule that versions are deployed to, and the one behind it.
pub(super) const DEPLOYED: &str = "deployed";
pub(super) const FILED: &str = "filed";

/// Where the rows of the two outputs of the crossing go.
pub(super) const RAISED: &str = "alerts.totals.raised";
pub(super) const CLEARED: &str = "alerts.totals.cleared";

/// Rows that what is deployed is on trial for. What the pipeline file names is on none.
pub(super) const TRIAL_ROWS: u64 = 150;

/// Levels that a rule tells apart.
const LEVELS: i64 = 100;

/// Levels that a risky version fails at: few enough for all current rows to have others.
const RISKY: i64 = 6;

/// How a version is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It takes every row.
    Good,
    /// It takes the current rows, if they have not changed by then, and not all that come.
    Risky,
    /// It fails at so many levels that some current row has one of them.
    Bad,
}

impl Kind {
    pub(super) fn any(random: &mut Random) -> Self {
        match random.below(6) {
            0 => Self::Bad,
            1 | 2 => Self::Risky,
            _ => Self::Good,
        }
    }
}

/// A version of either rule, as its parameters say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) label: i64,
    threshold: i64,
    raise: i64,
    fails_from: i64,
    fails_to: i64,
}

/// What a rule adds to a row that it lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) label: i64,
    pub(super) raise: bool,
}

impl Rule {
    /// A version for a pipeline whose current rows are these.
    pub(super) fn new(kind: Kind, label: u64, current: &[i64], random: &mut Random) -> Self {
        let mut below = |count: i64| random.below(count as usize) as i64;
        // Either rule often decides alone whether a key is raised.
        let (threshold, raise) = (below(70), 10 + below(60));
        let is_free = |from: &i64| !current.iter().any(|n| (*from..from + RISKY).contains(&level(*n)));
        let (fails_from, fails_to) = match kind {
            Kind::Good => (0, 0),
            Kind::Risky => {
                let first = below(LEVELS - RISKY);
                let each = (0..=LEVELS - RISKY).map(|at| (first + at) % (LEVELS - RISKY + 1));
                let from = each.clone().find(is_free).unwrap_or(first);
                (from, from + RISKY)
            }
            Kind::Bad => {
                let from = below(LEVELS / 2);
                (from, from + LEVELS / 2)
            }
        };
        Self {
            label: label as i64,
            threshold,
            raise,
            fails_from,
            fails_to,
        }
    }

    /// A version that takes every row, and lets through those from a level on.
    pub(super) fn good(label: u64, threshold: i64, raise: i64) -> Self {
        Self {
            label: label as i64,
            threshold,
            raise,
            fails_from: 0,
            fails_to: 0,
        }
    }

    fn parameters(self) -> BTreeMap<String, toml::Value> {
        let all = [
            ("label", self.label),
            ("threshold", self.threshold),
            ("raise", self.raise),
            ("fails_from", self.fails_from),
            ("fails_to", self.fails_to),
        ];
        let all = all.map(|(name, value)| (name.to_owned(), toml::Value::Integer(value)));
        all.into()
    }

    /// The one that a database tells of.
    pub(super) fn of(deployment: &Deployment) -> Self {
        let parameter = |name: &str| {
            let value = deployment.parameters.get(name).and_then(toml::Value::as_integer);
            value.expect("each version has all parameters")
        };
        Self {
            label: parameter("label"),
            threshold: parameter("threshold"),
            raise: parameter("raise"),
            fails_from: parameter("fails_from"),
            fails_to: parameter("fails_to"),
        }
    }

    pub(super) fn fails(self, n: i64) -> bool {
        (self.fails_from..self.fails_to).contains(&level(n))
    }

    /// Nothing also where it fails: the row has no effect further on then.
    pub(super) fn judge(self, n: i64) -> Option<Given> {
        (level(n) >= self.threshold && !self.fails(n)).then_some(Given {
            label: self.label,
            raise: level(n) >= self.raise,
        })
    }
}

fn level(n: i64) -> i64 {
    n.rem_euclid(LEVELS)
}

/// What has to be deployed here for a process to come by a point.
pub(super) fn kind_for(point: &str) -> Option<Kind> {
    match point {
        "in-refusal" => Some(Kind::Bad),
        "judging-back" | "in-take-back" => Some(Kind::Risky),
        "rehearsing" | "in-hand-over" | "in-rehearsal" | "rehearsed" | "before-rejudged" | "after-rejudged" => {
            Some(Kind::Good)
        }
        _ => None,
    }
}

/// Whether a process comes by a point where the pipeline file was changed.
pub(super) fn is_of_file(point: &str) -> bool {
    ["before-file-swap", "after-file-swap"].contains(&point)
}

/// The pipeline file, with these rules.
pub(super) fn pipeline_text(deployed: Rule, filed: Rule) -> String {
    let stage = |rule: Rule, trial: u64| {
        let parameters = rule.parameters().into_iter();
        let parameters: Vec<String> = parameters.map(|(name, value)| format!("{name} = {value}")).collect();
        format!(
            "stage = {{ module = '{}', parameters = {{ {} }}, trial = {{ rows = {trial} }} }}",
            guest("thresholds").display(),
            parameters.join(", ")
        )
    };
    let (deployed, filed) = (stage(deployed, TRIAL_ROWS), stage(filed, 0));
    format!(
        r#"
name = "{PIPELINE}"
source = {{ stream = "EVENTS", subject = "events", columns = {{ n = "int", k = "text" }} }}

[[step]]
name = "sums"
aggregate = {{ group_by = ["k"], columns = {{ n = {{ sum = "n" }} }} }}

[[step]]
name = "{DEPLOYED}"
{deployed}

[[step]]
name = "{FILED}"
{filed}

[[step]]
name = "by-label"
from = "{DEPLOYED}"
aggregate = {{ group_by = ["label"], columns = {{ keys = {{ count = "*" }}, total = {{ sum = "n" }} }} }}

[[step]]
name = "crossed"
from = "{FILED}"
on_crossing = {{ key = ["k"], raise = "raise" }}

[[sink]]
from = "sums"
table = "current"
primary_key = ["k"]

[[sink]]
from = "{DEPLOYED}"
table = "let_through"
primary_key = ["k"]
columns = ["k", "n", "label"]

[[sink]]
from = "{FILED}"
table = "kept"
primary_key = ["k"]
columns = ["k", "n", "label"]

[[sink]]
from = "by-label"
table = "by_label"
primary_key = ["label"]

[[sink]]
from = "crossed"
subject = "{RAISED}"
columns = ["k", "n", "label"]

[[sink]]
from = "crossed.cleared"
subject = "{CLEARED}"
columns = ["k", "n", "label"]
"#
    )
}

/// Deploys the next version, past the checks of the command. Its label is its number.
#[track_caller]
pub(super) fn deploy(registry: &Registry, mut rule_of: impl FnMut(u64) -> Rule) -> (u64, Rule) {
    let path = guest("thresholds");
    let digest = swaps::digest(&path);
    let component = std::fs::read(&path).expect("the module can be read");
    let stored = registry.put_module(&digest, &component);
    stored.expect("the registry takes the module");
    let mut rule = None;
    let made = registry.deploy(PIPELINE, DEPLOYED, |before| {
        let number = before.map_or(1, |before| before.version + 1);
        let next = *rule.get_or_insert_with(|| rule_of(number));
        Ok(Deployment {
            digest: Some(digest.clone()),
            parameters: next.parameters(),
            by: "test".to_owned(),
            ..Default::default()
        })
    });
    let version = made.expect("the registry takes the deployment").version;
    (version, rule.expect("it was asked for"))
}
