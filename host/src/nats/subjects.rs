//! What a stream does to subjects: whether it can hold what the pipeline reads, and under which subject it would store what
//! the pipeline publishes.

use crate::{
    error::{Error, Result},
    model::subject::{listed, overlap},
};
use async_nats::jetstream::stream::{Config, Source, SubjectTransform};

/// Checks that nothing that is published comes back under a subject that is read.
///
/// # Errors
/// With the subject under which the stream would store it.
pub(super) fn check_not_stored(config: &Config, reads: &[String], published: &[String]) -> Result<()> {
    for subject in published {
        for stored in stored_as(config, subject) {
            if let Some(read) = reads.iter().find(|read| overlap(read, &stored)) {
                return Err(Error::definition(format!(
                    "what the pipeline publishes to {subject} would come back as an event: stream {} stores it as {stored}, \
                     and the pipeline reads {read}; name a subject that the stream does not store",
                    config.name
                )));
            }
        }
    }
    Ok(())
}

/// Checks that the stream can hold messages of each subject that is read. `is_stored` says whether it holds some already,
/// from when its subjects were others.
///
/// # Errors
/// With the subjects that it takes.
pub(super) fn check_can_match(config: &Config, reads: &[String], is_stored: impl Fn(&str) -> bool) -> Result<()> {
    let Some(taken) = taken_by(config) else { return Ok(()) };
    let can_match = |read: &str| taken.iter().any(|taken| overlap(read, taken)) || is_stored(read);
    match reads.iter().find(|read| !can_match(read)) {
        None => Ok(()),
        Some(read) => Err(Error::definition(format!(
            "no message of stream {0} can have the subject {read}: the stream takes {1}; mend `subject` in the pipeline file, \
             or let the stream take it, with\n  nats stream edit {0} --subjects '{2},{read}'",
            config.name,
            listed(&taken),
            config.subjects.join(",")
        ))),
    }
}

/// The subjects under which messages may lie in the stream; nothing where that depends on another stream.
fn taken_by(config: &Config) -> Option<Vec<String>> {
    let from_others = config.mirror.is_some() || config.sources.as_ref().is_some_and(|sources| !sources.is_empty());
    if from_others {
        return None;
    }
    Some(match &config.subject_transform {
        None => config.subjects.clone(),
        Some(transform) => {
            let stored = config.subjects.iter().map(|subject| transformed(transform, subject));
            let stored = stored.flatten();
            // What its source does not take stays as it is.
            stored.chain(config.subjects.iter().cloned()).collect()
        }
    })
}

/// The subjects under which the stream may store a message that is published to `subject`.
fn stored_as(config: &Config, subject: &str) -> Vec<String> {
    let mut stored = Vec::new();
    let of_stream = |subject: String| match &config.subject_transform {
        Some(transform) => transformed(transform, &subject).unwrap_or(subject),
        None => subject,
    };
    if config.subjects.iter().any(|taken| overlap(taken, subject)) {
        stored.push(of_stream(subject.to_owned()));
    }
    let sources = config.sources.iter().flatten().chain(&config.mirror);
    for source in sources {
        stored.extend(sourced_as(source, subject));
    }
    stored
}

/// The subjects under which a message comes out of another stream, if that stream takes it.
fn sourced_as(source: &Source, subject: &str) -> Vec<String> {
    if source.subject_transforms.is_empty() {
        let passes = source
            .filter_subject
            .as_ref()
            .is_none_or(|filter| overlap(filter, subject));
        return passes.then(|| subject.to_owned()).into_iter().collect();
    }
    let transforms = source.subject_transforms.iter();
    transforms
        .filter_map(|transform| transformed(transform, subject))
        .collect()
}

/// What a transform makes of a subject; nothing where it does not take it. A part that is computed (a partition, a slice) may
/// be anything: it is `*`.
fn transformed(transform: &SubjectTransform, subject: &str) -> Option<String> {
    if !transform.source.is_empty() && !overlap(&transform.source, subject) {
        return None;
    }
    if transform.destination.is_empty() {
        return Some(subject.to_owned());
    }
    let source: Vec<&str> = transform.source.split('.').collect();
    let names: Vec<&str> = subject.split('.').collect();
    // What the wildcards of the source stand for.
    let wildcards: Vec<&str> = source
        .iter()
        .zip(&names)
        .filter(|(part, _)| **part == "*")
        .map(|(_, name)| *name)
        .collect();
    let rest = names.get(source.len().saturating_sub(1)..).unwrap_or_default();
    let parts = transform.destination.split('.').map(|part| {
        let number = part
            .strip_prefix('$')
            .or_else(|| part.strip_prefix("{{wildcard(")?.strip_suffix(")}}"))
            .map(|number| number.trim().parse::<usize>());
        match (part, number) {
            (">", _) => rest.join("."),
            (_, Some(Ok(number))) => wildcards
                .get(number.wrapping_sub(1))
                .map_or_else(|| "*".to_owned(), |name| (*name).to_owned()),
            (part, _) if part.contains("{{") => "*".to_owned(),
            (part, _) => part.to_owned(),
        }
    });
    Some(parts.collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::{check_can_match, check_not_stored, transformed};
    use async_nats::jetstream::stream::{Config, Source, SubjectTransform};

    fn transform(source: &str, destination: &str) -> SubjectTransform {
        SubjectTransform {
            source: source.to_owned(),
            destination: destination.to_owned(),
        }
    }

    fn stream(subjects: &[&str]) -> Config {
        Config {
            name: "SHOP".to_owned(),
            subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn transforms_are_followed() {
        for (source, destination, subject, expected) in [
            ("alerts.>", "orders.>", "alerts.a.b", Some("orders.a.b")),
            ("alerts.*", "orders.$1.new", "alerts.a", Some("orders.a.new")),
            (
                "*.*",
                "orders.{{wildcard(2)}}.{{wildcard(1)}}",
                "a.b",
                Some("orders.b.a"),
            ),
            ("*.*", "orders.{{partition(3,1)}}", "a.b", Some("orders.*")),
            ("alerts.*", "orders.$1", "mails.a", None),
            ("", "", "mails.a", Some("mails.a")),
            (">", "all.>", "mails.a", Some("all.mails.a")),
        ] {
            assert_eq!(
                transformed(&transform(source, destination), subject).as_deref(),
                expected
            );
        }
    }

    #[test]
    fn what_is_stored_under_another_subject_is_known() {
        let reads = ["orders.>".to_owned()];
        let check = |config: &Config, published: &str| check_not_stored(config, &reads, &[published.to_owned()]);
        assert!(check(&stream(&["orders.>", "alerts.>"]), "alerts.a").is_ok());

        let mut own = stream(&["orders.>", "alerts.>"]);
        own.subject_transform = Some(transform("alerts.>", "orders.of.>"));
        let said = check(&own, "alerts.a").unwrap_err().to_string();
        assert!(
            said.contains("stream SHOP stores it as orders.of.a, and the pipeline reads orders.>"),
            "{said}"
        );
        assert!(check(&own, "mails.a").is_ok());

        let mut others = stream(&[]);
        others.sources = Some(vec![Source {
            name: "ALERTS".to_owned(),
            subject_transforms: vec![transform("alerts.*", "orders.$1")],
            ..Default::default()
        }]);
        assert!(check(&others, "alerts.a").is_err());
        assert!(check(&others, "alerts.a.b").is_ok());
    }

    #[test]
    fn a_subject_that_no_message_can_have_is_refused() {
        let check = |config: &Config, read: &str| check_can_match(config, &[read.to_owned()], |read| read == "old");
        let shop = stream(&["shop.*", "returns.>"]);
        for read in ["shop.orders", ">", "returns.of.today", "*.orders", "old"] {
            assert!(check(&shop, read).is_ok(), "{read}");
        }
        let said = check(&shop, "orders.>").unwrap_err().to_string();
        assert!(
            said.contains("no message of stream SHOP can have the subject orders.>"),
            "{said}"
        );
        assert!(said.contains("the stream takes subjects shop.*, returns.>"), "{said}");
        assert!(
            said.contains("nats stream edit SHOP --subjects 'shop.*,returns.>,orders.>'"),
            "{said}"
        );

        let mut renamed = stream(&["in.>"]);
        renamed.subject_transform = Some(transform("in.>", "out.>"));
        assert!(check(&renamed, "out.a").is_ok());
        let mut mirror = stream(&[]);
        mirror.mirror = Some(Source::default());
        assert!(check(&mirror, "anything").is_ok());
    }
}
