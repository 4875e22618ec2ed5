//! Queues in the file: messages by place and order, the delay ladder, receipts.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::desk::{Wish, key, place_of};
use super::engine::{Engine, Moment, PlaceRow};
use crate::pipeline::envelope::from_outside;
use crate::ports::{Destination, LADDER_SECONDS, Message, Outgoing, Place, Properties, PublishError};

/// The most messages that one step moves from the delay ladder to its end.
const DUE_AT_ONCE: i64 = 200;

/// Properties as the file keeps them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(rename = "c", skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(rename = "t", skip_serializing_if = "Option::is_none")]
    timestamp: Option<Timestamp>,
    #[serde(rename = "y", skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(rename = "h", skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
}

/// Properties as text for the file.
pub(super) fn written(properties: &Properties) -> String {
    let Properties { message_id, reply_to, correlation_id, timestamp, content_type, headers } =
        properties.clone();
    let kept = Kept { message_id, reply_to, correlation_id, timestamp, content_type, headers };
    // Texts and a moment: nothing in it can fail to be written.
    serde_json::to_string(&kept).unwrap_or_default()
}

/// Properties from the file; those that nobody of ours wrote count as none.
pub(super) fn read(text: &str) -> Properties {
    let Kept { message_id, reply_to, correlation_id, timestamp, content_type, headers } =
        serde_json::from_str(text).unwrap_or_default();
    Properties { message_id, reply_to, correlation_id, timestamp, content_type, headers }
}

/// What a place is called in the file.
pub(super) fn name_of(place: &Place) -> String {
    match place.account() {
        Some(account) => format!("{account}/{}", place.label()),
        None => place.label(),
    }
}

fn name_of_rung(rung: usize) -> String {
    format!("delay/{rung}")
}

/// How long a rung of the ladder lasts, in milliseconds; `None` for one that there isn't.
fn length_of_rung(rung: usize) -> Option<i64> {
    LADDER_SECONDS.get(rung).and_then(|seconds| i64::try_from(seconds * 1_000).ok())
}

/// A message on its way to a subscription.
pub(super) struct Handed {
    key: i64,
    wish: Wish,
    redeliveries: u32,
    properties: String,
    body: Vec<u8>,
}

impl Engine {
    // -----------------------------------------------------------------------------------------
    // Places
    // -----------------------------------------------------------------------------------------

    /// Makes the configured accounts' places, those of all accounts, and the ladder's.
    pub(super) fn declare_places(&mut self) -> rusqlite::Result<()> {
        let shared = [Place::Due, Place::Dead];
        let own: Vec<String> = self.settings.places.iter().chain(&shared).map(name_of).collect();
        let rungs = (0..LADDER_SECONDS.len()).map(name_of_rung);
        for name in own.into_iter().chain(rungs) {
            self.declare(&name)?;
        }
        Ok(())
    }

    /// Makes a place, if there is none of this name.
    pub(super) fn declare(&mut self, name: &str) -> rusqlite::Result<i64> {
        if let Some(row) = self.place(name)? {
            return Ok(row.id);
        }
        self.db.prepare_cached("INSERT INTO place (name) VALUES (?)")?.execute([name])?;
        let id = self.db.last_insert_rowid();
        self.places.insert(name.to_owned(), PlaceRow { id, next: 1, depth: 0, changed: false });
        Ok(id)
    }

    fn place(&mut self, name: &str) -> rusqlite::Result<Option<&mut PlaceRow>> {
        self.load_places()?;
        Ok(self.places.get_mut(name))
    }

    /// A place as it is now; `None` where there is none of this name.
    pub(super) fn place_row(&mut self, name: &str) -> rusqlite::Result<Option<PlaceRow>> {
        Ok(self.place(name)?.copied())
    }

    fn load_places(&mut self) -> rusqlite::Result<()> {
        if !self.places.is_empty() {
            return Ok(());
        }
        let mut all = self.db.prepare_cached("SELECT name, id, next, depth FROM place")?;
        let rows = all.query_map([], |row| {
            let place = PlaceRow { id: row.get(1)?, next: row.get(2)?, depth: row.get(3)?, changed: false };
            Ok((row.get(0)?, place))
        })?;
        self.places = rows.collect::<rusqlite::Result<_>>()?;
        Ok(())
    }

    /// Writes what changed of the places, at the end of a transaction.
    pub(super) fn write_places(&mut self) -> rusqlite::Result<()> {
        for row in self.places.values_mut().filter(|row| row.changed) {
            let mut update = self.db.prepare_cached("UPDATE place SET next = ?, depth = ? WHERE id = ?")?;
            update.execute([row.next, row.depth, row.id])?;
            row.changed = false;
        }
        Ok(())
    }

    fn change_depth(&mut self, place: i64, by: i64) -> rusqlite::Result<()> {
        self.load_places()?;
        if let Some(row) = self.places.values_mut().find(|row| row.id == place) {
            row.depth += by;
            row.changed = true;
        }
        Ok(())
    }

    /// How many messages wait in each place, those in hands not counted.
    pub(super) fn depths(&mut self, places: &[Place]) -> rusqlite::Result<Vec<Option<u64>>> {
        let mut depths = Vec::with_capacity(places.len());
        for place in places {
            depths.push(match self.place(&name_of(place))?.copied() {
                Some(row) => Some(self.waiting(row)?),
                None => None,
            });
        }
        Ok(depths)
    }

    /// How many messages wait on the ladder and at its end.
    pub(super) fn delayed(&mut self) -> rusqlite::Result<u64> {
        self.load_places()?;
        let rungs: i64 = (0..LADDER_SECONDS.len())
            .filter_map(|rung| self.places.get(&name_of_rung(rung)))
            .map(|row| row.depth)
            .sum();
        let due = self.depths(&[Place::Due])?.into_iter().flatten().sum::<u64>();
        Ok(u64::try_from(rungs).unwrap_or(0) + due)
    }

    /// The table of what is in hand is small: counting a part of it costs little.
    fn waiting(&self, row: PlaceRow) -> rusqlite::Result<u64> {
        let mut count = self.db.prepare_cached("SELECT count(*) FROM taken WHERE key >= ? AND key < ?")?;
        let taken: i64 = count.query_row([key(row.id, 0), key(row.id + 1, 0)], |row| row.get(0))?;
        Ok(u64::try_from(row.depth - taken).unwrap_or(0))
    }

    // -----------------------------------------------------------------------------------------
    // Publishing
    // -----------------------------------------------------------------------------------------

    /// Puts a message where it belongs.
    pub(super) fn publish(
        &mut self,
        message: &Outgoing,
        moment: &Moment,
    ) -> rusqlite::Result<Result<(), PublishError>> {
        let (name, due) = match &message.destination {
            Destination::Place(place) => (name_of(place), 0),
            Destination::Jobs(account) => (format!("{account}/jobs"), 0),
            Destination::Delay(rung) => match length_of_rung(*rung) {
                Some(length) => (name_of_rung(*rung), moment.wall + length),
                None => return Ok(Err(PublishError::Unroutable)),
            },
            Destination::Receipts { routing_key } => {
                return self.keep_receipt(routing_key, message, moment).map(Ok);
            }
            Destination::Reply { .. } => return Ok(Err(PublishError::Unroutable)),
        };
        let properties = match &message.destination {
            Destination::Jobs(_) => written(&from_outside(message.properties.clone())),
            Destination::Place(_)
            | Destination::Delay(_)
            | Destination::Receipts { .. }
            | Destination::Reply { .. } => written(&message.properties),
        };
        let Some(row) = self.place(&name)? else { return Ok(Err(PublishError::Unroutable)) };
        let key = row.append();
        let mut insert = self.db.prepare_cached(
            "INSERT INTO message (key, due, redeliveries, properties, body) VALUES (?, ?, 0, ?, ?)",
        )?;
        insert.execute(params![key, due, properties, &message.body[..]])?;
        drop(insert);
        if due > 0 {
            self.upkeep.expect_due(due);
        }
        Ok(Ok(()))
    }

    fn keep_receipt(&self, routing_key: &str, message: &Outgoing, moment: &Moment) -> rusqlite::Result<()> {
        let (account, operation, status) = parts_of(routing_key);
        let Properties { message_id, correlation_id, .. } = &message.properties;
        let mut insert = self.db.prepare_cached(
            "INSERT INTO receipt (at, account, operation, status, message_id, correlation_id, body) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )?;
        let at = moment.wall;
        match std::str::from_utf8(&message.body) {
            Ok(text) => {
                insert.execute(params![at, account, operation, status, message_id, correlation_id, text])?
            }
            Err(_) => {
                let body = &message.body[..];
                insert.execute(params![at, account, operation, status, message_id, correlation_id, body])?
            }
        };
        Ok(())
    }

    /// Moves what is due on the ladder to its end; says when the next one is due.
    pub(super) fn move_due(&mut self, moment: &Moment) -> rusqlite::Result<Option<i64>> {
        let mut next = None;
        for rung in 0..LADDER_SECONDS.len() {
            next = earliest(next, self.move_due_of(rung, moment)?);
        }
        Ok(next)
    }

    fn move_due_of(&mut self, rung: usize, moment: &Moment) -> rusqlite::Result<Option<i64>> {
        let Some(length) = length_of_rung(rung) else { return Ok(None) };
        for _ in 0..DUE_AT_ONCE {
            let Some(row) = self.place(&name_of_rung(rung))?.copied() else { return Ok(None) };
            if row.depth == 0 {
                return Ok(None);
            }
            let mut first = self.db.prepare_cached(
                "SELECT key, due FROM message WHERE key > ? AND key < ? ORDER BY key LIMIT 1",
            )?;
            let range = [key(row.id, 0), key(row.id + 1, 0)];
            let found = first.query_row(range, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            drop(first);
            let Some((from, due)) = found else { return Ok(None) };
            // One that lies further ahead than its rung is long was put there before the host's clock
            // stepped back: it has waited long enough.
            if due > moment.wall && due - moment.wall <= length {
                return Ok(Some(due));
            }
            let Some(end) = self.place(&name_of(&Place::Due))? else { return Ok(None) };
            let to = end.append();
            let mut update = self
                .db
                .prepare_cached("UPDATE message SET key = ?, due = 0, redeliveries = 0 WHERE key = ?")?;
            update.execute([to, from])?;
            drop(update);
            self.change_depth(row.id, -1)?;
        }
        // More of it is due: the next step goes on.
        Ok(Some(moment.wall))
    }

    // -----------------------------------------------------------------------------------------
    // Giving out and settling
    // -----------------------------------------------------------------------------------------

    /// Chooses what subscriptions are given, and notes it as in hand.
    pub(super) fn choose(&mut self) -> rusqlite::Result<Vec<Handed>> {
        let mut chosen = Vec::new();
        for wish in self.desk.wishes() {
            self.load_places()?;
            let Some(row) = self.places.values().find(|row| row.id == wish.place) else { continue };
            let in_hands = i64::try_from(self.desk.held(wish.place)).unwrap_or(i64::MAX);
            if row.depth > in_hands {
                self.choose_for(wish, &mut chosen)?;
            }
        }
        Ok(chosen)
    }

    fn choose_for(&mut self, wish: Wish, chosen: &mut Vec<Handed>) -> rusqlite::Result<()> {
        let before = chosen.len();
        for returned in self.desk.returned(wish.place, wish.room) {
            let mut select = self
                .db
                .prepare_cached("SELECT key, redeliveries, properties, body FROM message WHERE key = ?")?;
            match select.query_row([returned], |row| handed(row, wish)).optional()? {
                // Two subscriptions of one place choose in one step: what the first one took is gone.
                Some(message) if chosen.iter().any(|taken| taken.key == message.key) => {}
                Some(message) => chosen.push(message),
                None => self.desk.forget(returned),
            }
        }
        let room = wish.room - (chosen.len() - before) as u64;
        let taken = chosen.iter().map(|one| one.key).filter(|key| place_of(*key) == wish.place).max();
        let after = self.desk.up_to(wish.place).max(taken.unwrap_or(0));
        if room > 0 {
            let mut select = self.db.prepare_cached(
                "SELECT key, redeliveries, properties, body FROM message WHERE key > ? AND key < ? \
                 ORDER BY key LIMIT ?",
            )?;
            let most = i64::try_from(room).unwrap_or(i64::MAX);
            let rows = select.query_map([after, key(wish.place + 1, 0), most], |row| handed(row, wish))?;
            for row in rows {
                chosen.push(row?);
            }
        }
        let mut note = self.db.prepare_cached("INSERT OR IGNORE INTO taken (key) VALUES (?)")?;
        for message in &chosen[before..] {
            note.execute([message.key])?;
        }
        Ok(())
    }

    /// Hands over what was chosen, once that is committed.
    pub(super) fn hand_over(&mut self, handed: Vec<Handed>, moment: &Moment) {
        for Handed { key, wish, redeliveries, properties, body } in handed {
            self.desk.take(key, wish.subscription);
            let Some((place, messages)) = self.desk.receiver(wish.subscription) else { continue };
            let message = Message {
                body: Bytes::from(body),
                properties: read(&properties),
                place,
                redeliveries,
                received: moment.at,
                ticket: Box::new(super::front::Settling::new(self.core.clone(), key)),
            };
            if messages.try_send(Box::new(message)).is_err() {
                // The receiver is gone: nobody saw it.
                self.desk.leave(key, true);
                self.dropped.push(key);
            }
        }
    }

    /// Notes that messages are in nobody's hand.
    pub(super) fn let_go(&self, keys: &[i64]) -> rusqlite::Result<()> {
        for key in keys.iter().filter(|key| !self.desk.has(**key)) {
            self.db.prepare_cached("DELETE FROM taken WHERE key = ?")?.execute([key])?;
        }
        Ok(())
    }

    /// Takes messages off that were acked.
    pub(super) fn take_off(&mut self, keys: &[i64]) -> rusqlite::Result<()> {
        for &key in keys {
            let removed = self.db.prepare_cached("DELETE FROM message WHERE key = ?")?.execute([key])?;
            self.db.prepare_cached("DELETE FROM taken WHERE key = ?")?.execute([key])?;
            if removed > 0 {
                self.change_depth(place_of(key), -1)?;
            }
        }
        Ok(())
    }

    /// Puts messages back that were in hand, counted as given out once more.
    pub(super) fn put_back(&mut self, keys: &[i64]) -> rusqlite::Result<()> {
        for key in keys {
            self.db
                .prepare_cached("UPDATE message SET redeliveries = redeliveries + 1 WHERE key = ?")?
                .execute([key])?;
            self.db.prepare_cached("DELETE FROM taken WHERE key = ?")?.execute([key])?;
        }
        Ok(())
    }

    /// Puts everything back that a worker had in hand when it ended, however it ended.
    pub(super) fn put_back_all(&mut self) -> rusqlite::Result<()> {
        self.db.execute(
            "UPDATE message SET redeliveries = redeliveries + 1 WHERE key IN (SELECT key FROM taken)",
            [],
        )?;
        self.db.execute("DELETE FROM taken", [])?;
        Ok(())
    }
}

impl PlaceRow {
    /// The key of one more message.
    fn append(&mut self) -> i64 {
        let key = key(self.id, self.next);
        self.next += 1;
        self.depth += 1;
        self.changed = true;
        key
    }
}

fn handed(row: &rusqlite::Row<'_>, wish: Wish) -> rusqlite::Result<Handed> {
    Ok(Handed {
        key: row.get(0)?,
        wish,
        redeliveries: row.get(1)?,
        properties: row.get(2)?,
        body: row.get(3)?,
    })
}

fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    [a, b].into_iter().flatten().min()
}

/// `<account>.<operation>.<status>`; account names hold no dot.
fn parts_of(routing_key: &str) -> (&str, &str, &str) {
    let (account, rest) = routing_key.split_once('.').unwrap_or((routing_key, ""));
    let (operation, status) = rest.rsplit_once('.').unwrap_or(("", rest));
    (account, operation, status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{AccountName, Line, Pool, Priority};

    #[test]
    fn properties_are_read_as_they_were_written() {
        let properties = Properties {
            message_id: Some("m".into()),
            reply_to: Some("r".into()),
            correlation_id: Some("c".into()),
            timestamp: Some(Timestamp::from_second(1_700_000_000).unwrap()),
            content_type: Some("application/json".into()),
            headers: vec![("a".into(), "1".into()), ("traceparent".into(), "00-ü".into())],
        };
        assert_eq!(read(&written(&properties)), properties);
        assert_eq!(written(&Properties::default()), "{}");
        assert_eq!(read("{}"), Properties::default());
        assert_eq!(read("nothing of ours"), Properties::default());
    }

    #[test]
    fn no_two_places_share_a_name() {
        let shop = AccountName::new("shop").unwrap();
        let lines = [Line::MAIN, Pool::beside("calls").line()];
        let mut names: Vec<String> = Place::of_account(&shop, &lines).iter().map(name_of).collect();
        names.extend([name_of(&Place::Due), name_of(&Place::Dead), name_of_rung(0), name_of_rung(1)]);
        let expected = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), expected, "{names:?}");
        let lane = Place::Lane(shop, Line::MAIN, Priority::High);
        assert_eq!(name_of(&lane), "shop/high");
    }

    #[test]
    fn the_parts_of_a_receipts_key_are_told_apart() {
        assert_eq!(parts_of("shop.createMessage.delivered"), ("shop", "createMessage", "delivered"));
        assert_eq!(parts_of("shop.a.b.dead"), ("shop", "a.b", "dead"));
        assert_eq!(parts_of("odd"), ("odd", "", ""));
    }
}
