//! Pipelines around the guest `hostile`.

use weir::{
    definition::File,
    plan::{Now, Plan},
};
use weir_tests::{guest, replay};

/// What all of them begin with.
const SOURCE: &str = r#"
name = "hostile"
source = { stream = "TEST", subject = "test", columns = { n = "int", id = "int", what = "text", amount = "int" } }
"#;

/// Nothing happens before the guest.
pub(crate) const AFTER_SOURCE: &str = r#"
[[step]]
name = "hostile"
STAGE

[[sink]]
table = "all"

[[sink]]
table = "last"
primary_key = ["id"]
"#;

/// The guest sees rows that an operator has kept already.
pub(crate) const AFTER_LAST_VALUE: &str = r#"
[[step]]
name = "latest"
last_value = { key = ["id"], columns = ["what", "amount"] }

[[step]]
name = "hostile"
STAGE

[[step]]
name = "by-echo"
aggregate = { group_by = ["echo"], columns = { ids = { count_distinct = "id" }, weight = { sum = "weight" } } }

[[sink]]
from = "latest"
table = "latest"
primary_key = ["id"]

[[sink]]
from = "hostile"
table = "echoes"
primary_key = ["id"]

[[sink]]
table = "by_echo"
primary_key = ["echo"]
"#;

/// The guest sees counts and sums, one operator further on.
pub(crate) const AFTER_AGGREGATE: &str = r#"
[[step]]
name = "amounts"
[step.aggregate]
group_by = ["id", "what"]
columns = { events = { count = "*" }, amount = { sum = "amount" }, most = { max = "n" } }

[[step]]
name = "hostile"
STAGE

[[step]]
name = "by-id"
aggregate = { group_by = ["id"], columns = { echoes = { count_distinct = "echo" }, weight = { sum = "weight" } } }

[[sink]]
from = "amounts"
table = "amounts"
primary_key = ["id", "what"]

[[sink]]
table = "by_id"
primary_key = ["id"]
"#;

/// The guest sees which groups come; that one came is state of the step before it.
pub(crate) const AFTER_ON_CROSSING: &str = r#"
[[step]]
name = "latest"
last_value = { key = ["id"], columns = ["what"] }

[[step]]
name = "groups"
aggregate = { group_by = ["id", "what"], columns = { rows = { count = "*" } } }

[[step]]
name = "comings"
on_crossing = {}

[[step]]
name = "hostile"
STAGE

[[sink]]
table = "echoes"

[[sink]]
from = "comings.cleared"
table = "goings"
"#;

/// The guest sees the first of several rows alone. One that it rejects was none, and the next one is the first.
pub(crate) const AFTER_DEDUPLICATE: &str = r#"
[event_time]
column = "n"
unit = "s"
out_of_orderness = "3 s"

[[step]]
name = "first"
deduplicate = { key = ["what"], within = "60 s" }

[[step]]
name = "hostile"
STAGE

[[sink]]
from = "first"
table = "first"

[[sink]]
table = "echoes"
"#;

/// Keys that an event touched, and those that are forgotten with it, are state too.
pub(crate) const AFTER_TTL: &str = r#"
[event_time]
column = "n"
unit = "s"
out_of_orderness = "3 s"

[[step]]
name = "latest"
last_value = { key = ["id"], columns = ["what"], ttl = "20 s" }

[[step]]
name = "comings"
on_crossing = {}

[[step]]
name = "by-what"
from = "source"
aggregate = { group_by = ["what"], ttl = "10 s", columns = { events = { count = "*" }, ids = { count_distinct = "id" } } }

[[step]]
name = "last-three"
from = "source"
window = { sliding = { rows = 3, ttl = "20 s" }, group_by = ["id"], columns = { seen = { count = "*" }, whats = { count_distinct = "what" } } }

[[step]]
name = "hostile"
from = "source"
STAGE

[[sink]]
table = "echoes"

[[sink]]
from = "latest"
table = "latest"
primary_key = ["id"]

[[sink]]
from = "comings"
table = "came"

[[sink]]
from = "comings.cleared"
table = "went"

[[sink]]
from = "last-three"
table = "last_three"

[[sink]]
from = "by-what"
table = "by_what"
primary_key = ["what"]
"#;

/// Rows wait for versions, and both are state. An event is itself a version of its key: of one that is rejected nothing may
/// be left that stands before the version that is valid.
pub(crate) const AFTER_VERSION_LOOKUP: &str = r#"
[event_time]
column = "n"
unit = "s"
out_of_orderness = "3 s"

[[step]]
name = "hours"
window = { tumbling = "10 s", columns = { most = { max = "amount" }, key = { min = "id" } } }

[[step]]
name = "rows"
from = "source"
lookup = { versions_from = "hours", on = { key = "id" } }

[[step]]
name = "ids"
from = "source"
window = { tumbling = "50 s", group_by = ["id"], columns = { events = { count = "*" } } }

[[step]]
name = "last-whats"
lookup = { versions_from = "source", on = { id = "id" }, columns = ["what"] }

[[step]]
name = "hostile"
from = "source"
STAGE

[[sink]]
table = "echoes"

[[sink]]
from = "rows"
table = "rows"

[[sink]]
from = "hours"
table = "hours"

[[sink]]
from = "last-whats"
table = "last_whats"
"#;

/// The guest decides what the next event of the same key finds in the table.
pub(crate) const WITHIN_LOOKUP: &str = r#"
[table.echoes]
primary_key = ["id"]
update_from = "hostile"
columns = { id = "int", echo = "text" }

[[step]]
name = "echo-before"
lookup = { table = "echoes", on = { id = "id" } }

[[step]]
name = "hostile"
STAGE

[[sink]]
from = "echo-before"
table = "seen"

[[sink]]
table = "last"
primary_key = ["id"]
"#;

/// The plan of one of them.
pub(crate) fn plan(pipeline: &str, deadline_ms: u64) -> Plan {
    // 2 MiB of memory would do for the rule; each of these limits is one that some event runs into.
    let limits = format!("limits = {{ memory_mib = 8, output_mib = 1, deadline_ms = {deadline_ms} }}");
    plan_with(pipeline, &limits)
}

/// The plan of one of them, with these keys of the stage.
pub(crate) fn plan_with(pipeline: &str, keys: &str) -> Plan {
    let module = guest("hostile");
    let stage = format!("stage = {{ module = '{}', {keys} }}", module.display());
    let text = format!("{SOURCE}{}", pipeline.replace("STAGE", &stage));
    let mut plan = Plan::build(&File::from_text("hostile.toml", text), replay::host()).expect("the pipeline is fine");
    plan.now = Now::Fixed(replay::GOLDEN_NOW_MS);
    plan
}

/// A row of the lookup table for each key, if there is such a table.
pub(crate) fn lookup_rows(plan: &Plan, keys: usize) -> Vec<u8> {
    let row = |id| format!("{{\"id\":{id},\"echo\":\"first\"}}\n");
    (0..if plan.tables.is_empty() { 0 } else { keys })
        .flat_map(|id| row(id).into_bytes())
        .collect()
}
