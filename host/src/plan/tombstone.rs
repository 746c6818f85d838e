//! Tombstones: messages without a payload that say that the key which is their subject was deleted, as events.

/// How they become events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TombstonePlan {
    /// Where the column that is true lies in a payload.
    pub column: Vec<String>,
    /// Where the columns of the key lie in a payload, each with the name in the subject that it is, from 0.
    pub key: Vec<(Vec<String>, usize)>,
}

impl TombstonePlan {
    /// The payload of an event that says the same as a tombstone on `subject`.
    ///
    /// # Examples
    /// ```
    /// use weir::plan::TombstonePlan;
    ///
    /// let column = vec!["deleted".to_owned()];
    /// let key = vec![(vec!["device".to_owned()], 1)];
    /// let plan = TombstonePlan { column, key };
    /// let event: serde_json::Value = serde_json::from_str(&plan.payload("devices.d7"))?;
    /// assert_eq!(event, serde_json::json!({ "device": "d7", "deleted": true }));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn payload(&self, subject: &str) -> String {
        let mut payload = serde_json::Map::new();
        let names: Vec<&str> = subject.split('.').collect();
        for (path, index) in &self.key {
            if let Some(&name) = names.get(*index) {
                put(&mut payload, path, name.into());
            }
        }
        put(&mut payload, &self.column, true.into());
        serde_json::Value::Object(payload).to_string()
    }
}

fn put(object: &mut serde_json::Map<String, serde_json::Value>, path: &[String], value: serde_json::Value) {
    match path {
        [] => {}
        [name] => drop(object.insert(name.clone(), value)),
        [name, rest @ ..] => {
            let inner = object
                .entry(name.clone())
                .or_insert_with(|| serde_json::Map::new().into());
            if let Some(inner) = inner.as_object_mut() {
                put(inner, rest, value);
            }
        }
    }
}
