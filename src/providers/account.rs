//! What the accounts of all providers have in common: addresses, credentials, shared limits.

use reqwest::Url;
use sha2::{Digest, Sha256};

use crate::config::{ConfigError, Secret, Settings};
use crate::job::{Finding, Object, Pool};
use crate::pipeline::decode::is_credential;
use crate::ports::PoolKey;
use crate::providers::shape::{Member, Place, Report, Shape, allowed, optional, shown_name};

const CREDENTIAL: Shape = Shape::Refused {
    found: "a credential",
    allowed: "nothing: credentials come from the account's configuration, jobs hold none",
};

/// The names under which credentials travel at the providers: no job may hold one, lest queues and
/// dead letters do.
pub(super) static CREDENTIALS: &[Member] =
    &[optional("auth", CREDENTIAL), optional("appId", CREDENTIAL), optional("signature", CREDENTIAL)];

/// Refuses credentials in an object, whatever the capitals of their names.
pub(super) fn refuse_credentials(object: &Object, place: Place<'_>, report: &mut Report) {
    for name in object.keys().filter(|name| is_credential(name)) {
        report.add(place.member(name), "a credential", allowed(&CREDENTIAL));
    }
}

/// Reads `base_url`.
pub(super) fn base_url(settings: &mut Settings<'_>) -> Result<Option<Address>, ConfigError> {
    let Some(text) = settings.text("base_url")? else { return Ok(None) };
    parse_base_url(&text).map(Some).map_err(|problem| settings.error("base_url", problem))
}

/// Reads a credential.
pub(super) fn secret(settings: &mut Settings<'_>, key: &str) -> Result<Option<Secret>, ConfigError> {
    let Some(secret) = settings.secret(key)? else { return Ok(None) };
    check_secret(&secret).map_err(|problem| settings.error(key, problem))?;
    Ok(Some(secret))
}

/// Reads a credential that must be there.
pub(super) fn required_secret(settings: &mut Settings<'_>, key: &str) -> Result<Secret, ConfigError> {
    secret(settings, key)?.ok_or_else(|| missing(settings, key))
}

/// Reads a text that, when given, is not blank.
pub(super) fn filled_text(settings: &mut Settings<'_>, key: &str) -> Result<Option<String>, ConfigError> {
    match settings.text(key)? {
        Some(text) if text.trim().is_empty() || text.chars().any(char::is_control) => {
            Err(settings.error(key, "is empty or has control characters; leave it out, or give a text"))
        }
        given => Ok(given),
    }
}

/// The error for a key that must be there.
pub(super) fn missing(settings: &Settings<'_>, key: &str) -> ConfigError {
    settings.error(key, "is missing and has no default")
}

/// An address that requests are built on: its path is a prefix of theirs.
#[derive(Debug, Clone)]
pub(super) struct Address {
    base: Url,
    root: Url,
}

impl Address {
    /// The address of a call, with `path` behind its own.
    pub(super) fn endpoint(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        url
    }

    /// The address that opens a connection without being a call.
    pub(super) const fn root(&self) -> &Url {
        &self.root
    }
}

/// Reads an address that requests can be built on.
///
/// Plain `http` is allowed because it only ever comes from a configuration that says so.
pub(super) fn parse_base_url(text: &str) -> Result<Address, &'static str> {
    let base = Url::parse(text).map_err(|_| "is not a URL such as https://api.example.com")?;
    if !matches!(base.scheme(), "https" | "http") || base.host_str().is_none_or(str::is_empty) {
        return Err("must begin with https:// or http:// and name a host");
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err("must not hold credentials");
    }
    if base.query().is_some() || base.fragment().is_some() {
        return Err("must not have a query or a fragment");
    }
    let mut root = base.clone();
    root.set_path("/");
    Ok(Address { base, root })
}

fn check_secret(secret: &Secret) -> Result<(), &'static str> {
    if secret.expose().trim().is_empty() {
        return Err("is empty");
    }
    if secret.expose().chars().any(char::is_control) {
        return Err("has control characters (a line break at its end?)");
    }
    Ok(())
}

/// The key under which all workers and accounts share a limit.
///
/// `identity` is what the provider counts by. The address is no part of it: one credential used
/// through two addresses of a provider still has one limit there. Sixteen hexadecimal digits of a
/// digest keep the identity itself out of the store.
pub(super) fn pool_key(provider: &str, pool: Pool, identity: &str) -> PoolKey {
    let mut digest = Sha256::new();
    for part in ["paceline/pool/1", provider, identity] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let digest = hex::encode(digest.finalize());
    PoolKey(format!("{provider}:{}:{}", pool.name(), &digest[..16]))
}

/// The finding for a job whose operation the provider does not know.
pub(super) fn unknown_operation(operation: &str, known: &[&str]) -> Finding {
    let found = if shown_name(operation) {
        format!("the operation {operation}")
    } else {
        format!("a text of {} characters", operation.chars().count())
    };
    Finding::new("/operation", found, known.join(", "), "paceline, the format of a job")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls() {
        let cases = [
            ("https://api.pushwoosh.com", true),
            ("https://api.pushwoosh.com/", true),
            ("https://proxy.example/pushwoosh/", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080/a", true),
            ("http://provider.internal", true),
            ("api.pushwoosh.com", false),
            ("ftp://api.pushwoosh.com", false),
            ("https://", false),
            ("unix:/run/x", false),
            ("https://user@host", false),
            ("https://:pass@host", false),
            ("https://host/?a=b", false),
            ("https://host/#a", false),
            ("", false),
        ];
        for (text, fits) in cases {
            assert_eq!(parse_base_url(text).is_ok(), fits, "{text:?}");
        }
    }

    #[test]
    fn a_path_prefix_is_kept() {
        for (base, expected) in [
            ("https://h", "https://h/json/1.3/x"),
            ("https://h/", "https://h/json/1.3/x"),
            ("http://h:81/a/b/", "http://h:81/a/b/json/1.3/x"),
        ] {
            let base = parse_base_url(base).unwrap();
            assert_eq!(base.endpoint("json/1.3/x").as_str(), expected);
            assert_eq!(base.root().path(), "/");
        }
    }

    #[test]
    fn secrets_are_one_clean_line() {
        for (text, fits) in
            [("abc", true), ("a b|c", true), ("", false), ("  ", false), ("abc\n", false), ("a\0", false)]
        {
            assert_eq!(check_secret(&Secret::new(text)).is_ok(), fits, "{text:?}");
        }
    }

    #[test]
    fn pool_keys_tell_identities_apart_and_hide_them() {
        let key = |provider, pool, identity| pool_key(provider, Pool::main(pool), identity).0;
        let one = key("pushwoosh", "messages", "token-one");
        assert_eq!(one, key("pushwoosh", "messages", "token-one"));
        assert_ne!(one, key("pushwoosh", "messages", "token-two"));
        assert_ne!(one, key("pushwoosh", "other", "token-one"));
        assert_ne!(one, key("moengage", "messages", "token-one"));
        assert!(!one.contains("token"));
        let (head, digest) = one.rsplit_once(':').unwrap();
        assert_eq!(head, "pushwoosh:messages");
        assert!(digest.len() == 16 && digest.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
