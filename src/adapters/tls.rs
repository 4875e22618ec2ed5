//! Whom we trust over TLS: the system's CAs and those that the configuration adds. Certificates are
//! always checked; there is no way to switch that off.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, RootCertStore};

use crate::config::Roots;

/// Line length of PEM.
const PEM_LINE: usize = 64;

/// The system's CAs, as far as they can be read, and the added ones. Without a single one every
/// certificate is of an unknown CA.
pub(super) fn trusted(added: Option<&Roots>) -> Vec<CertificateDer<'static>> {
    // A system without a store (a bare container) is served by added ones alone; single files that
    // can't be read are the system's own business.
    let system = rustls_native_certs::load_native_certs().certs;
    let usable =
        |certificate: &CertificateDer<'static>| RootCertStore::empty().add(certificate.clone()).is_ok();
    let mut all: Vec<_> = system.into_iter().filter(usable).collect();
    all.extend(added.into_iter().flat_map(|roots| roots.certificates().iter().cloned()));
    all
}

/// Certificates as PEM, for a library that takes no others.
pub(super) fn pem(certificates: &[CertificateDer<'static>]) -> String {
    let mut pem = String::new();
    for certificate in certificates {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = STANDARD.encode(certificate);
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(PEM_LINE));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem
}

/// The keys of the configuration that matter where a certificate is refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys {
    /// Adds a CA.
    pub ca: &'static str,
    /// Holds the address.
    pub address: &'static str,
}

/// What is wrong with the server's certificate and what mends it, where an error comes from that.
pub(super) fn refusal(error: &(dyn StdError + 'static), keys: Keys) -> Option<String> {
    certificate_error(error).map(|problem| explain(problem, keys))
}

/// Libraries wrap the error in ways that hide it from the usual chain of sources.
fn certificate_error<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e CertificateError> {
    if let Some(rustls::Error::InvalidCertificate(problem)) = error.downcast_ref() {
        return Some(problem);
    }
    if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return certificate_error(inner);
    }
    if let Some(shared) = error.downcast_ref::<Arc<dyn StdError + Send + Sync>>() {
        return certificate_error(&**shared);
    }
    error.source().and_then(certificate_error)
}

fn explain(problem: &CertificateError, Keys { ca, address }: Keys) -> String {
    let (what, remedy) = match problem {
        // A bad signature is that of another CA under the same name: one that was made anew.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            ("is of no CA that is trusted here", format!("if it is a private one, name its file in {ca}"))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            ("is for another host", format!("{address} must use a name that stands in it"))
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            ("is not valid now", "renew it, or mend the clock".to_owned())
        }
        // The library's list, which may grow: whatever else is wrong with a certificate.
        _ => ("can't be accepted", format!("{ca} names CAs that are trusted beside the system's")),
    };
    // The remedy first: a long list of names may be cut off.
    format!("the server's certificate {what}; {remedy} ({problem})")
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    const KEYS: Keys = Keys { ca: "queue.ca_file", address: "queue.url" };

    fn wrapped(problem: CertificateError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, rustls::Error::InvalidCertificate(problem))
    }

    #[test]
    fn a_refused_certificate_is_told_with_what_mends_it() {
        let names = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("broker.example").unwrap(),
            presented: vec!["other.example".into()],
        };
        let cases = [
            (CertificateError::UnknownIssuer, vec!["no CA that is trusted", "queue.ca_file"]),
            (CertificateError::BadSignature, vec!["no CA that is trusted", "queue.ca_file"]),
            (names, vec!["broker.example", "other.example", "queue.url"]),
            (CertificateError::NotValidForName, vec!["another host", "queue.url"]),
            (CertificateError::Expired, vec!["not valid now", "renew"]),
            (CertificateError::NotValidYet, vec!["not valid now", "clock"]),
            (CertificateError::Revoked, vec!["can't be accepted", "queue.ca_file"]),
        ];
        for (problem, parts) in cases {
            let text = refusal(&wrapped(problem.clone()), KEYS).unwrap();
            assert!(parts.iter().all(|part| text.contains(part)), "{problem:?}: {text}");
        }
    }

    #[test]
    fn a_refusal_is_found_however_it_is_wrapped() {
        let problem = || wrapped(CertificateError::UnknownIssuer);
        let twice = io::Error::other(problem());
        let redis = redis::RedisError::from(problem());
        let errors: [&(dyn StdError + 'static); 3] = [&problem(), &twice, &redis];
        for error in errors {
            assert!(refusal(error, KEYS).is_some(), "{error:?}");
        }
        let other = io::Error::from(io::ErrorKind::ConnectionReset);
        let alert = io::Error::other(rustls::Error::DecryptError);
        assert!(refusal(&other, KEYS).is_none() && refusal(&alert, KEYS).is_none());
    }

    #[test]
    fn pem_is_read_back_as_it_was() {
        let certificates = trusted(None);
        let text = pem(&certificates);
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        assert_eq!(read.unwrap(), certificates);
    }
}
