//! Headers of messages, and their form as text: a JSON object.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The headers of a message by name.
///
/// # Examples
/// ```
/// use weir::model::headers::Headers;
///
/// let headers = Headers::parse(r#"{"Trace": "a7", "Tag": ["new", "web"]}"#)?;
/// assert_eq!(headers.get("Tag"), Some("new"));
/// assert_eq!(headers.get("tag"), None);
/// assert_eq!(headers.to_string(), r#"{"Tag":["new","web"],"Trace":"a7"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Headers(BTreeMap<String, HeaderValues>);

/// One value, or several in the order in which they were written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
enum HeaderValues {
    One(String),
    Several(Vec<String>),
}

impl Headers {
    /// Reads them from text.
    ///
    /// # Errors
    /// When it is no JSON object of texts and lists of texts.
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// Adds a value of a header, behind those that it has.
    pub fn add(&mut self, name: &str, value: &str) {
        let Some(values) = self.0.get_mut(name) else {
            self.0.insert(name.to_owned(), HeaderValues::One(value.to_owned()));
            return;
        };
        match values {
            HeaderValues::One(first) => {
                *values = HeaderValues::Several(vec![std::mem::take(first), value.to_owned()]);
            }
            HeaderValues::Several(values) => values.push(value.to_owned()),
        }
    }

    /// The first value of a header. Upper and lower case differ in names, as NATS has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            HeaderValues::One(value) => Some(value),
            HeaderValues::Several(values) => values.first().map(String::as_str),
        }
    }

    /// Each header and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(name, values)| {
            let values = match values {
                HeaderValues::One(value) => std::slice::from_ref(value),
                HeaderValues::Several(values) => values.as_slice(),
            };
            values.iter().map(move |value| (name.as_str(), value.as_str()))
        })
    }
}

/// As JSON.
impl std::fmt::Display for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| std::fmt::Error)?)
    }
}
