//! What a world has in the place of servers that it does without.

use std::ops::{Deref, DerefMut};

use crate::support::redis::RedisServer;

/// A world's store; a world without servers has none, and no test of it asks for one.
pub struct Store(Option<RedisServer>);

impl Store {
    /// None.
    pub const fn none() -> Self {
        Self(None)
    }

    /// A server of its own.
    pub async fn start() -> Self {
        Self(Some(RedisServer::start().await))
    }
}

impl Deref for Store {
    type Target = RedisServer;

    fn deref(&self) -> &RedisServer {
        self.0.as_ref().expect("a world with servers")
    }
}

impl DerefMut for Store {
    fn deref_mut(&mut self) -> &mut RedisServer {
        self.0.as_mut().expect("a world with servers")
    }
}
