//! Whom paceline trusts, what it gives away, and what hostile input does to it.

mod answers;
mod injection;
mod printing;
mod secrets;
mod tls;
