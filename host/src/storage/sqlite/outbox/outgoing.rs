//! What a commit leaves in the outbox.

use super::{MessageNames, write_letters};
use crate::{
    error::{OrDefect, Result},
    model::{
        delivery::DeadLetter,
        ids::{IdVec, SinkId},
        rows::Message,
    },
    plan::{Plan, Target},
    storage::sqlite::failure::Written,
};
use rusqlite::{Connection, OptionalExtension, Transaction};
use std::collections::BTreeMap;

/// How a pipeline's messages are named, and which of them are published.
#[derive(Clone, Debug)]
pub(in crate::storage::sqlite) struct Outgoing {
    names: MessageNames,
    /// For a subject the event from which on messages are published, where that is not the first.
    first: BTreeMap<String, u64>,
    /// Whether that is settled.
    pub(in crate::storage::sqlite) is_settled: bool,
}

impl Outgoing {
    /// Reads what the database knows of the messages of `pipeline`, and makes it where there is nothing yet. `source` is
    /// what fills the database.
    pub(in crate::storage::sqlite) fn load(
        connection: &Connection,
        pipeline: &str,
        source: &str,
    ) -> rusqlite::Result<Self> {
        let known = || {
            connection
                .query_row(
                    "SELECT secret, settled FROM weir_messages WHERE pipeline = ?1",
                    [pipeline],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()
        };
        let (secret, is_settled): (Vec<u8>, bool) = match known()? {
            Some(known) => known,
            None => {
                // SQLite takes these bytes from the operating system's source of random numbers.
                connection.execute(
                    "INSERT INTO weir_messages (pipeline, secret) VALUES (?1, randomblob(16))",
                    [pipeline],
                )?;
                known()?.unwrap_or_default()
            }
        };
        let mut first = connection
            .prepare("SELECT subject, publish_from FROM weir_subject WHERE pipeline = ?1 AND publish_from > 1")?;
        let first = first.query_map([pipeline], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)));
        Ok(Self {
            names: MessageNames::new(&secret, source, pipeline),
            first: first.and_then(Iterator::collect)?,
            is_settled,
        })
    }

    /// Settles from which events on messages are published, for those subjects where that is not the first.
    pub(in crate::storage::sqlite) fn settle(
        connection: &Connection,
        pipeline: &str,
        first: &BTreeMap<String, u64>,
    ) -> rusqlite::Result<()> {
        for (subject, sequence) in first {
            connection.execute(
                "INSERT INTO weir_subject (pipeline, subject, publish_from) VALUES (?1, ?2, ?3)
                 ON CONFLICT (pipeline, subject) DO UPDATE SET publish_from = excluded.publish_from",
                (pipeline, subject, *sequence as i64),
            )?;
        }
        connection
            .execute("UPDATE weir_messages SET settled = 1 WHERE pipeline = ?1", [pipeline])
            .map(|_| ())
    }

    /// The event from which on messages to `subject` are published.
    pub(in crate::storage::sqlite) fn first(&self, subject: &str) -> u64 {
        self.first.get(subject).copied().unwrap_or(1)
    }

    /// Puts the messages and dead letters of a turn, of which they have the number, into the outbox.
    pub(in crate::storage::sqlite) fn write(
        &self,
        transaction: &Transaction<'_>,
        plan: &Plan,
        (number, messages): (u64, &[Message]),
        letters: Vec<(i64, DeadLetter)>,
        retries: impl Fn(u64) -> u64,
    ) -> Written {
        let mut unpublished = 0;
        let places = plan.sinks.ids().map(|sink| self.place(plan, sink));
        let places: IdVec<SinkId, Option<(&str, u64, String)>> = places.collect::<Result<_>>()?;
        let mut insert = transaction.prepare_cached(
            "INSERT INTO weir_outbox (pipeline, subject, message_id, sequence, payload) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for message in messages {
            let place = places.get(message.sink).and_then(Option::as_ref);
            let (subject, first, place) = place.or_defect(|| {
                format!(
                    "a message of event {} is for sink {}, which is no subject",
                    message.sequence, message.sink
                )
            })?;
            if message.sequence < *first {
                unpublished += 1;
                continue;
            }
            let retries = retries(message.sequence);
            let of_swap = message.of_swap.then(|| format!("{place}#swap#{number}"));
            let place = of_swap.as_ref().unwrap_or(place);
            let name = self.names.name(message.sequence, place, message.ordinal, retries);
            insert.execute((&plan.name, subject, name, message.sequence as i64, &message.payload))?;
        }
        if let Some(subject) = &plan.dead_letters {
            let to = (subject.as_str(), self.first(subject));
            unpublished += write_letters(transaction, plan, &self.names, to, letters.into_iter(), retries)?;
        }
        if unpublished > 0 {
            transaction
                .prepare_cached("UPDATE weir_messages SET unpublished = unpublished + ?2 WHERE pipeline = ?1")?
                .execute((&plan.name, unpublished as i64))?;
        }
        Ok(())
    }

    /// Where the messages of a sink go, from which event on, and what causes them beside the event: the step, its output
    /// and the sink.
    fn place<'p>(&self, plan: &'p Plan, sink: SinkId) -> Result<Option<(&'p str, u64, String)>> {
        let found = plan.sinks.get(sink).or_defect(|| format!("sink {sink} is not there"))?;
        let Target::Subject { name: subject, .. } = &found.target else {
            return Ok(None);
        };
        let node = plan.nodes.get(found.input.node);
        let output = node.and_then(|node| Some((&node.name, &node.outputs.get(found.input.output)?.name)));
        let (step, output) = output.or_defect(|| format!("sink {sink} reads {:?}, which is not there", found.input))?;
        Ok(Some((subject, self.first(subject), format!("{step}.{output}#{sink}"))))
    }
}
