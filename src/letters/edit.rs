//! A change of one member of a job.

use std::fmt;

use serde_json::Value;

/// Sets or takes away the member at a JSON pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pointer: String,
    parent: Vec<String>,
    member: String,
    /// `None` takes it away.
    value: Option<Value>,
}

/// Why a change can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// It can't be read as one.
    #[error("{0}")]
    Unreadable(String),
    /// There is nothing at the pointer.
    #[error("there is nothing to change at {0}")]
    Nowhere(String),
    /// The body is no JSON.
    #[error("the body is no JSON, so that nothing in it can be changed")]
    NoJson,
}

impl Change {
    /// `POINTER=JSON`.
    ///
    /// # Errors
    /// When it is none.
    pub fn set(text: &str) -> Result<Self, EditError> {
        let wrong = |why: &str| EditError::Unreadable(format!("{text:?} {why}"));
        let (pointer, value) = text.split_once('=').ok_or_else(|| wrong("is not POINTER=JSON"))?;
        let value = serde_json::from_str(value)
            .map_err(|_| wrong("has no JSON behind the =; a text stands in quotes: /priority='\"high\"'"))?;
        Self::at(pointer, Some(value))
    }

    /// `POINTER`, to be taken away.
    ///
    /// # Errors
    /// When it is none.
    pub fn unset(pointer: &str) -> Result<Self, EditError> {
        Self::at(pointer, None)
    }

    fn at(pointer: &str, value: Option<Value>) -> Result<Self, EditError> {
        let mut parts: Vec<String> =
            pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
        match parts.pop() {
            Some(member) if pointer.starts_with('/') => {
                Ok(Self { pointer: pointer.to_owned(), parent: parts, member, value })
            }
            Some(_) | None => Err(EditError::Unreadable(format!(
                "{pointer:?} is no JSON pointer, such as /payload/notifications/0/content"
            ))),
        }
    }

    /// Changes a job. An object gets a member that it does not have yet; a list only keeps its length.
    pub(super) fn apply(&self, job: &mut Value) -> Result<(), EditError> {
        let nowhere = || EditError::Nowhere(self.pointer.clone());
        let parent = self.parent.iter().try_fold(job, |value, part| match value {
            Value::Object(members) => members.get_mut(part),
            Value::Array(items) => items.get_mut(index(part)?),
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => None,
        });
        match (parent.ok_or_else(nowhere)?, &self.value) {
            (Value::Object(members), Some(value)) => {
                members.insert(self.member.clone(), value.clone());
            }
            (Value::Object(members), None) => {
                members.shift_remove(&self.member).ok_or_else(nowhere)?;
            }
            (Value::Array(items), Some(value)) => {
                let item = index(&self.member).and_then(|index| items.get_mut(index)).ok_or_else(nowhere)?;
                *item = value.clone();
            }
            (Value::Array(items), None) => {
                let index = index(&self.member).filter(|index| *index < items.len()).ok_or_else(nowhere)?;
                items.remove(index);
            }
            (Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null, _) => return Err(nowhere()),
        }
        Ok(())
    }
}

/// An index as RFC 6901 writes it: without a sign or a zero ahead.
fn index(part: &str) -> Option<usize> {
    part.parse::<usize>().ok().filter(|index| index.to_string() == part)
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.pointer),
            None => write!(f, "{} taken away", self.pointer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_made_where_it_points_and_nowhere_else() {
        let job = json!({"priority": "low", "payload": {"list": [1, {"a/b": 2, "~": 3}]}});
        let cases = [
            (
                "/priority=\"high\"",
                Some(json!({"priority": "high", "payload": {"list": [1, {"a/b": 2, "~": 3}]}})),
            ),
            (
                "/payload/new={\"x\":1}",
                Some(
                    json!({"priority": "low", "payload": {"list": [1, {"a/b": 2, "~": 3}], "new": {"x": 1}}}),
                ),
            ),
            (
                "/payload/list/0=null",
                Some(json!({"priority": "low", "payload": {"list": [null, {"a/b": 2, "~": 3}]}})),
            ),
            (
                "/payload/list/1/a~1b=\"a=b\"",
                Some(json!({"priority": "low", "payload": {"list": [1, {"a/b": "a=b", "~": 3}]}})),
            ),
            ("-/payload/list/1/~0", Some(json!({"priority": "low", "payload": {"list": [1, {"a/b": 2}]}}))),
            ("-/payload/list/0", Some(json!({"priority": "low", "payload": {"list": [{"a/b": 2, "~": 3}]}}))),
            ("/payload/list/2=1", None),
            ("/payload/list/01=1", None),
            ("/payload/list/-=1", None),
            ("/payload/none/x=1", None),
            ("/priority/x=1", None),
            ("-/expiresAt", None),
            ("-/payload/list/2", None),
        ];
        for (text, expected) in cases {
            let change = match text.strip_prefix('-') {
                Some(pointer) => Change::unset(pointer).unwrap(),
                None => Change::set(text).unwrap(),
            };
            let mut changed = job.clone();
            let done = change.apply(&mut changed);
            assert_eq!(done.ok().map(|()| changed), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_change_is_refused_with_what_to_write() {
        for (text, part) in [
            ("/priority", "POINTER=JSON"),
            ("/priority=high", "in quotes"),
            ("priority=1", "no JSON pointer"),
            ("=1", "no JSON pointer"),
        ] {
            let error = Change::set(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
