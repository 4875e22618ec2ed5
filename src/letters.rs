//! Work on dead letters: what they are about, which ones are meant, and what is done with them. The
//! command line shows it; whatever else shows it uses the same.
//!
//! Reading order:
//! - `facts` what a letter says of itself
//! - `filter` which letters are meant, `listing` counts and pages of them
//! - `masked` a letter as a person may see it, `edit` a change of its job
//! - `sweep` the way through all of them in bounded time and memory
//! - `replay` and `drop`, which take letters out; `kept` the file of what is dropped
//! - `told` what came of it, for programs
//!
//! # Why a replay neither loses nor doubles
//!
//! A letter is published as a new message that is named after the letter, with the header
//! `paceline-replay`, and taken out when the broker has confirmed that. Killed in between, the next
//! replay publishes it again under the same two names. Claims make that harmless: a replay overrides the
//! end of its delivery once, so whichever copy comes first is sent, and every other copy, being the same
//! publishing (its instance comes from the message's name), waits while the first one is under way and
//! then finds its end and tells that again. An edit can't break this, because it may not change what a
//! delivery is called, under which its claim lies.
//!
//! It holds for as long as ids are remembered (`store.dedupe_ttl`): a replay that was killed has to be
//! resumed within that time.

mod drop;
mod edit;
mod facts;
mod filter;
mod kept;
mod listing;
mod masked;
mod replay;
mod sweep;
mod told;

pub use drop::{Dropped, Dropping, Keep, drop_letters, written};
pub use edit::{Change, EditError};
pub use facts::{Facts, UNKNOWN_OPERATION};
pub use filter::Filter;
pub use kept::Kept;
pub use listing::{Cursor, Group, Listing, Page, find, list};
pub use masked::{Shown, masked};
pub use replay::{Judged, Problem, Replayed, Replaying, judge, replay};
pub use sweep::{Seen, Sight};
pub use told::{drop_json, list_json, replay_json};
