//! Pauses by people.

use super::picture::pause;
use crate::config::Account;
use crate::ports::{Claims, Pause, Permits, Store, StoreError};

/// What a person wants of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nothing of it is sent any more.
    Pause,
    /// It goes on.
    Resume,
}

/// Pauses or resumes an account for all workers. Doing it twice does no harm.
///
/// # Errors
/// When the store can't be used; what was wished may have happened.
pub async fn fulfil(wish: Wish, account: &Account, store: &dyn Store) -> Result<(), StoreError> {
    match wish {
        Wish::Pause => store.pause(&account.name).await,
        Wish::Resume => {
            for (pool, _, _) in account.gateway.pools() {
                store.resume(&account.name, &pool.line()).await?;
            }
            Ok(())
        }
    }
}

/// A limit of an account, by its name where it is not the main one, and what it is paused for.
pub type Left = (Option<String>, Pause);

/// What is paused now. Nothing where the store can't be asked any more: what was wished is done.
pub async fn left_of(account: &Account, store: &dyn Store) -> Vec<Left> {
    let mut left = Vec::new();
    for (pool, key, _) in account.gateway.pools() {
        let line = pool.line();
        let of_account = Claims::pause_of(store, &account.name, &line).await.ok().flatten();
        let of_pool = Permits::usage(store, &key).await.ok().and_then(|usage| usage.paused);
        left.extend(pause(of_account, of_pool).map(|pause| (line.name().map(str::to_owned), pause)));
    }
    left
}
