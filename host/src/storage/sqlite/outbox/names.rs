//! The names of messages, by which a server drops a second copy.

use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Bytes of the hash in a name.
const HASH_BYTES: usize = 16;

/// Names messages: the same message has the same name again after a crash, and no other message has it, of whichever
/// database and stream. A name tells pipeline and sequence, and ends in a hash over all that makes the message, under a
/// secret of the database: a stranger who can publish cannot send something under a name first, and so have the message
/// dropped as its second copy.
#[derive(Clone, Debug)]
pub(super) struct MessageNames {
    /// After the secret and what filled the database.
    hash: Sha256,
    pipeline: String,
}

impl MessageNames {
    /// `source` is what fills the database: the stream, with the time at which it was made.
    pub(super) fn new(secret: &[u8], source: &str, pipeline: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [secret, source.as_bytes(), pipeline.as_bytes()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self {
            hash,
            pipeline: pipeline.to_owned(),
        }
    }

    /// The name of the message number `ordinal` that an event caused at `place`, a step and a sink, when it was retried so
    /// often.
    pub(super) fn name(&self, sequence: u64, place: &str, ordinal: u32, retries: u64) -> String {
        let mut hash = self.hash.clone();
        for number in [sequence, u64::from(ordinal), retries] {
            hash.update(number.to_le_bytes());
        }
        hash.update(place);
        let mut name = format!("{}:{sequence}:", self.pipeline);
        for byte in hash.finalize().iter().take(HASH_BYTES) {
            // A text takes whatever is written into it.
            let _ = write!(name, "{byte:02x}");
        }
        if retries > 0 {
            let _ = write!(name, "~{retries}");
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::MessageNames;
    use std::collections::BTreeSet;

    #[test]
    fn each_message_has_a_name_of_its_own_and_always_the_same() {
        let mut names = BTreeSet::new();
        let mut count = 0;
        for secret in [[1; 16], [2; 16]] {
            for source in ["stream S made at 1, s", "stream S made at 2, s"] {
                for pipeline in ["p", "q"] {
                    let make = || MessageNames::new(&secret, source, pipeline);
                    let (one, other) = (make(), make());
                    for sequence in [1, 11] {
                        for place in ["a.output#0", "a.output#1", "#dead-letter"] {
                            for (ordinal, retries) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                                let name = one.name(sequence, place, ordinal, retries);
                                assert_eq!(other.name(sequence, place, ordinal, retries), name);
                                assert!(name.starts_with(&format!("{pipeline}:{sequence}:")));
                                names.insert(name);
                                count += 1;
                            }
                        }
                    }
                }
            }
        }
        assert_eq!(names.len(), count);
    }
}
