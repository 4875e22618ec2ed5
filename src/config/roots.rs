//! Certificates of CAs that are trusted beside the system's, from a file.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// A file larger than this is no list of CAs: a whole system's has some 200 KiB.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// CAs that are trusted beside the system's: at least one.
#[derive(Clone, PartialEq, Eq)]
pub struct Roots {
    file: String,
    certificates: Arc<[CertificateDer<'static>]>,
}

impl Roots {
    /// Reads a PEM file, whose every certificate must be one that can be trusted. `shown` is the
    /// file as the configuration names it.
    ///
    /// # Errors
    /// A text that says what is wrong with the file: it can't be read, holds no certificate, or one
    /// that can't be used.
    pub fn read(path: &Path, shown: &str) -> Result<Self, String> {
        let problem = |what: String| format!("the file {}: {what}", path.display());
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| problem(format!("can't be read: {error}")))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(problem(format!("has more than {MAX_BYTES} bytes, which is no list of CAs")));
        }
        let certificates = certificates(&bytes).map_err(problem)?;
        Ok(Self { file: shown.to_owned(), certificates: certificates.into() })
    }

    /// The file as the configuration names it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The certificates.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {:?}", self.certificates.len(), self.file)
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut certificates = Vec::new();
    let mut store = RootCertStore::empty();
    for (index, read) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let wrong =
            |error: &dyn fmt::Display| format!("its certificate number {} can't be used: {error}", index + 1);
        let certificate = read.map_err(|error| wrong(&error))?;
        store.add(certificate.clone()).map_err(|error| wrong(&error))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err("holds no certificate; a PEM file is needed (-----BEGIN CERTIFICATE-----)".into());
    }
    Ok(certificates)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A new CA.
    pub(in crate::config) fn ca() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn every_certificate_of_a_file_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, format!("a comment\n{}\n{}", ca(), ca())).unwrap();
        let roots = Roots::read(&path, "ca.pem").unwrap();
        assert_eq!((roots.certificates().len(), roots.file()), (2, "ca.pem"));
        assert_eq!(format!("{roots:?}"), "2 of \"ca.pem\"");
    }

    #[test]
    fn a_file_that_gives_no_trust_is_named_with_its_problem() {
        let folder = tempfile::tempdir().unwrap();
        let broken = ca().replace("MII", "AAA");
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let huge = "#".repeat(usize::try_from(MAX_BYTES).unwrap() + 1);
        let cases = [
            ("empty", "", "holds no certificate"),
            ("text", "hello", "holds no certificate"),
            ("key", key.as_str(), "holds no certificate"),
            ("broken", broken.as_str(), "certificate number 1 can't be used"),
            ("cut", "-----BEGIN CERTIFICATE-----\nMIIB", "can't be used"),
            ("huge", huge.as_str(), "no list of CAs"),
        ];
        for (name, text, expected) in cases {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let problem = Roots::read(&path, name).err().unwrap_or_default();
            assert!(problem.contains(expected) && problem.contains(name), "{name}: {problem}");
            assert!(!problem.contains("PRIVATE"), "{problem}");
        }
        let problem = Roots::read(&folder.path().join("none"), "none").err().unwrap_or_default();
        assert!(problem.contains("none: can't be read"), "{problem}");
        let problem = Roots::read(folder.path(), ".").err().unwrap_or_default();
        assert!(problem.contains("can't be read"), "{problem}");
    }
}
