//! Pipelines that would feed each other for ever.
//!
//! A pipeline that reads what it publishes itself is refused when it is checked, see `resolve/sinks.rs`. Here it is about
//! several at once. Subjects are compared, and not streams: a subject is one name within an account, whichever streams
//! store it. What a pipeline of another process publishes is not known here; what the stream itself does to subjects is,
//! at start (`nats/subjects.rs`).

use crate::{
    error::{Error, Result},
    model::subject::overlap,
    plan::Plan,
};

/// Checks that no message can come back to the pipeline that published it, through any of the others.
///
/// # Errors
/// With the way around, pipeline by pipeline.
pub fn check_circles<'p>(plans: impl IntoIterator<Item = &'p Plan>) -> Result<()> {
    let plans: Vec<&Plan> = plans.into_iter().collect();
    // Those that no way around leads through: what they feed was looked at, and does not lead back.
    let mut done = Vec::new();
    for plan in &plans {
        let mut way = Vec::new();
        if let Some(around) = around(&plans, plan, &mut way, &mut done) {
            return Err(Error::definition(format!(
                "these pipelines would feed each other for ever: {}; name a subject that none of them reads",
                around.join("; ")
            )));
        }
    }
    Ok(())
}

/// The way from a pipeline back to one that stands in `way` before it, one sentence a pipeline.
fn around<'p>(
    plans: &[&'p Plan],
    at: &'p Plan,
    way: &mut Vec<(&'p str, String)>,
    done: &mut Vec<&'p str>,
) -> Option<Vec<String>> {
    if done.contains(&at.name.as_str()) {
        return None;
    }
    if let Some(begin) = way.iter().position(|(name, _)| *name == at.name) {
        return Some(way.drain(begin..).map(|(_, sentence)| sentence).collect());
    }
    for next in plans {
        let fed = at.published_subjects().into_iter().find_map(|published| {
            let mut read = next.inputs.iter().map(|input| input.subject.as_str());
            read.find(|read| overlap(read, published)).map(|read| (published, read))
        });
        let Some((published, read)) = fed else { continue };
        let sentence = format!(
            "{} publishes to {published}, which {} reads as {read}",
            at.name, next.name
        );
        way.push((&at.name, sentence));
        if let Some(around) = around(plans, next, way, done) {
            return Some(around);
        }
        way.pop();
    }
    done.push(&at.name);
    None
}

#[cfg(test)]
mod tests {
    use super::check_circles;
    use crate::{
        definition::File,
        plan::Plan,
        wasm::{Compiler, StageHost},
    };

    fn plan(host: &StageHost, name: &str, reads: &str, publishes: &str) -> Plan {
        let text = format!(
            "name = \"{name}\"\n[source]\nstream = \"S\"\nsubject = \"{reads}\"\ncolumns = {{ n = \"int\" }}\n\
             [[sink]]\nsubject = \"{publishes}\"\n"
        );
        Plan::build(&File::from_text("test.toml", text), host).unwrap()
    }

    /// What is said of pipelines `NAME READS PUBLISHES`; empty where they are accepted.
    fn check(pipelines: &[&str]) -> String {
        let host = StageHost::new(None, Compiler::InProcess).unwrap();
        let plans: Vec<Plan> = pipelines
            .iter()
            .map(|pipeline| match pipeline.split(' ').collect::<Vec<_>>()[..] {
                [name, reads, publishes] => plan(&host, name, reads, publishes),
                _ => panic!("{pipeline}"),
            })
            .collect();
        check_circles(&plans).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn pipelines_in_a_row_are_accepted_and_those_in_a_circle_are_not() {
        assert_eq!(
            check(&["a orders.> alerts.a", "b alerts.> mails.b", "c mails.* done"]),
            ""
        );
        // Two ways to one place are no circle.
        assert_eq!(
            check(&["a orders alerts.a", "b orders alerts.b", "c alerts.> mails"]),
            ""
        );
        assert_eq!(
            check(&["a orders.> alerts.a", "b alerts.* orders.b"]),
            "these pipelines would feed each other for ever: a publishes to alerts.a, which b reads as alerts.*; b publishes \
             to orders.b, which a reads as orders.>; name a subject that none of them reads"
        );
        // The circle alone is shown, and not the way to it.
        let said = check(&["x start a.0", "a a.* b.1", "b b.* c.1", "c c.* a.1"]);
        assert!(said.contains("c publishes to a.1, which a reads as a.*"), "{said}");
        assert!(!said.contains("x publishes"), "{said}");
    }
}
