//! A queue at a RabbitMQ, by AMQP 0-9-1.
//!
//! The broker sends messages until `prefetch` of them are not acknowledged, in the order of their delivery tags, which count
//! from 1 on each channel. When the channel ends it delivers all of them again, to whomever.

mod arrival;
mod guard;
mod header;
mod held;
mod link;

use std::sync::Arc;
use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri};
use rustls::ClientConfig;
use thiserror::Error;
use tokio::time::{error::Elapsed, timeout};

use super::config::BATCH;
use super::delivery::Delivery;
use super::{Broker, Config, End, Tended};
use crate::source::queue::sieve::MOST_FRAME;
use crate::tls;
use guard::Secured;
use link::{Answer, Link};

/// How long an answer may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the other end has to show that it lives, if the broker's address says nothing else.
const HEARTBEAT_SECONDS: u16 = 30;
/// What RabbitMQ's own clients read of TLS in a broker's address.
const NOT_READ: [&str; 6] =
    ["cacertfile", "certfile", "keyfile", "verify", "server_name_indication", "fail_if_no_peer_cert"];

/// Where a broker is.
pub(super) struct Rabbitmq {
    /// As without TLS: the library is to speak none.
    uri: AMQPUri,
    tls: Option<Secured>,
    queue: String,
    prefetch: u16,
    max_message: usize,
    link: Option<Link>,
    /// Links so far.
    links: u64,
}

/// Names a message: the link that it came over, and its delivery tag there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tag {
    link: u64,
    number: u64,
}

/// Why the broker cannot be used.
#[derive(Debug, Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Amqp(#[from] lapin::Error),
    #[error("no answer within {RESPONSE_TIMEOUT:?}")]
    Late(#[from] Elapsed),
    #[error("the broker has ended the consumer: its queue is deleted, or its node is away")]
    Cancelled,
    #[error("the broker does not keep to prefetch")]
    TooMany,
    #[error("the connection is gone")]
    Gone,
}

impl Rabbitmq {
    /// Nothing is connected to yet.
    pub(super) fn new(config: &Config, tls: Option<Arc<ClientConfig>>) -> Result<Self, String> {
        let mut uri = address(&config.broker)?;
        uri.scheme = AMQPScheme::AMQP;
        let tls = tls.map(|client| Secured { client, host: uri.authority.host.clone() });
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        uri.query.frame_max = Some(MOST_FRAME);
        Ok(Rabbitmq {
            uri,
            tls,
            queue: config.queue().to_owned(),
            prefetch: u16::try_from(config.prefetch()).unwrap_or(u16::MAX),
            max_message: config.max_message.bytes() as usize,
            link: None,
            links: 0,
        })
    }

    async fn connected(&mut self) -> Result<&mut Link, Failure> {
        if self.link.is_none() {
            self.links += 1;
            let tls = self.tls.clone();
            let link = Link::open(self.links, &self.uri, &self.queue, self.prefetch, self.max_message, tls);
            self.link = Some(timeout(RESPONSE_TIMEOUT, link).await??);
        }
        self.link.as_mut().ok_or(Failure::Gone)
    }

    async fn answer(&mut self, tags: &[Tag], answer: Answer) -> Result<(), Failure> {
        let link = self.link.as_mut().ok_or(Failure::Gone)?;
        timeout(RESPONSE_TIMEOUT, link.answer(tags, answer)).await?
    }
}

/// What speaks TLS with the broker of the source `name`, if it is to.
pub(super) fn client(config: &Config, name: &str) -> Result<Option<Arc<ClientConfig>>, tls::Error> {
    if !config.broker.starts_with("amqps:") {
        return Ok(None);
    }
    let tls = config.tls.clone().unwrap_or_default();
    tls.client(name).map(Some)
}

/// Reads `amqp://user:password@host:port/vhost` as Celery does: what is missing is guest, guest, 5672
/// (of `amqps://` 5671) and `/`.
pub(super) fn address(broker: &str) -> Result<AMQPUri, String> {
    let url = url::Url::parse(broker).map_err(|error| error.to_string())?;
    let is_of_tls = |word: &str| word.starts_with("ssl") || NOT_READ.contains(&word);
    if url.query_pairs().any(|(word, _)| is_of_tls(&word)) {
        return Err("it says something of TLS behind `?`, which is not read: begin it with amqps://, and say that by `tls`".to_owned());
    }
    let mut uri: AMQPUri = broker.parse()?;
    // The library takes the address of an IPv6 host for none at all.
    if let Some(host) = url.host_str() {
        uri.authority.host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    }
    if uri.vhost.is_empty() {
        uri.vhost = "/".to_owned();
    }
    Ok(uri)
}

impl Broker for Rabbitmq {
    type Tag = Tag;
    type Error = Failure;
    /// There is no answer to `basic.ack`.
    const CONFIRMS: bool = false;
    const HURRY_PART: usize = 8;

    fn place(&self) -> String {
        let AMQPUri { authority, vhost, .. } = &self.uri;
        let host = match authority.host.contains(':') {
            true => format!("[{}]", authority.host),
            false => authority.host.clone(),
        };
        let vhost = vhost.strip_prefix('/').unwrap_or(vhost);
        let scheme = if self.tls.is_some() { "amqps" } else { "amqp" };
        format!("{scheme}://{host}:{}/{vhost} {}", authority.port, self.queue)
    }

    fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    fn disconnect(&mut self) {
        self.link = None;
    }

    fn holds(&self, tag: &Tag) -> bool {
        self.link.as_ref().is_some_and(|link| link.holds(*tag))
    }

    async fn gather(&mut self) {
        if let Some(link) = &mut self.link {
            link.gather().await;
        }
    }

    async fn take(&mut self, room: usize) -> Result<Vec<Delivery<Tag>>, Failure> {
        let link = self.connected().await?;
        timeout(RESPONSE_TIMEOUT, link.make_room()).await??;
        let taken = link.take(room.min(BATCH))?;
        timeout(RESPONSE_TIMEOUT, link.give_back_missed()).await??;
        Ok(taken)
    }

    async fn ready(&mut self) {
        match &mut self.link {
            Some(link) => link.ready().await,
            None => std::future::pending().await,
        }
    }

    async fn acknowledge(&mut self, tags: &[Tag]) -> Result<(), Failure> {
        self.answer(tags, Answer::Acknowledge).await
    }

    async fn reject(&mut self, tags: &[Tag]) -> Result<(), Failure> {
        self.answer(tags, Answer::Reject).await
    }

    /// They go back to where they were, whichever end is asked for.
    async fn give_back(&mut self, tags: &[Tag], _: End) -> Result<(), Failure> {
        self.answer(tags, Answer::Return).await
    }

    fn put_aside(&mut self, tag: &Tag) {
        if let Some(link) = &mut self.link {
            link.put_aside(*tag);
        }
    }

    fn has_to_tend(&self) -> bool {
        self.link.as_ref().is_some_and(Link::has_held_for_long)
    }

    /// Gives back what is in hand for long, to have it delivered again: the broker ends a channel on which a message is not
    /// answered in time.
    async fn tend(&mut self) -> Result<Tended, Failure> {
        let Some(link) = &self.link else { return Ok(Tended::default()) };
        let old = link.held_for_long();
        let has_returned = !old.is_empty();
        if has_returned {
            self.answer(&old, Answer::Return).await?;
        }
        Ok(Tended { restored: 0, has_returned })
    }

    /// What arrived and was not taken goes back as the connection ends.
    async fn end(mut self, left: &[Tag]) -> Result<(), Failure> {
        if !left.is_empty() {
            self.answer(left, Answer::Return).await?;
        }
        match self.link {
            Some(link) => timeout(RESPONSE_TIMEOUT, link.close()).await?,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::secret::Secret;

    fn place(broker: &str) -> String {
        let config = Config { broker: Secret::from(broker), ..Config::default() };
        let tls = broker.starts_with("amqps").then(|| Arc::new(tls::never().unwrap()));
        Rabbitmq::new(&config, tls).unwrap().place()
    }

    #[test]
    fn a_broker_is_named_as_celery_names_it_and_shown_without_its_login() {
        for (broker, shown) in [
            ("amqp://", "amqp://localhost:5672/ celery"),
            ("amqp://me:hush@host:1234/shop", "amqp://host:1234/shop celery"),
            ("amqp://me:hush@host", "amqp://host:5672/ celery"),
            ("amqp://host/", "amqp://host:5672/ celery"),
            ("amqps://me:hush@host", "amqps://host:5671/ celery"),
            ("amqp://host//", "amqp://host:5672/ celery"),
            ("amqp://host/%2Fshop", "amqp://host:5672/shop celery"),
            ("amqp://[::1]:99/a", "amqp://[::1]:99/a celery"),
        ] {
            assert_eq!(place(broker), shown, "{broker}");
        }
    }

    /// `connection.start`, with nothing that is not needed.
    const START: &[u8] = b"\x01\0\0\0\0\0\x1c\0\x0a\0\x0a\0\x09\0\0\0\0\0\0\0\x05PLAIN\0\0\0\x05en_US\xce";

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_connection_that_is_given_up_ends_whatever_the_broker_has_said() {
        for (scheme, said) in [("amqps", &b""[..]), ("amqp", b""), ("amqp", START)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let broker = format!("{scheme}://{}", listener.local_addr().unwrap());
            let config = Config { broker: Secret::from(broker.as_str()), ..Config::default() };
            let tls = (scheme == "amqps").then(|| Arc::new(tls::never().unwrap()));
            let mut rabbitmq = Rabbitmq::new(&config, tls).unwrap();
            let begun = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.read_exact(&mut [0; 8]).await.unwrap();
                stream.write_all(said).await.unwrap();
                if !said.is_empty() {
                    stream.read_exact(&mut [0; 8]).await.unwrap();
                }
                stream
            };
            let mut stream = tokio::select! {
                _ = rabbitmq.connected() => panic!("there is no broker"),
                stream = begun => stream,
            };
            let mut read = [0; 1024];
            let end = async { while stream.read(&mut read).await.is_ok_and(|n| n > 0) {} };
            timeout(RESPONSE_TIMEOUT, end).await.expect(scheme);
        }
    }

    #[test]
    fn what_is_said_of_tls_is_not_passed_over() {
        for word in ["ssl_cert_reqs=none", "heartbeat=3&cacertfile=/ca", "verify=verify_none"] {
            let error = address(&format!("amqps://me:hush@h?{word}")).unwrap_err();
            assert!(error.contains("by `tls`") && !error.contains("hush"), "{error}");
        }
        address("amqps://me:hush@h?heartbeat=3").unwrap();
    }

    #[test]
    fn a_login_is_read_with_its_escapes() {
        let uri = address("amqp://me%40shop:hu%2Fsh@h/%2f").unwrap();
        let login = (uri.authority.userinfo.username.as_str(), uri.authority.userinfo.password.as_str());
        assert_eq!((login, uri.vhost.as_str()), (("me@shop", "hu/sh"), "/"));
    }
}
