//! The way to the server is private, and to the right one.

use std::path::Path;
use std::sync::Arc;

use kaneda::sink::rethinkdb::Config;
use kaneda::sink::{Outcome, Sink};
use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::report::batch;
use crate::server::Server;

/// A certificate that signs itself, for `localhost`, in `folder`: `NAME.pem` and `NAME.key`.
fn certificate(folder: &Path, name: &str) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    (certificate, key)
}

/// Takes TLS off and passes all on to `upstream`; lets only those in who have the certificate `client`. Gives the port.
async fn tls_before(
    upstream: &str,
    server: (rcgen::Certificate, KeyPair),
    client: &rcgen::Certificate,
) -> u16 {
    let provider = kaneda::tls::provider();
    let mut trusted = RootCertStore::empty();
    trusted.add(client.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), Arc::clone(&provider))
        .build()
        .unwrap();
    let key = PrivateKeyDer::try_from(server.1.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![server.0.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, upstream) = (listener.local_addr().unwrap().port(), upstream.to_owned());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
            tokio::spawn(async move {
                let mut secured = acceptor.accept(stream).await?;
                copy_bidirectional(&mut secured, &mut TcpStream::connect(upstream).await?).await
            });
        }
    });
    port
}

#[tokio::test]
async fn tls_trusts_whom_it_is_told_and_shows_who_we_are() {
    let server = Server::standin("tls").await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (client, _) = certificate(folder.path(), "client");
    let (other, _) = certificate(folder.path(), "other");
    let port = tls_before(&server.address, certificate(folder.path(), "server"), &client).await;
    let sink = |scheme: &str, tls: &str| -> Box<dyn Sink> {
        let config = format!(
            "connection_url = \"{scheme}://admin:{}@localhost:{port}/{}\"\n{tls}",
            server.password, server.database
        );
        toml::from_str::<Config>(&config).unwrap().build("rethinkdb").unwrap()
    };
    let identity = |name: &str| {
        format!("certificate = {:?}, key = {:?}", path(&format!("{name}.pem")), path(&format!("{name}.key")))
    };
    let ca = |name: &str| format!("ca = {:?}", path(&format!("{name}.pem")));
    for trust in [ca("server"), "verify = false".to_owned()] {
        let sink = sink("rethinkdbs", &format!("tls = {{ {trust}, {} }}", identity("client")));
        assert_eq!(sink.send(batch("n:1|c\n")).await, Outcome::Delivered);
    }
    assert_eq!(server.count("counter").await, 2);
    drop(other);
    for (scheme, tls) in [
        ("rethinkdbs", format!("tls = {{ {}, {} }}", ca("other"), identity("client"))),
        ("rethinkdbs", format!("tls = {{ {}, {} }}", ca("server"), identity("other"))),
        ("rethinkdbs", format!("tls = {{ {} }}", ca("server"))),
        ("rethinkdb", String::new()),
    ] {
        let Outcome::Retry(why) = sink(scheme, &tls).send(batch("n:1|c\n")).await else { panic!("{tls}") };
        assert!(!why.contains(&server.password), "{why}");
    }
    let wrong = sink("rethinkdbs", &format!("tls = {{ {}, {} }}", ca("other"), identity("client")));
    assert!(wrong.probe().await.unwrap_err().contains("`tls`"));
}
