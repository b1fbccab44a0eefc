//! TLS: before InfluxDB 1, which also speaks it itself, and before what speaks the protocol of InfluxDB 2.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use kaneda::sink::address::List;
use kaneda::sink::influxdb::Config;
use kaneda::sink::{Outcome, Sink};

use crate::report::{batch, deliver, rejected};
use crate::server::Server;
use crate::tls::{Authority, Front};
use crate::victoriametrics::VictoriaMetrics;

/// `config` with its server at `url`, and the `tls` that is written so.
fn secured(mut config: Config, url: &str, tls: &str) -> Config {
    config.connection_url = Some(List::One(url.into()));
    let table: toml::Table = toml::from_str(tls).unwrap();
    config.tls = (!table.is_empty()).then(|| table.try_into().unwrap());
    config
}

fn build(config: &Config) -> Box<dyn Sink> {
    config.build("secured").unwrap()
}

fn trusting(authority: &Authority) -> String {
    format!("ca = {:?}", authority.path("ca.pem"))
}

fn identified(authority: &Authority) -> String {
    let path = |name: &str| authority.path(name);
    format!("{}\ncertificate = {:?}\nkey = {:?}", trusting(authority), path("client.pem"), path("client.key"))
}

/// That it is waited for, and that the error says so with `part` and names `tls`.
async fn is_refused(config: &Config, part: &str) {
    let sink = build(config);
    let Outcome::Retry(why) = sink.send(batch("n:1|c\n")).await else { panic!("sent") };
    assert!(why.contains(part) && why.contains("`tls`"), "{why}");
    assert_eq!(sink.probe().await.unwrap_err(), why);
}

#[tokio::test]
async fn only_an_authority_that_is_named_is_trusted() {
    let Some(server) = Server::start("authority") else { return };
    let authority = Authority::new("127.0.0.1");
    let front = Front::before(&server.url, &authority, false).await;
    let config = secured(server.config(), &front.url, &trusting(&authority));
    assert_eq!(rejected(&deliver(&*build(&config), batch("n:1|c\nn:2|c\n")).await), []);
    assert_eq!(server.count("counter").await, 2);

    is_refused(&secured(server.config(), &front.url, ""), "UnknownIssuer").await;
    let other = Authority::new("127.0.0.1");
    is_refused(&secured(server.config(), &front.url, &trusting(&other)), "certificate").await;
    assert_eq!(server.count("counter").await, 2);
}

#[tokio::test]
async fn a_certificate_of_another_host_is_not_taken() {
    let Some(server) = Server::start("other_host") else { return };
    let authority = Authority::new("db.example.org");
    let front = Front::before(&server.url, &authority, false).await;
    is_refused(&secured(server.config(), &front.url, &trusting(&authority)), "not valid for name").await;
}

#[tokio::test]
async fn a_front_that_asks_who_we_are_is_shown_our_certificate() {
    let Some(server) = Server::start("identity") else { return };
    let authority = Authority::new("127.0.0.1");
    let front = Front::before(&server.url, &authority, true).await;
    is_refused(&secured(server.config(), &front.url, &trusting(&authority)), "CertificateRequired").await;
    let config = secured(server.config(), &front.url, &identified(&authority));
    assert_eq!(rejected(&deliver(&*build(&config), batch("n:1|c\n")).await), []);
    assert_eq!(server.count("counter").await, 1);
}

#[tokio::test]
async fn without_verification_any_server_is_taken_and_the_log_says_so() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let Some(server) = Server::start("unverified") else { return };
    let authority = Authority::new("db.example.org");
    let front = Front::before(&server.url, &authority, false).await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let config = secured(server.config(), &front.url, "verify = false");
    let sink = tracing::subscriber::with_default(subscriber, || build(&config));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("WARN") && log.contains("tls.verify is false"), "{log}");
    assert_eq!(rejected(&deliver(&*sink, batch("n:1|c\n")).await), []);
    assert_eq!(server.count("counter").await, 1);
}

#[tokio::test]
async fn influxdb_itself_is_reached_by_https() {
    let authority = Authority::new("127.0.0.1");
    let Some(server) = Server::start_secured("https", &authority.path("server.both")) else { return };
    let config = secured(server.config(), &server.url, &trusting(&authority));
    let sink = build(&config);
    sink.probe().await.unwrap();
    assert_eq!(rejected(&deliver(&*sink, batch("n:1|c\n")).await), []);
    let plain = secured(server.config(), &server.url.replace("https://", "http://"), "");
    assert!(matches!(build(&plain).send(batch("n:1|c\n")).await, Outcome::Retry(_)));
}

#[tokio::test]
async fn a_bucket_is_reached_by_https() {
    let Some(server) = VictoriaMetrics::start("https") else { return };
    let authority = Authority::new("127.0.0.1");
    let front = Front::before(&server.url, &authority, true).await;
    let config = secured(VictoriaMetrics::config(&front.url), &front.url, &identified(&authority));
    assert_eq!(build(&config).send(batch("n:7|c\n")).await, Outcome::Delivered);
    assert_eq!(server.values("counter_value").await, [7.0]);
}

#[test]
fn a_file_that_is_no_certificate_is_told_at_the_start() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let config = secured(VictoriaMetrics::config("x"), "https://127.0.0.1", &format!("ca = {path:?}"));
    let error = config.build("secured").err().unwrap().to_string();
    assert!(error.starts_with("tls.ca /") && error.contains("no certificate"), "{error}");
}
