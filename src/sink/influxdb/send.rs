//! Requests to the server.
//!
//! Writes are posted with `reqwest`, since the `influxdb` crate throws the server's error text away, knows no gzip
//! and no retention policy; the crate asks queries, over the same connections. See `docs/adr/0001-influxdb-crate.md`.

use std::error::Error as _;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use influxdb::ReadQuery;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::answer::{Reply, Sent};
use super::config::{Config, Error, Login};
use super::store::{Database, Store};
use crate::sink::Outcome;
use crate::sink::server::Servers;
use crate::tls;

/// How much of an answer is read. It may quote a line of 64 KiB, whose bytes JSON may write as six each.
const ANSWER_BYTES: usize = 512 * 1024;

/// The servers and how to talk to them.
pub(super) struct Client {
    http: reqwest::Client,
    /// Their URLs.
    servers: Servers<String>,
    store: Store,
}

impl Client {
    /// Servers, and database or bucket, without the login.
    pub(super) fn place(&self) -> String {
        format!("{}, {}", self.servers.all().join(", "), self.store)
    }

    /// What an answer of 204 means.
    pub(super) fn durability(&self) -> &'static str {
        match self.store {
            Store::Database(_) => {
                "acknowledged by the server: on its disk, unless its wal-fsync-delay is more than 0"
            }
            Store::Bucket(_) => {
                "acknowledged by the server: on the disk of InfluxDB 2, unless its storage-wal-fsync-delay is more \
                 than 0; VictoriaMetrics may have it in memory for some seconds yet"
            }
        }
    }

    /// Connects to nothing yet.
    pub(super) fn new(sink: &str, config: &Config) -> Result<Self, Error> {
        let target = config.target()?;
        let tls = tls::read_for(config.tls.as_ref(), target.is_secured, "https", sink)?;
        let tls = tls.map_or_else(tls::never, |tls| tls.client())?;
        let mut headers = HeaderMap::new();
        if let Some(login) = &target.login {
            headers.insert(AUTHORIZATION, authorization(login)?);
        }
        Ok(Client {
            http: builder(tls).default_headers(headers).timeout(config.timeout.get()).build()?,
            servers: Servers::new(target.urls),
            store: target.store,
        })
    }

    /// Writes a body: one attempt, and one more if the database had to be created for it.
    pub(super) async fn write(&self, body: Body) -> Outcome {
        let (index, url) = self.servers.pick(Instant::now());
        match self.post_or_create(url, body).await {
            Reply::Decided(outcome) => {
                self.servers.succeed(index);
                outcome
            }
            Reply::Unfit(why) | Reply::NoDatabase(why) => {
                self.servers.fail(index, Instant::now());
                Outcome::Retry(format!("{url}: {why}"))
            }
        }
    }

    /// Tries every server: whether it is there, lets us in, has the database and takes writes. Nothing is stored.
    pub(super) async fn probe(&self) -> Result<(), String> {
        for url in self.servers.all() {
            let reply = self.post_or_create(url, Body::plain(Vec::new(), 0)).await;
            match reply {
                Reply::Decided(Outcome::Delivered) => {}
                Reply::Decided(Outcome::Retry(why)) | Reply::Unfit(why) | Reply::NoDatabase(why) => {
                    return Err(format!("{url}: {why}"));
                }
                Reply::Decided(Outcome::Refused(why)) => return Err(format!("{url}: {}", why.detail)),
                Reply::Decided(Outcome::Each(_)) => {}
            }
        }
        Ok(())
    }

    async fn post_or_create(&self, url: &str, body: Body) -> Reply {
        let first = self.post(url, body.clone()).await;
        let Reply::NoDatabase(why) = first else {
            return first;
        };
        let Store::Database(database @ Database { create: true, .. }) = &self.store else {
            return Reply::NoDatabase(format!("{why}; create it or set `create_database`"));
        };
        match self.create(url, &database.name).await {
            Ok(()) => self.post(url, body).await,
            Err(error) => Reply::NoDatabase(format!(
                "{why}, and it could not be created: {error}; create it, or make `user` an administrator"
            )),
        }
    }

    /// One write.
    async fn post(&self, url: &str, body: Body) -> Reply {
        let path = self.store.path();
        let mut request = self.http.post(format!("{url}{path}")).query(&self.store.query());
        if body.is_gzip {
            request = request.header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        match request.body(body.bytes).send().await {
            Err(error) => Reply::Unfit(cause(&error)),
            Ok(mut response) => {
                let mut text = Vec::new();
                while text.len() < ANSWER_BYTES {
                    match response.chunk().await {
                        Ok(Some(chunk)) => text.extend_from_slice(&chunk),
                        Ok(None) => break,
                        Err(error) => return Reply::Unfit(cause(&error)),
                    }
                }
                self.store.read(response.status().as_u16(), &String::from_utf8_lossy(&text), body.sent)
            }
        }
    }

    async fn create(&self, url: &str, database: &str) -> Result<(), String> {
        // The crate makes an HTTP client of its own before it takes ours, and panics where none can be made: on a
        // machine without certificates to trust.
        reqwest::Client::builder().build().map_err(|error| cause(&error))?;
        let client = influxdb::Client::new(url, database).with_http_client(self.http.clone());
        let name = database.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        let query = ReadQuery::new(format!("CREATE DATABASE \"{name}\""));
        client.query(query).await.map(drop).map_err(|error| error.to_string())
    }
}

/// Lines, ready to be sent. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Body {
    bytes: bytes::Bytes,
    is_gzip: bool,
    sent: Sent,
}

impl Body {
    /// The lines of so many records as they are.
    pub(super) fn plain(lines: Vec<u8>, records: usize) -> Self {
        let sent = Sent { records, lines: memchr::memchr_iter(b'\n', &lines).count() };
        Body { bytes: lines.into(), is_gzip: false, sent }
    }

    /// The same, compressed at the level that costs least.
    pub(super) fn gzip(lines: Vec<u8>, records: usize) -> Self {
        let mut encoder = GzEncoder::new(Vec::with_capacity(lines.len() / 4), Compression::fast());
        // Writing to a Vec does not fail; should it ever, the lines go as they are.
        let compressed = encoder.write_all(&lines).and_then(|()| encoder.finish());
        let plain = Body::plain(lines, records);
        match compressed {
            Ok(bytes) => Body { bytes: bytes.into(), is_gzip: true, ..plain },
            Err(_) => plain,
        }
    }
}

/// A client that goes where it is told: no proxy of the environment, no redirect that would carry reports elsewhere.
fn builder(tls: rustls::ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("kaneda/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
}

/// The header of a login, never shown by `Debug`. `reqwest` knows how to write the one of a user, but only into a
/// request.
fn authorization(login: &Login) -> Result<HeaderValue, Error> {
    let mut header = match login {
        Login::User(login) => {
            let request = builder(tls::never()?).build()?.get("http://localhost");
            let request = request.basic_auth(&login.user, Some(&*login.password)).build()?;
            request.headers().get(AUTHORIZATION).cloned().unwrap_or_else(|| HeaderValue::from_static(""))
        }
        Login::Token(token) => {
            HeaderValue::from_str(&format!("Token {}", &**token)).map_err(|_| Error::OddToken)?
        }
    };
    header.set_sensitive(true);
    Ok(header)
}

/// The innermost cause, which says what happened: the outer ones only say that a request failed.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer within `timeout`".to_owned();
    }
    let mut inner = error.source();
    while let Some(next) = inner.and_then(|error| error.source()) {
        inner = Some(next);
    }
    match inner {
        Some(inner) if tls::is_cause(inner) => format!("no TLS: {inner}; mend `tls`"),
        Some(inner) if error.is_connect() => format!("cannot connect: {inner}"),
        Some(inner) => format!("the connection broke: {inner}"),
        None => "the request failed".to_owned(),
    }
}
