//! TLS before a real server that speaks none itself: with an authority, certificates and keys made for the test.
//!
//! Used as `#[path = "../tls/mod.rs"] mod tls;`.

#![allow(dead_code, reason = "each store's tests use some of it")]

use std::path::PathBuf;
use std::sync::Arc;

use kaneda::tls::provider;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// An authority that nobody trusts, and what it has signed: PEM files in a folder that is gone with it.
pub(crate) struct Authority {
    folder: TempDir,
}

impl Authority {
    /// A new one, with a server at `host` and a client.
    pub(crate) fn new(host: &str) -> Authority {
        let authority = Authority { folder: tempfile::tempdir().unwrap() };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.write("ca.pem", &params.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(params, key);
        for (name, host, usage) in [
            ("server", host, ExtendedKeyUsagePurpose::ServerAuth),
            ("client", "kaneda", ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
            // One whose name is its issuer's has signed itself, for OpenSSL.
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![usage];
            let certificate = params.signed_by(&key, &issuer).unwrap().pem();
            authority.write(&format!("{name}.pem"), &certificate);
            authority.write(&format!("{name}.key"), &key.serialize_pem());
            // For servers that take both as one file.
            authority.write(&format!("{name}.both"), &(certificate + &key.serialize_pem()));
        }
        authority
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// `ca.pem`, `server.pem`, `server.key`, `client.pem` or `client.key`; `server.both` is certificate and key.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(name)).unwrap()
    }
}

/// Speaks TLS to clients and none to a server, until it is dropped.
pub(crate) struct Front {
    /// `https://127.0.0.1:port`
    pub(crate) url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Front {
    /// One before the server at `upstream`, an address and port or a URL that begins with `http://`. If it asks
    /// clients who they are, it takes only those of the authority.
    pub(crate) async fn before(upstream: &str, authority: &Authority, asks: bool) -> Front {
        let builder =
            ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let builder = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(authority.certificate("ca.pem")).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_file(authority.path("server.key")).unwrap();
        let config = builder.with_single_cert(vec![authority.certificate("server.pem")], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
                tokio::spawn(async move {
                    // A client that does not trust us goes away in the middle.
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut server = TcpStream::connect(upstream).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Front { url, task }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}
