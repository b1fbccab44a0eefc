//! TLS to the server: whom we trust, who we are, and what happens where nobody need prove anything.

use kaneda::sink::Outcome;
use kaneda::sink::mongodb::Config;

use crate::report::batch;
use crate::server::Server;
use crate::tls_front::{Authority, Front};

/// Whether a report gets through `front` to `server`; `tls` is that key's table.
async fn is_delivered(server: &Server, front: &Front, tls: &str) -> bool {
    let url = server.behind(front.url.trim_start_matches("https://"));
    let text =
        format!("connection_url = {url:?}\ndb_name = {:?}\ntimeout = \"2s\"\ntls = {tls}", server.database);
    let sink = toml::from_str::<Config>(&text).unwrap().build("mongodb").unwrap();
    match sink.send(batch("n:1|c\n")).await {
        Outcome::Delivered => true,
        Outcome::Retry(_) => false,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_has_to_prove_who_it_is_unless_it_need_not() {
    let Some(server) = Server::start("tls") else { return };
    server.wake().await;
    let (authority, other) = (Authority::new("127.0.0.1"), Authority::new("127.0.0.1"));
    let front = Front::before(&server.address(), &authority, false).await;
    assert!(is_delivered(&server, &front, &format!("{{ ca = {:?} }}", authority.path("ca.pem"))).await);
    assert!(is_delivered(&server, &front, "{ verify = false }").await);
    assert!(!is_delivered(&server, &front, &format!("{{ ca = {:?} }}", other.path("ca.pem"))).await);
    assert!(!is_delivered(&server, &front, "{}").await, "nobody has heard of that authority");
}

#[tokio::test]
async fn a_client_can_prove_who_it_is() {
    let Some(server) = Server::start("tls_client") else { return };
    server.wake().await;
    let authority = Authority::new("127.0.0.1");
    let front = Front::before(&server.address(), &authority, true).await;
    let (ca, both) = (authority.path("ca.pem"), authority.path("client.both"));
    let tls = format!("{{ ca = {ca:?}, certificate = {both:?}, key = {both:?} }}");
    assert!(is_delivered(&server, &front, &tls).await);
    assert!(!is_delivered(&server, &front, &format!("{{ ca = {ca:?} }}")).await);
}

#[test]
fn certificate_and_key_in_two_files_are_told_to_be_put_into_one() {
    let authority = Authority::new("127.0.0.1");
    let (certificate, key) = (authority.path("client.pem"), authority.path("client.key"));
    let text = format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}");
    let error = toml::from_str::<Config>(&text).unwrap().build("mongodb").err().unwrap().to_string();
    assert!(error.starts_with("tls.certificate and tls.key are two files"), "{error}");
}
