//! Buckets of keys and of objects, as the registry has them: written to, and damaged.

use super::Client;
use base64::{Engine, engine::general_purpose::URL_SAFE};

impl Client {
    /// Puts a value into a bucket of keys.
    #[track_caller]
    pub(crate) fn put_key(&self, bucket: &str, key: &str, value: impl Into<String>) {
        let put = self
            .jetstream
            .publish(format!("$KV.{bucket}.{key}"), value.into().into());
        let stored = self
            .runtime
            .block_on(async { put.await.expect("it can be sent").await });
        stored.expect("the value is stored");
    }

    /// Exchanges what is stored of the last object of a bucket.
    #[track_caller]
    pub(crate) fn damage_object(&self, bucket: &str) {
        let stream = self.stream(&format!("OBJ_{bucket}"));
        self.runtime.block_on(async {
            let chunks = format!("$O.{bucket}.C.>");
            let last = stream.get_last_raw_message_by_subject(&chunks).await;
            let subject = last.expect("an object is stored").subject;
            stream.purge().filter(&*subject).await.expect("chunks can be removed");
            let sent = self.jetstream.publish(subject, "\0asm, or so".into()).await;
            sent.expect("a chunk can be sent").await.expect("the chunk is stored");
        });
    }

    /// Writes over what is said of an object of a bucket with what nobody can read; gives the bucket's stream, and the sequence.
    #[track_caller]
    pub(crate) fn garble_object(&self, bucket: &str, name: &str) -> (String, u64) {
        let subject = format!("$O.{bucket}.M.{}", URL_SAFE.encode(name));
        let sequence = self.runtime.block_on(async {
            let sent = self.jetstream.publish(subject, "{".into()).await;
            sent.expect("it can be sent").await.expect("it is stored").sequence
        });
        (format!("OBJ_{bucket}"), sequence)
    }

    /// Removes the pieces of all objects of a bucket.
    #[track_caller]
    pub(crate) fn lose_pieces(&self, bucket: &str) {
        let stream = self.stream(&format!("OBJ_{bucket}"));
        let purge = stream.purge().filter(format!("$O.{bucket}.C.>"));
        self.runtime
            .block_on(purge.into_future())
            .expect("chunks can be removed");
    }
}
