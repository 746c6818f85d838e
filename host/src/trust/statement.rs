//! What is signed of a deployment, as bytes.
//!
//! Every value has a place of its own, is written in one way, and says where it ends: a number takes eight bytes, a text its
//! length and its bytes in UTF-8, what may be absent a byte before it, a list or table its length. Values of parameters have a letter for
//! their type before them. So two deployments that differ in anything that decides what runs are never written alike.

use crate::model::deployment::Deployment;
use std::collections::BTreeMap;
use toml::Value;

/// What the bytes begin with: nothing else is ever signed that begins so.
const BEGINNING: &[u8] = b"weir deployment, form 1\n";

/// What a deployment is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It decides.
    Live,
    /// It runs beside what decides.
    Candidate,
}

/// The place of a deployment in the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The pipeline.
    pub pipeline: &'a str,
    /// The step.
    pub step: &'a str,
    /// What for.
    pub role: Role,
}

impl<'a> Entry<'a> {
    /// That of a version that is to decide.
    pub fn live(pipeline: &'a str, step: &'a str) -> Self {
        Self {
            pipeline,
            step,
            role: Role::Live,
        }
    }

    /// That of a candidate.
    pub fn candidate(pipeline: &'a str, step: &'a str) -> Self {
        Self {
            pipeline,
            step,
            role: Role::Candidate,
        }
    }
}

/// The bytes that are signed: everything of a deployment but the signature itself, with the key that signs and the time
/// until which it may be taken. Where the pipeline file has the word, its parameters are each host's own, and not part of this.
pub fn statement(entry: Entry<'_>, deployment: &Deployment) -> Vec<u8> {
    // Without a pattern of all members a new one would be forgotten here.
    let Deployment {
        version,
        digest,
        parameters,
        by,
        at_ms,
        note,
        of_file,
        again,
        signature,
    } = deployment;
    let mut bytes = Bytes(BEGINNING.to_vec());
    bytes.text(signature.as_ref().map_or("", |signature| &signature.key));
    bytes.text(entry.pipeline);
    bytes.text(entry.step);
    bytes.flag(entry.role == Role::Candidate);
    bytes.number(*version);
    bytes.optional(digest.as_deref(), Bytes::text);
    bytes.flag(*of_file);
    if !of_file {
        bytes.number(parameters.len() as u64);
        for (name, value) in parameters {
            bytes.text(name);
            bytes.value(value);
        }
    }
    bytes.flag(*again);
    bytes.text(by);
    bytes.optional(note.as_deref(), Bytes::text);
    bytes.number(at_ms.cast_unsigned());
    let expires_ms = signature.as_ref().and_then(|signature| signature.expires_ms);
    bytes.optional(expires_ms, |bytes, ms| bytes.number(ms.cast_unsigned()));
    bytes.0
}

struct Bytes(Vec<u8>);

impl Bytes {
    fn flag(&mut self, flag: bool) {
        self.0.push(u8::from(flag));
    }

    fn number(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend(text.as_bytes());
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                self.0.push(b't');
                self.text(text);
            }
            Value::Integer(number) => {
                self.0.push(b'i');
                self.number(number.cast_unsigned());
            }
            Value::Float(number) => {
                self.0.push(b'd');
                self.number(number.to_bits());
            }
            Value::Boolean(flag) => {
                self.0.push(b'b');
                self.flag(*flag);
            }
            Value::Datetime(time) => {
                self.0.push(b'z');
                self.text(&time.to_string());
            }
            Value::Array(values) => {
                self.0.push(b'l');
                self.number(values.len() as u64);
                values.iter().for_each(|value| self.value(value));
            }
            Value::Table(table) => {
                self.0.push(b'm');
                self.number(table.len() as u64);
                // In one order, whatever it was written in.
                let sorted: BTreeMap<_, _> = table.iter().collect();
                for (name, value) in sorted {
                    self.text(name);
                    self.value(value);
                }
            }
        }
    }
}
