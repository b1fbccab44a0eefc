//! Kaneda's reports over ZeroMQ: a PULL socket for what applications PUSH.
//!
//! ZeroMQ has no acknowledgements. What was received and is not stored when the daemon is killed is lost: at most what
//! the kernel, one read of each connection and the open chunks hold, see `docs/queues.md`.

use std::io;
use std::path::PathBuf;
use std::time::Duration as Time;

use futures_util::{FutureExt, StreamExt};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};
use zeromq::{PullSocket, Socket, SocketEvent, SocketOptions, SocketRecv, ZmqError, ZmqMessage};

use super::queue::{Error, from_object};
use super::{Context, Counters, Message, Messages, Took, Unread, address};
use crate::status::State;
use crate::unit::{Duration, Size};

/// The keys of a `zmq` source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where applications bind their PUSH sockets: one address, or a list of them.
    pub connection_url: OneOrMore,
    /// Binds these addresses in place of connecting to them.
    pub bind: bool,
    /// The `host` of reports. Not set: the machine's name, as in Kaneda.
    pub hostname: Option<String>,
    /// The longest message.
    pub max_message: Size,
    /// How long a message may wait for others before it goes on.
    pub max_latency: Duration,
    /// The file of messages that are no reports; empty: they are only logged.
    pub dead_letters: Option<PathBuf>,
    /// Bytes of that file. A full one is kept until the next is full.
    pub dead_letters_max_size: Size,
}

/// One text, or a list of them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMore {
    /// Not in brackets.
    One(String),
    /// In brackets.
    More(Vec<String>),
}

impl OneOrMore {
    /// What is in it.
    pub fn as_slice(&self) -> &[String] {
        match self {
            OneOrMore::One(one) => std::slice::from_ref(one),
            OneOrMore::More(more) => more,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            connection_url: OneOrMore::More(Vec::new()),
            bind: false,
            hostname: None,
            max_message: Size::from_kib(256),
            max_latency: Duration::from_millis(2),
            dead_letters: None,
            dead_letters_max_size: Size::from_mib(64),
        }
    }
}

/// Addresses of one source: each has a socket and an open chunk of its own.
const MOST_ADDRESSES: usize = 64;
/// What the library reads at once of one connection.
const READ_BYTES: usize = 64 << 10;
/// Messages that are taken before anything else is looked at, if so many are there.
const MOST_AT_ONCE: usize = 256;
/// Each attempt to connect ends after this, and the next begins: so the pauses in it stay short.
const CONNECT_TIMEOUT: Time = Time::from_secs(2);

impl Config {
    /// Whether its values make sense. The error names the key.
    pub fn check(&self) -> Result<(), String> {
        let urls = self.connection_url.as_slice();
        if urls.is_empty() || urls.len() > MOST_ADDRESSES {
            return Err(format!(
                "connection_url: 1 to {MOST_ADDRESSES} addresses are needed, as \"tcp://127.0.0.1:5555\", where \
                 applications bind (Kaneda's ZMQ_CONNECTION_URL)"
            ));
        }
        for url in urls {
            let place = url.strip_prefix("tcp://").and_then(|place| place.rsplit_once(':'));
            if !place
                .is_some_and(|(host, port)| !host.is_empty() && host != "*" && port.parse::<u16>().is_ok())
            {
                return Err(format!("connection_url = {url:?}: write it as \"tcp://127.0.0.1:5555\""));
            }
        }
        if self.max_message.bytes() == 0 {
            return Err("max_message = 0: must be at least 1B".to_owned());
        }
        Ok(())
    }

    /// Bytes that the source holds at most, chunks and dead letters apart.
    pub fn memory(&self) -> usize {
        // As it was read, and as a line of the protocol.
        self.sockets() * (2 * READ_BYTES + 2 * self.max_message.bytes() as usize)
    }

    /// How many sockets there are, each with an open chunk.
    pub fn sockets(&self) -> usize {
        self.connection_url.as_slice().len()
    }
}

/// One socket of the source.
pub struct Pull {
    socket: PullSocket,
    /// Where it is bound, or what it connects to.
    url: String,
    is_bound: bool,
}

impl Pull {
    /// Its address, with the real port.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Makes the sockets, and binds them if they are to be bound. Must be called in a runtime. The error names the key to change.
pub async fn bind(config: &Config) -> io::Result<Vec<Pull>> {
    config.check().map_err(address::invalid)?;
    let mut sockets = Vec::new();
    for url in config.connection_url.as_slice() {
        let mut options = SocketOptions::default();
        options.connect_timeout(CONNECT_TIMEOUT);
        let mut socket = PullSocket::with_options(options);
        let mut url = url.clone();
        if config.bind {
            let bound = socket.bind(&url).await;
            let bound =
                bound.map_err(|error| io::Error::other(format!("connection_url = {url:?}: {error}")))?;
            url = bound.to_string();
        }
        sockets.push(Pull { socket, url, is_bound: config.bind });
    }
    Ok(sockets)
}

/// Takes what comes on one socket until it is told to stop. It does not read while `intake` has no room, and so the
/// senders' queues fill up.
pub async fn run(pull: Pull, mut intake: impl Messages, context: Context, config: Config) {
    let Pull { mut socket, url, is_bound } = pull;
    let counters = &context.counters;
    let condition = &counters.queue.condition;
    let mut events = socket.monitor();
    let mut is_connected = is_bound;
    let mut flush_at: Option<Instant> = None;
    loop {
        if !is_connected {
            let connected = tokio::select! {
                connected = socket.connect(&url) => connected,
                () = context.stop.cancelled() => break,
            };
            match connected {
                Ok(()) => {
                    info!(url, "connected");
                    condition.set(State::Ok);
                    is_connected = true;
                }
                // The next attempt follows at once, since this one had its pauses.
                Err(ZmqError::ConnectTimeout(_)) => {
                    condition.fail(State::Retrying, format!("{url}: nobody is there yet"));
                    continue;
                }
                Err(error) => {
                    warn!(url, %error, "cannot connect; it is tried again");
                    condition.fail(State::Retrying, format!("{url}: {error}"));
                    let pause = tokio::time::sleep(CONNECT_TIMEOUT);
                    tokio::select! { () = pause => continue, () = context.stop.cancelled() => break }
                }
            }
        }
        let due = async {
            match flush_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = context.stop.cancelled() => break,
            () = due => {
                flush_at = None;
                let _nobody_waits = intake.flush().await;
            }
            received = socket.recv() => {
                intake.begin_read();
                flush_at = flush_at.or_else(|| Some(Instant::now() + config.max_latency.get()));
                let (mut next, mut left) = (Some(received), MOST_AT_ONCE);
                while let Some(received) = next {
                    match received {
                        Ok(message) => take(&mut intake, message, counters, &config).await,
                        Err(error) => info!(url, %error, "a connection failed"),
                    }
                    left -= 1;
                    next = if left > 0 { socket.recv().now_or_never() } else { None };
                }
            },
            event = next(&mut events) => match event {
                SocketEvent::Disconnected(_) => {
                    counters.connections.sub(1);
                    // The library does not connect again by itself.
                    is_connected = is_bound;
                    if !is_bound {
                        info!(url, "the application has gone; it is connected to again when it comes back");
                        // Nobody looks at the time until then.
                        if flush_at.take().is_some() {
                            let _nobody_waits = intake.flush().await;
                        }
                    }
                }
                SocketEvent::Connected(..) | SocketEvent::Accepted(..) => {
                    counters.connections.add(1);
                    counters.connections_total.add(1);
                }
                _ => {}
            },
        }
    }
    let _nobody_waits = intake.flush().await;
}

/// The next event of a socket.
async fn next(events: &mut (impl futures_util::Stream<Item = SocketEvent> + Unpin)) -> SocketEvent {
    match events.next().await {
        Some(event) => event,
        // The socket holds the other end for as long as it lives.
        None => std::future::pending().await,
    }
}

/// Hands a message to the intake: nearly each is a report as it came, and every other one is read here.
async fn take(intake: &mut impl Messages, message: ZmqMessage, counters: &Counters, config: &Config) {
    let max_message = config.max_message.bytes() as usize;
    let parts = message.into_vec();
    let whole;
    let (bytes, problem): (&[u8], _) = match &parts[..] {
        [part] if part.len() <= max_message => (part, None),
        [part] => (part, Some(Error::TooLong(max_message))),
        parts => {
            whole = parts.concat();
            (&whole, Some(Error::BadEnvelope("it has several parts".to_owned())))
        }
    };
    counters.datagrams.add(1);
    counters.bytes.add(bytes.len() as u64);
    while problem.is_none() {
        match intake.as_it_came(bytes) {
            Some(Took::Full) => drop(intake.flush().await),
            Some(_) => return,
            None => break,
        }
    }
    let line = problem.map_or_else(|| from_object(bytes), Err);
    loop {
        let took = match &line {
            Ok(line) => intake.message(&Message { line, id: None, received: None }),
            Err(error) => {
                let (code, reason) = (error.code(), error.to_string());
                intake.unread(&Unread { bytes, id: None, code, reason: &reason })
            }
        };
        match took {
            Took::Full => drop(intake.flush().await),
            Took::Taken | Took::Known | Took::Refused(..) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;
    use zeromq::{PushSocket, SocketSend, ZmqMessage};

    use super::*;
    use crate::source::Kept;

    /// Has room for one message, and then only for as many flushes as are permitted.
    struct Narrow {
        permits: Arc<Semaphore>,
        is_full: bool,
    }

    impl Messages for Narrow {
        type Kept = std::future::Ready<Kept>;

        fn message(&mut self, _: &Message<'_>) -> Took {
            if std::mem::replace(&mut self.is_full, true) { Took::Full } else { Took::Taken }
        }

        fn unread(&mut self, _: &Unread<'_>) -> Took {
            Took::Taken
        }

        async fn flush(&mut self) -> Self::Kept {
            self.permits.acquire().await.unwrap().forget();
            self.is_full = false;
            std::future::ready(Kept::Stored)
        }

        fn hurry(&self) {}

        fn forget(&mut self, _: &str) {}
    }

    #[tokio::test]
    async fn nothing_is_read_while_the_intake_has_no_room() {
        let url = "tcp://127.0.0.1:0".to_owned();
        let config = Config {
            connection_url: OneOrMore::One(url),
            bind: true,
            max_latency: Duration::from_secs(60),
            ..Config::default()
        };
        let pull = bind(&config).await.unwrap().remove(0);
        let mut push = PushSocket::new();
        push.connect(pull.url()).await.unwrap();
        let (permits, context) =
            (Arc::new(Semaphore::new(0)), Context { stop: Default::default(), counters: Arc::default() });
        let intake = Narrow { permits: Arc::clone(&permits), is_full: false };
        let running = tokio::spawn(run(pull, intake, context.clone(), config));
        for _ in 0..5 {
            push.send(ZmqMessage::from(r#"{"name":"a","metric":"gauge","value":1}"#)).await.unwrap();
        }
        let until_read = async |messages| {
            while context.counters.datagrams.get() < messages {
                tokio::time::sleep(Time::from_millis(1)).await;
            }
        };
        // One is taken, and the next is in hand.
        until_read(2).await;
        tokio::time::sleep(Time::from_millis(100)).await;
        assert_eq!(context.counters.datagrams.get(), 2);
        permits.add_permits(2);
        until_read(4).await;
        tokio::time::sleep(Time::from_millis(100)).await;
        assert_eq!(context.counters.datagrams.get(), 4);
        permits.add_permits(5);
        until_read(5).await;
        context.stop.cancel();
        running.await.unwrap();
    }

    #[tokio::test]
    async fn what_was_read_is_sent_off_when_the_application_goes_away() {
        let mut push = PushSocket::new();
        let url = push.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
        let config = Config {
            connection_url: OneOrMore::One(url),
            max_latency: Duration::from_secs(3600),
            ..Config::default()
        };
        let pull = bind(&config).await.unwrap().remove(0);
        // One more for the end.
        let (permits, context) =
            (Arc::new(Semaphore::new(2)), Context { stop: Default::default(), counters: Arc::default() });
        let intake = Narrow { permits: Arc::clone(&permits), is_full: false };
        let running = tokio::spawn(run(pull, intake, context.clone(), config));
        let sent_off = async {
            while push.send(ZmqMessage::from(r#"{"name":"a","metric":"gauge","value":1}"#)).await.is_err() {
                tokio::time::sleep(Time::from_millis(1)).await;
            }
            while context.counters.datagrams.get() < 1 {
                tokio::time::sleep(Time::from_millis(1)).await;
            }
            drop(push);
            while permits.available_permits() > 1 {
                tokio::time::sleep(Time::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Time::from_secs(60), sent_off).await.unwrap();
        context.stop.cancel();
        running.await.unwrap();
    }

    #[test]
    fn an_address_that_is_none_is_refused_by_its_key() {
        for text in
            ["", "connection_url = []", "connection_url = 'ipc:///tmp/a'", "connection_url = 'tcp://*:1'"]
        {
            let config: Config = toml::from_str(text).unwrap();
            assert!(config.check().unwrap_err().starts_with("connection_url"), "{text}");
        }
        let config: Config =
            toml::from_str("connection_url = ['tcp://a:1', 'tcp://[::1]:2']\nmax_message = '0B'").unwrap();
        assert!(config.check().unwrap_err().starts_with("max_message"));
        assert_eq!(config.sockets(), 2);
    }
}
