//! The limits of an account: their windows, and who shares them.

use super::*;

use paceline::job::Pool;
use paceline::ports::Window;
use paceline::simulator::Rules;

/// An account that differs from the configured one in every credential and in every text that may
/// be another one: whatever the provider counts by is not the same.
pub fn stranger(provider: &'static dyn Provider, name: &AccountName, config: &str) -> Option<Arc<Account>> {
    let load = |block: &toml::Table| load_account(provider, name, block.clone(), "a-strangers-secret").ok();
    let mut block = account_block(name, config).ok()?;
    for key in block.clone().keys() {
        let mut other = block.clone();
        let Some(text) = other[key].as_str().map(|text| format!("{text}2")) else { continue };
        other.insert(key.clone(), text.into());
        if load(&other).is_some() {
            block = other;
        }
    }
    load(&block)
}

impl Examined {
    pub fn pools(&mut self, account: &Account, stranger: Option<&Account>) {
        let pools = account.gateway.pools();
        let keys: BTreeSet<_> = pools.iter().map(|(_, key, _)| &key.0).collect();
        if keys.len() != pools.len() || keys.iter().any(|key| key.is_empty() || key.contains("secret")) {
            self.lacks(Piece::Pools, format!("the keys are {keys:?}"));
        }
        let main = pools.iter().filter(|(pool, _, _)| pool.line() == Line::MAIN).count();
        if main != 1 {
            self.lacks(Piece::Pools, format!("{main} of its limits are the main one"));
        }
        if account.gateway.deliveries_per_request() == 0 {
            self.lacks(Piece::Pools, "a request carries nothing");
        }
        let theirs = stranger.map(|account| account.gateway.pools()).unwrap_or_default();
        if theirs.is_empty() || theirs.iter().any(|(_, key, _)| keys.contains(&key.0)) {
            self.lacks(Piece::Pools, format!("another customer's account shares one of {keys:?}"));
        }
    }

    /// The configured account is one with the documented limits, which the simulator keeps.
    pub fn limits(&mut self, account: &Account, rules: &Rules) {
        let main = rules.requests.map(|requests| Window { requests, length: rules.window });
        for (pool, _, windows) in account.gateway.pools() {
            let played =
                if pool.line() == Line::MAIN { main.into_iter().collect() } else { further(rules, pool) };
            if windows != played {
                let shown =
                    format!("{}: its windows are {windows:?}, the simulator's {played:?}", pool.name());
                self.lacks(Piece::Pools, shown);
            }
        }
    }
}

fn further(rules: &Rules, pool: Pool) -> Vec<Window> {
    let played = rules.pools.get(pool.name()).into_iter().flat_map(|windows| &windows.0);
    played.map(|window| Window { requests: window.requests, length: window.length }).collect()
}

/// Whether a delivery uses up a limit: a pool without windows is none.
pub fn is_limited(account: &Account, delivery: &Delivery) -> bool {
    match delivery.class {
        Class::Counted(named) => {
            account.gateway.pools().iter().any(|(pool, _, windows)| *pool == named && !windows.is_empty())
        }
        Class::Exempt => false,
    }
}
