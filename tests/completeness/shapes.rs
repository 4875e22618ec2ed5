//! Schema and rules hold payloads to the same members.

use super::*;

use std::collections::BTreeMap;

/// A member of all objects at one place, the items of a list being one place.
type Named = (String, String);

/// What taking a member away led to, over all samples.
#[derive(Default)]
struct Taken {
    times: usize,
    found: usize,
    unfit: usize,
}

impl Examined {
    /// What the rules let through with a warning, the schema must let through.
    pub fn unknown_members(&mut self, jobs: &[&Job], account: &Account, validator: &jsonschema::Validator) {
        // Rules that refuse nothing can't tell which member is unknown.
        for job in jobs.iter().filter(|job| !findings(account, &nulled(job)).is_empty()) {
            let payload = Value::Object(Object::clone(&job.payload));
            for place in places(&payload) {
                let mut marked = payload.clone();
                let Some(Value::Object(object)) = marked.pointer_mut(&place) else { continue };
                object.insert("a_member_of_the_test".into(), MARK.into());
                let fits = validator.is_valid(&marked);
                if !fits && findings(account, &with_payload(job, marked)).is_empty() {
                    let shown = format!("{}: no unknown member fits it at {place:?}", job.operation);
                    self.lacks(Piece::Schema, shown);
                }
            }
        }
    }

    /// A member is required where all samples have it and none is valid without.
    pub fn required_members(&mut self, jobs: &[&Job], account: &Account, validator: &jsonschema::Validator) {
        let mut objects: BTreeMap<String, usize> = BTreeMap::new();
        let mut members: BTreeMap<Named, Taken> = BTreeMap::new();
        for job in jobs {
            let payload = Value::Object(Object::clone(&job.payload));
            for place in places(&payload) {
                let Some(Value::Object(object)) = payload.pointer(&place) else { continue };
                *objects.entry(general(&place)).or_default() += 1;
                for name in object.keys() {
                    let mut without = payload.clone();
                    let object = without.pointer_mut(&place).and_then(Value::as_object_mut);
                    object.expect("it is one").shift_remove(name);
                    let taken = members.entry((general(&place), name.clone())).or_default();
                    taken.times += 1;
                    taken.unfit += usize::from(!validator.is_valid(&without));
                    taken.found += usize::from(!findings(account, &with_payload(job, without)).is_empty());
                }
            }
        }
        for ((place, name), taken) in members {
            let shown = format!("{} at {place:?} without {name}", jobs[0].operation);
            let everywhere = taken.times == objects[&place];
            if everywhere && taken.found == taken.times && taken.unfit == 0 {
                self.lacks(Piece::Schema, format!("{shown} fits it"));
            }
            if everywhere && taken.unfit == taken.times && taken.found == 0 {
                self.lacks(Piece::Rules, format!("{shown} is found valid"));
            }
        }
    }
}

/// A place with `*` for the number of an item.
fn general(place: &str) -> String {
    let general = |part: &str| {
        let number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if number { "*".to_owned() } else { part.to_owned() }
    };
    place.split('/').map(general).collect::<Vec<_>>().join("/")
}

/// The JSON pointers of a value and of all that it holds.
pub fn places(value: &Value) -> Vec<String> {
    let inside: Vec<(String, &Value)> = match value {
        Value::Object(object) => {
            object.iter().map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(list) => {
            list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    let deeper = inside
        .into_iter()
        .flat_map(|(name, value)| places(value).into_iter().map(move |rest| format!("/{name}{rest}")));
    std::iter::once(String::new()).chain(deeper).collect()
}

/// The job with another payload.
pub fn with_payload(job: &Job, payload: Value) -> Job {
    let Value::Object(payload) = payload else { panic!("a payload is an object") };
    Job { payload: payload.into(), ..job.clone() }
}
