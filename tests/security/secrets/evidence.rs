//! Everything that a run left behind, and what must not be in it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use lapin::options::BasicGetOptions;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::support::world::World;

/// What nobody may see, in every form in which it could show.
pub struct Hidden {
    name: String,
    forms: Vec<Vec<u8>>,
}

impl Hidden {
    /// A text as it is, and as JSON, URLs, Basic authentication and `Debug` write it.
    pub fn new(name: &str, text: &str) -> Self {
        let quoted = |text: &str| {
            let json = serde_json::to_string(text).unwrap();
            json[1..json.len() - 1].to_owned()
        };
        let decimal = text.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
        let mut forms = vec![
            text.to_owned(),
            quoted(text),
            format!("{text:?}").trim_matches('"').to_owned(),
            utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(),
            url::form_urlencoded::byte_serialize(text.as_bytes()).collect(),
            STANDARD_NO_PAD.encode(text),
            URL_SAFE_NO_PAD.encode(text),
            hex::encode(text),
            hex::encode_upper(text),
            decimal,
        ];
        // The same twice over, as a text within a text has it.
        forms.extend(forms.clone().iter().map(|form| quoted(form)));
        forms.sort();
        forms.dedup();
        Self { name: name.to_owned(), forms: forms.into_iter().map(String::into_bytes).collect() }
    }
}

/// What a run left behind, piece by piece.
#[derive(Default)]
pub struct Evidence(Vec<(String, Vec<u8>)>);

impl Evidence {
    /// Adds a piece.
    pub fn add(&mut self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((name.into(), bytes.into()));
    }

    /// How many pieces have a name that begins so.
    pub fn count(&self, start: &str) -> usize {
        self.0.iter().filter(|(name, _)| name.starts_with(start)).count()
    }

    /// Adds every message of every queue of a world, left where it is, and all of its store.
    pub async fn add_servers(&mut self, world: &World) {
        let url = world.broker().url();
        let connection =
            lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await.unwrap();
        let queues = world.broker().ctl(&["list_queues", "name"]);
        for queue in queues.lines().filter(|queue| queue.contains(world.prefix())) {
            let channel = connection.create_channel().await.unwrap();
            let options = BasicGetOptions { no_ack: false };
            while let Some(got) = channel.basic_get(queue.into(), options).await.unwrap() {
                self.add(format!("queue {queue}, body"), got.data.clone());
                self.add(format!("queue {queue}, properties"), format!("{:?}", got.properties));
            }
            // Nothing is acked: all of it goes back.
            channel.close(200, "looked".into()).await.unwrap();
        }
        let mut store = world.redis.connection().await;
        let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut store).await.unwrap();
        for key in keys {
            let script = "local t = redis.call('TYPE', KEYS[1]).ok
                if t == 'string' then return {redis.call('GET', KEYS[1])} end
                if t == 'hash' then return redis.call('HGETALL', KEYS[1]) end
                if t == 'set' then return redis.call('SMEMBERS', KEYS[1]) end
                return {'a type that is not looked into: ' .. t}";
            let values: Vec<Vec<u8>> =
                redis::cmd("EVAL").arg(script).arg(1).arg(&key).query_async(&mut store).await.unwrap();
            let name = format!("store {}", String::from_utf8_lossy(&key));
            assert!(!values.iter().any(|value| value.starts_with(b"a type that is")), "{name}");
            self.add(name.clone(), key);
            for value in values {
                self.add(name.clone(), value);
            }
        }
    }

    /// What of the hidden shows where, among the pieces whose names begin so: of each kind of piece one
    /// place.
    pub fn leaks(&self, start: &str, hidden: &[Hidden]) -> Vec<String> {
        let mut found: BTreeMap<(&str, &str), String> = BTreeMap::new();
        for (name, bytes) in self.0.iter().filter(|(name, _)| name.starts_with(start)) {
            let kind = name.split(' ').next().unwrap_or_default();
            for Hidden { name: what, forms } in hidden {
                let Some((at, form)) = forms.iter().find_map(|form| Some((find(bytes, form)?, form))) else {
                    continue;
                };
                found.entry((what, kind)).or_insert_with(|| {
                    let around = &bytes[at.saturating_sub(300)..bytes.len().min(at + form.len() + 60)];
                    format!("{what} in {name}: …{}…", String::from_utf8_lossy(around))
                });
            }
        }
        found.into_values().collect()
    }
}

fn find(bytes: &[u8], form: &[u8]) -> Option<usize> {
    let first = *form.first()?;
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(|byte| *byte == first) {
        at += next;
        if bytes[at..].starts_with(form) {
            return Some(at);
        }
        at += 1;
    }
    None
}
