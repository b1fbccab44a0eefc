//! Requests to the servers, by the transport of the `elasticsearch` crate. `docs/adr/0002-elasticsearch-crate.md` says
//! what of the crate is used, and why no more.

use std::error::Error as _;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use elasticsearch::auth::{ClientCertificate, Credentials};
use elasticsearch::cert::{Certificate, CertificateValidation};
use elasticsearch::http::Method;
use elasticsearch::http::headers::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT,
};
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::time::Instant;
use url::Origin;

use super::answer::{self, Reply};
use super::config::{Access, Error};
use crate::sink::address::Place;
use crate::sink::server::Servers;

/// Of an answer only what is read; the rest is some 100 bytes a document.
const FILTER: &str = "filter_path=errors,items.*.status,items.*.error";

/// The servers and how to talk to them.
pub(super) struct Client {
    servers: Servers<Server>,
    timeout: Duration,
    /// Path and query of a write.
    bulk: String,
    gzip: bool,
}

struct Server {
    /// Without a login.
    url: String,
    /// Scheme, host and port.
    origin: Origin,
    transport: Transport,
}

/// Why a request has no answer, or one that is no use.
#[derive(Debug)]
pub(super) struct Trouble(pub(super) String);

/// Status and body.
pub(super) type Got = (u16, Bytes);

impl Client {
    /// Connects to nothing yet.
    pub(super) fn new(access: Access, gzip: bool, timeout: Duration) -> Result<Self, Error> {
        let server = |place: &Place| {
            Ok(Server {
                url: place.base(),
                origin: place.url.origin(),
                transport: transport(place, &access)?,
            })
        };
        let servers = access.target.places.iter().map(server).collect::<Result<Vec<_>, Error>>()?;
        // The server is to give up before we do: then it says which of the documents it could not place yet.
        let patience = (timeout / 2).as_millis().max(1);
        let bulk = format!("/_bulk?{FILTER}&timeout={patience}ms");
        Ok(Client { servers: Servers::new(servers), timeout, bulk, gzip })
    }

    /// Their URLs, without a login.
    pub(super) fn urls(&self) -> Vec<&str> {
        self.servers.all().iter().map(|server| &*server.url).collect()
    }

    /// Sends a body of so many documents, once. An [`Reply::Unfit`] names the server.
    pub(super) async fn bulk(&self, body: Body, documents: usize) -> Reply {
        let (index, server) = self.servers.pick(Instant::now());
        let reply = match self.post(server, body).await {
            Ok((status, body)) => answer::read(status, &body, documents),
            Err(Trouble(why)) => Reply::Unfit(why),
        };
        if let Reply::Unfit(why) = reply {
            self.servers.fail(index, Instant::now());
            return Reply::Unfit(format!("{}: {why}", server.url));
        }
        self.servers.succeed(index);
        reply
    }

    /// Sends a body to each server and gives the answers, or what is in the way.
    pub(super) async fn bulk_to_each(&self, body: &Body) -> Vec<(&str, Result<Got, Trouble>)> {
        let mut answers = Vec::new();
        for server in self.servers.all() {
            answers.push((&*server.url, self.post(server, body.clone()).await));
        }
        answers
    }

    /// Asks one server something that is no write; `body` is JSON.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Got, Trouble> {
        let (index, server) = self.servers.pick(Instant::now());
        let answer = self.request(server, method, path, headers("application/json"), body).await;
        match &answer {
            Ok((429 | 500.., _)) | Err(_) => self.servers.fail(index, Instant::now()),
            Ok(_) => self.servers.succeed(index),
        }
        answer.map_err(|Trouble(why)| Trouble(format!("{}: {why}", server.url)))
    }

    async fn post(&self, server: &Server, body: Body) -> Result<Got, Trouble> {
        let mut headers = headers("application/x-ndjson");
        if body.is_gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if !self.gzip {
            // The transport takes compressed answers, and the server likes to compress: work for nothing on one host.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        self.request(server, Method::Post, &self.bulk, headers, Some(body.bytes)).await
    }

    async fn request(
        &self,
        server: &Server,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Got, Trouble> {
        let send = server.transport.send(method, path, headers, None::<&()>, body, Some(self.timeout));
        let response = send.await.map_err(|error| Trouble(cause(&error)))?;
        // The transport cannot be kept from following where it is sent. What comes from there decides nothing.
        let origin = response.url().origin();
        if origin != server.origin {
            let origin = origin.ascii_serialization();
            return Err(Trouble(format!("the server sends us to {origin}; mend `connection_url`")));
        }
        let status = response.status_code().as_u16();
        let body = response.bytes().await.map_err(|error| Trouble(cause(&error)))?;
        Ok((status, body))
    }
}

fn headers(content_type: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("kaneda/", env!("CARGO_PKG_VERSION"))));
    headers
}

/// A transport to one server, which tells nobody else, asks no proxy of the environment, and says who we are.
fn transport(place: &Place, access: &Access) -> Result<Transport, Error> {
    let wrong = |error: &dyn std::fmt::Display| Error::Client(error.to_string());
    let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(place.url.clone()))
        .disable_proxy()
        .enable_meta_header(false);
    if let Some(authorization) = &access.authorization {
        // As a header, since the transport's own credentials are either a login or a certificate.
        builder = builder.header(AUTHORIZATION, authorization.clone());
    }
    if let Some(tls) = &access.tls {
        if let Some(ca) = &tls.ca {
            let ca = Certificate::from_pem(&ca.bytes).map_err(|error| wrong(&error))?;
            builder = builder.cert_validation(CertificateValidation::Full(ca));
        }
        if tls.is_unverified {
            builder = builder.cert_validation(CertificateValidation::None);
        }
        if let Some((certificate, key)) = &tls.identity {
            let pem = [&*certificate.bytes, &*key.bytes].join(&b'\n');
            builder = builder.auth(Credentials::Certificate(ClientCertificate::Pem(pem)));
        }
    }
    builder.build().map_err(|error| wrong(&error))
}

/// Actions and documents, ready to be sent. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Body {
    bytes: Bytes,
    is_gzip: bool,
}

impl Body {
    /// As they are.
    pub(super) fn plain(lines: Vec<u8>) -> Self {
        Body { bytes: lines.into(), is_gzip: false }
    }

    /// Compressed, at the level that costs least.
    pub(super) fn gzip(lines: Vec<u8>) -> Self {
        let mut encoder = GzEncoder::new(Vec::with_capacity(lines.len() / 4), Compression::fast());
        // Writing to a Vec does not fail; should it ever, the lines go as they are.
        match encoder.write_all(&lines).and_then(|()| encoder.finish()) {
            Ok(bytes) => Body { bytes: bytes.into(), is_gzip: true },
            Err(_) => Body::plain(lines),
        }
    }
}

/// The innermost cause, which says what happened: the outer ones only say that a request failed.
fn cause(error: &elasticsearch::Error) -> String {
    if error.is_timeout() {
        return "no answer within `timeout`".to_owned();
    }
    let mut inner = error.source();
    while let Some(next) = inner.and_then(|error| error.source()) {
        inner = Some(next);
    }
    match inner {
        Some(inner) => format!("no connection: {inner}"),
        None => "the request failed".to_owned(),
    }
}
