//! What there is to see of accounts, limits and lanes, and their pauses by people. `paceline status`
//! and `paceline pause` print it, the console shows it.
//!
//! `picture` is what there is to see and what follows from it, `gather` asks for it, `told` puts pauses
//! into words and the picture into JSON, `pausing` stops accounts and lets them go on.

mod gather;
mod pausing;
mod picture;
mod told;

pub use gather::{Queues, gather, places};
pub use pausing::{Left, Wish, fulfil, left_of};
pub use picture::{AccountPicture, Drain, Lane, LimitPicture, Picture};
pub use told::{Advice, advice, json, pause_json, pause_note};
