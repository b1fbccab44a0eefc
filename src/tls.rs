//! TLS towards stores and brokers: whom to trust and who we are, from PEM files.

mod unverified;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::warn;

use unverified::Unverified;

/// What the key `tls` of a sink or source may say.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Certificates to trust, in place of those of the machine.
    pub ca: Option<PathBuf>,
    /// Our certificate, and those between it and the one that the server trusts.
    pub certificate: Option<PathBuf>,
    /// The key of our certificate, not encrypted.
    pub key: Option<PathBuf>,
    /// Whether the server has to prove that it is the one. Without, anybody on the way can read and change all.
    pub verify: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config { ca: None, certificate: None, key: None, verify: true }
    }
}

/// A configuration that TLS cannot be had with. Each text begins with a key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// For servers that are reached without TLS.
    #[error("tls is set, but no server is reached with it: write {0}://")]
    Unused(&'static str),
    /// Half of a pair.
    #[error("tls.{has} is set without tls.{lacks}: both are needed")]
    Half {
        /// What is there.
        has: &'static str,
        /// What is missing.
        lacks: &'static str,
    },
    /// Trust in somebody, and no look at who it is.
    #[error("tls.verify is false, so that tls.ca is not looked at: remove one of them")]
    Contradiction,
    /// A file that cannot be used.
    #[error("tls.{key} {}: {why}", path.display())]
    File {
        /// The key, in `tls`.
        key: &'static str,
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A certificate and another one's key, or of a kind that cannot be used.
    #[error("tls.certificate and tls.key cannot be used together: {0}")]
    Identity(String),
    /// The versions of TLS are not what this build speaks.
    #[error("tls cannot be spoken: {0}")]
    Protocol(String),
    /// A machine that trusts nobody.
    #[error(
        "tls.ca is not set, and this machine has no certificates to trust: set it, or install ca-certificates{0}"
    )]
    NoRoots(String),
}

/// What the files hold. Drivers that bring their own TLS take it as it is; others take [`Tls::client`].
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// `tls.ca`: whom to trust; none: those whom the machine trusts.
    pub ca: Option<Pem>,
    /// `tls.certificate` and `tls.key`.
    pub identity: Option<(Pem, Pem)>,
    /// `tls.verify` is false.
    pub is_unverified: bool,
}

/// A file that was found to hold what its key says.
#[derive(Clone)]
pub struct Pem {
    /// Where it is.
    pub path: PathBuf,
    /// All that is in it.
    pub bytes: Vec<u8>,
}

const UNVERIFIED: &str = "tls.verify is false: whoever is on the way to the server can read and change all that is sent, \
                          the login too";

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.path)
    }
}

impl Config {
    /// What can be said without a look at the files.
    pub fn check(&self) -> Result<(), Error> {
        match (&self.certificate, &self.key) {
            (Some(_), None) => Err(Error::Half { has: "certificate", lacks: "key" }),
            (None, Some(_)) => Err(Error::Half { has: "key", lacks: "certificate" }),
            _ if !self.verify && self.ca.is_some() => Err(Error::Contradiction),
            _ => Ok(()),
        }
    }

    /// Reads the files. Says in the log that the server of the sink `sink` is not verified, if so.
    pub fn read(&self, sink: &str) -> Result<Tls, Error> {
        let tls = self.files()?;
        if tls.is_unverified {
            warn!(sink, "{UNVERIFIED}");
        }
        Ok(tls)
    }

    /// What speaks TLS with a broker of the source `source`; the same is said of that.
    pub fn client(&self, source: &str) -> Result<Arc<ClientConfig>, Error> {
        let tls = self.files()?;
        if tls.is_unverified {
            warn!(source, "{UNVERIFIED}");
        }
        tls.client().map(Arc::new)
    }

    fn files(&self) -> Result<Tls, Error> {
        self.check()?;
        let ca = self.ca.as_ref().map(|path| read("ca", path, certificates)).transpose()?;
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                Some((read("certificate", certificate, certificates)?, read("key", key, private_key)?))
            }
            _ => None,
        };
        Ok(Tls { ca, identity, is_unverified: !self.verify })
    }
}

/// Reads what `config` says for servers that are reached with TLS, or are not: then `config` has to say nothing.
/// `scheme` is how the URL of a server begins that is.
pub fn read_for(
    config: Option<&Config>,
    is_secured: bool,
    scheme: &'static str,
    sink: &str,
) -> Result<Option<Tls>, Error> {
    match (config, is_secured) {
        (Some(_), false) => Err(Error::Unused(scheme)),
        (None, false) => Ok(None),
        (Some(config), true) => config.read(sink).map(Some),
        (None, true) => Ok(Some(Tls::default())),
    }
}

impl Tls {
    /// For `reqwest::ClientBuilder::tls_backend_preconfigured`, or a TLS stream of one's own.
    pub fn client(&self) -> Result<ClientConfig, Error> {
        let builder = builder()?;
        let builder = if self.is_unverified {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified::new(provider())))
        } else {
            builder.with_root_certificates(self.roots()?)
        };
        let Some((certificate, key)) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let chain = certificates(&certificate.bytes).map_err(|why| certificate.wrong("certificate", why))?;
        let private = private_key(&key.bytes).map_err(|why| key.wrong("key", why))?;
        builder.with_client_auth_cert(chain, private).map_err(|error| Error::Identity(error.to_string()))
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        if let Some(ca) = &self.ca {
            for certificate in certificates(&ca.bytes).map_err(|why| ca.wrong("ca", why))? {
                roots.add(certificate).map_err(|error| ca.wrong("ca", error.to_string()))?;
            }
            return Ok(roots);
        }
        let found = rustls_native_certs::load_native_certs();
        // A machine's store may hold some that are too old for this.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(Error::NoRoots(why));
        }
        Ok(roots)
    }
}

/// Speaks TLS over `stream` with `host`, which is a name, or an address without brackets.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    client: &Arc<ClientConfig>,
    host: &str,
    stream: S,
) -> io::Result<TlsStream<S>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::clone(client)).connect(name, stream).await
}

/// The part of a client that never speaks TLS: it trusts nobody, and needs no file for that.
pub fn never() -> Result<ClientConfig, Error> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Error> {
    // `ring` has all that the versions of the protocol ask for; should it not, that is told.
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Protocol(error.to_string()))
}

/// The cryptography of all TLS in the process, `ring`. The first call makes it the default for crates that ask for
/// one: without it `reqwest` makes no client.
pub fn provider() -> Arc<CryptoProvider> {
    // An error says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    CryptoProvider::get_default()
        .map_or_else(|| Arc::new(rustls::crypto::ring::default_provider()), Arc::clone)
}

/// Whether an error of a connection is one of TLS, which `tls` may mend. `source()` never shows it: an error of I/O
/// that holds another one passes on the source of that.
pub fn is_cause(error: &(dyn std::error::Error + 'static)) -> bool {
    let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>() || held.is_some_and(|held| is_cause(held))
}

impl Pem {
    fn wrong(&self, key: &'static str, why: String) -> Error {
        Error::File { key, path: self.path.clone(), why }
    }
}

/// A file that holds what `parse` looks for.
fn read<T>(key: &'static str, path: &PathBuf, parse: fn(&[u8]) -> Result<T, String>) -> Result<Pem, Error> {
    let wrong = |why| Error::File { key, path: path.clone(), why };
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    parse(&bytes).map_err(wrong)?;
    Ok(Pem { path: path.clone(), bytes })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err("no certificate in it; PEM begins with -----BEGIN CERTIFICATE-----".to_owned())
        }
        Ok(found) => Ok(found),
        Err(error) => Err(format!("not PEM: {error}")),
    }
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let wrong = "no private key that is not encrypted in it; PEM begins with -----BEGIN PRIVATE KEY-----";
    // The error could quote the file.
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| wrong.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An authority and what it has signed, for tests: made with rcgen.
    fn pems() -> (String, String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key);
        let other = rcgen::KeyPair::generate().unwrap();
        (certificate.unwrap().pem(), key.serialize_pem(), other.serialize_pem())
    }

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    fn error(text: &str) -> String {
        let client = config(text).read("s").and_then(|tls| tls.client().map(drop));
        client.unwrap_err().to_string()
    }

    #[test]
    fn authority_and_identity_are_read_from_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (certificate, key, other_key) = pems();
        for (name, pem) in [("c", &certificate), ("k", &key), ("o", &other_key), ("empty", &String::new())] {
            std::fs::write(path(name), pem).unwrap();
        }
        let (c, k, o, empty) = (path("c"), path("k"), path("o"), path("empty"));
        let tls = config(&format!("ca = {c:?}\ncertificate = {c:?}\nkey = {k:?}")).read("s").unwrap();
        assert!(tls.client().unwrap().client_auth_cert_resolver.has_certs());
        assert_eq!(tls.ca.unwrap().bytes, certificate.as_bytes());
        assert!(!format!("{:?}", tls.identity).contains("PRIVATE"));

        for (text, part) in [
            (format!("ca = {k:?}"), format!("tls.ca {k}: no certificate")),
            (format!("ca = {empty:?}"), format!("tls.ca {empty}: no certificate")),
            ("ca = \"/nowhere/ca\"".to_owned(), "tls.ca /nowhere/ca: No such file".to_owned()),
            (format!("certificate = {c:?}\nkey = {c:?}"), format!("tls.key {c}: no private key")),
            (
                format!("ca = {c:?}\ncertificate = {c:?}\nkey = {o:?}"),
                "tls.certificate and tls.key".to_owned(),
            ),
            (format!("certificate = {c:?}"), "tls.certificate is set without tls.key".to_owned()),
            (format!("key = {k:?}"), "tls.key is set without tls.certificate".to_owned()),
            (format!("ca = {c:?}\nverify = false"), "tls.verify is false".to_owned()),
        ] {
            assert!(error(&text).starts_with(&part), "{}", error(&text));
        }
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        assert!(toml::from_str::<Config>("verfy = false").is_err());
    }

    #[test]
    fn the_key_is_only_for_servers_with_tls() {
        let config = Config::default();
        assert!(
            read_for(Some(&config), false, "https", "s").unwrap_err().to_string().starts_with("tls is set")
        );
        assert!(read_for(None, false, "https", "s").unwrap().is_none());
        assert!(read_for(None, true, "https", "s").unwrap().is_some());
        never().unwrap();
    }
}
