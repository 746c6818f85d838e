//! A stream with one consumer, and the wire to it, both of which may fail in every way that a server and a network do.

use std::collections::VecDeque;

/// A message of the stream.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) sequence: u64,
    pub(crate) stored_ms: i64,
    pub(crate) payload: Vec<u8>,
}

/// A message on its way to the consumer's reader.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) message: Message,
    /// The consumer's count of it.
    pub(crate) consumer_sequence: u64,
}

/// The server.
#[derive(Debug, Default)]
pub(crate) struct Server {
    /// The messages of the subject; sequences between them belong to other subjects.
    messages: Vec<Message>,
    consumer: Option<Consumer>,
    pub(crate) wire: VecDeque<Delivery>,
}

#[derive(Debug)]
struct Consumer {
    /// The sequence after which it began.
    floor: u64,
    /// The last one that it sent.
    delivered: u64,
    /// How many deliveries it has counted.
    count: u64,
}

impl Server {
    /// Stores a message.
    pub(crate) fn publish(&mut self, message: Message) {
        self.messages.push(message);
    }

    /// The last sequence that is stored.
    pub(crate) fn last(&self) -> u64 {
        self.messages.last().map_or(0, |message| message.sequence)
    }

    /// A consumer that stands after `position`: the one that is there, if it stands right there with nothing under way,
    /// or a new one. Gives how many deliveries it has counted.
    pub(crate) fn consume_from(&mut self, position: u64) -> u64 {
        self.wire.clear();
        match &self.consumer {
            Some(consumer) if consumer.floor == position && consumer.delivered == position => consumer.count,
            _ => {
                self.consumer = Some(Consumer {
                    floor: position,
                    delivered: position,
                    count: 0,
                });
                0
            }
        }
    }

    /// Sends the next message, if there is one.
    pub(crate) fn send(&mut self) {
        let Some(consumer) = &mut self.consumer else { return };
        let next = self
            .messages
            .partition_point(|message| message.sequence <= consumer.delivered);
        if let Some(message) = self.messages.get(next) {
            consumer.delivered = message.sequence;
            consumer.count += 1;
            self.wire.push_back(Delivery {
                message: message.clone(),
                consumer_sequence: consumer.count,
            });
        }
    }

    /// Sends messages again that nobody acknowledged: all that were sent.
    pub(crate) fn send_again(&mut self) {
        let Some(consumer) = &mut self.consumer else { return };
        for message in &self.messages {
            if message.sequence > consumer.floor && message.sequence <= consumer.delivered {
                consumer.count += 1;
                self.wire.push_back(Delivery {
                    message: message.clone(),
                    consumer_sequence: consumer.count,
                });
            }
        }
    }

    /// Everything up to `sequence` is acknowledged.
    pub(crate) fn acknowledge(&mut self, sequence: u64) {
        if let Some(consumer) = &mut self.consumer {
            assert!(
                sequence <= consumer.delivered,
                "what was never sent is not acknowledged"
            );
            consumer.floor = consumer.floor.max(sequence);
        }
    }

    /// Restarts, and may have forgotten the consumer.
    pub(crate) fn restart(&mut self, forgets: bool) {
        self.wire.clear();
        if forgets {
            self.consumer = None;
        }
    }

    /// The sequence up to which everything was acknowledged; nothing without a consumer.
    pub(crate) fn floor(&self) -> Option<u64> {
        self.consumer.as_ref().map(|consumer| consumer.floor)
    }
}
