//! The network between a world's workers and their servers. What the test itself does, its producer
//! and its receipts, takes another way.

use url::Url;

use crate::support::proxy::Proxy;

/// One proxy before each server.
pub struct Network {
    /// Before the broker.
    pub broker: Proxy,
    /// Before the store.
    pub store: Proxy,
    /// Before the providers.
    pub provider: Proxy,
}

impl Network {
    /// Proxies before a broker, a store and a provider at these addresses.
    pub async fn before([broker, store, provider]: &[String; 3]) -> Self {
        Self {
            broker: Self::proxy(broker).await,
            store: Self::proxy(store).await,
            provider: Self::proxy(provider).await,
        }
    }

    /// All three.
    pub fn all(&self) -> [&Proxy; 3] {
        [&self.broker, &self.store, &self.provider]
    }

    /// The same addresses, led through the proxies.
    pub fn through(&self, direct: &[String; 3]) -> [String; 3] {
        let mut addresses = direct.clone();
        for (address, proxy) in addresses.iter_mut().zip(self.all()) {
            let mut url: Url = address.parse().expect("an address");
            url.set_port(Some(proxy.address().port())).expect("an address with a host");
            *address = url.to_string();
        }
        addresses
    }

    async fn proxy(address: &str) -> Proxy {
        let url: Url = address.parse().expect("an address of one server");
        let port = url.port().expect("an address with a port");
        Proxy::before(([127, 0, 0, 1], port).into()).await
    }
}
