//! Where a database begins to publish: over a stream that has a past, somebody has to say it.

use super::{
    Nats,
    source::{first_at, get_stream, last_sequence},
};
use crate::{
    definition::PublishFrom,
    error::{Error, Result},
    model::subject::listed,
    plan::Plan,
    storage::Location,
};
use std::collections::BTreeMap;

/// What was said of a database that is new, for all subjects of its pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    /// On the command line: it stands above the pipeline file.
    pub asked: Option<PublishFrom>,
    /// Where nobody says it.
    pub otherwise: Option<PublishFrom>,
}

/// Finds the event from which on messages are published, for each subject of the plan where that is not the first.
///
/// # Errors
/// When nobody said it and the stream has a past, or the stream cannot be read.
pub fn first_published(
    nats: &Nats,
    plan: &Plan,
    beginning: Beginning,
    database: &Location,
) -> Result<BTreeMap<String, u64>> {
    let subjects = plan.subjects();
    nats.runtime.clone().block_on(async {
        let stream = get_stream(nats, &plan.stream, &subjects).await?;
        let last = last_sequence(nats, &stream, &subjects).await?;
        let now = jiff::Timestamp::now();
        let mut first = BTreeMap::new();
        for subject in plan.published_subjects() {
            let said = beginning.asked.or_else(|| plan.publish_from.get(subject).copied());
            let sequence = match said.or(beginning.otherwise) {
                Some(PublishFrom::Now) => stream.cached_info().state.last_sequence + 1,
                Some(PublishFrom::Sequence(sequence)) => sequence,
                Some(PublishFrom::StoredAt(time)) if time > now => {
                    let at = match beginning.asked {
                        Some(_) => "--publish-from".to_owned(),
                        None => format!("key `publish_from` of subject {subject}"),
                    };
                    return Err(Error::definition(format!(
                        "pipeline {}: {at} is {time}, and it is {now} now: which event comes first then is not known yet; say \
                         now, a sequence of stream {}, or an instant that is past",
                        plan.name, plan.stream
                    )));
                }
                Some(PublishFrom::StoredAt(time)) => first_at(nats, &stream, time.as_nanosecond()).await?,
                None if last == 0 => 1,
                None => {
                    return Err(Error::definition(format!(
                        "pipeline {}: database {} is new, and stream {} holds messages of {} up to sequence {last}: all that \
                         they cause on {subject} would be published now. Say --publish-from now to publish what comes from now \
                         on, --publish-from 1 to publish all of it, or --publish-from with a sequence or an instant (RFC 3339); \
                         `publish_from` of the sink, or of [dead_letters], says the same in the pipeline file",
                        plan.name,
                        database,
                        plan.stream,
                        listed(&subjects)
                    )));
                }
            };
            if sequence > 1 {
                first.insert(subject.to_owned(), sequence);
            }
        }
        Ok(first)
    })
}
