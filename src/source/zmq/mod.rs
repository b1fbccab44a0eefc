//! Kaneda's reports over ZeroMQ: a PULL socket for what applications PUSH.
//!
//! ZeroMQ has no acknowledgements. What was received and is not stored when the daemon is killed is lost: at most what
//! the kernel and the open chunks hold, see `docs/queues.md`.
//!
//! Its protocol is spoken here, see `docs/adr/0006-zeromq.md`.

mod config;
mod connection;
mod frame;
mod url;
mod zmtp;

#[cfg(test)]
mod tests;

use std::future::pending;
use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::queue::{Error as Problem, from_object};
use super::{Context, Counters, Message, Messages, Took, Unread, address};
use crate::status::State;
use crate::telemetry::Seldom;
pub use config::{Config, OneOrMore};
use connection::{Connection, Error, READ_BYTES};
use frame::Frame;
pub use frame::check;
use url::{Bound, Url, Wire};

/// So long is read at the end what has come already.
const LAST_READS: Duration = Duration::from_millis(200);
/// Pause before the next attempt to connect, and after `accept` failed.
const PAUSE: Duration = Duration::from_millis(200);

/// One address of the source.
#[derive(Debug)]
pub struct Pull {
    url: Url,
    /// As it is written, with the real port.
    text: String,
    /// None: it is connected to.
    bound: Option<Bound>,
}

impl Pull {
    /// Its address, with the real port.
    pub fn url(&self) -> &str {
        &self.text
    }
}

/// Binds the addresses, if they are to be bound. Must be called in a runtime. The error names the key to change.
pub fn bind(config: &Config) -> io::Result<Vec<Pull>> {
    config.check().map_err(address::invalid)?;
    let pull = |text: &String| {
        let url = Url::read(text, config.bind).map_err(address::invalid)?;
        let bound = config.bind.then(|| url.bind(config.mode)).transpose();
        let bound = bound
            .map_err(|error| io::Error::new(error.kind(), format!("connection_url = {text:?}: {error}")))?;
        let address = bound.as_ref().map(Bound::address).transpose()?.flatten();
        let text = address.map_or_else(|| text.clone(), |address| format!("tcp://{address}"));
        Ok(Pull { url, text, bound })
    };
    config.connection_url.as_slice().iter().map(pull).collect()
}

/// Takes what comes at one address until it is told to stop. It does not read while `intake` has no room, and so the
/// senders' queues fill up.
pub async fn run(pull: Pull, intake: impl Messages, context: Context, config: Config) {
    let Pull { url, text, bound } = pull;
    let counters = &context.counters;
    let mut inbox = Inbox { intake, waiting: 0, flush_at: None, counters, config: &config };
    let mut buffer = vec![0; READ_BYTES];
    let mut peers = FuturesUnordered::new();
    let step = |peer| step(peer, &url, config.max_message.bytes() as usize, &context.stop);
    // Of the peers, those whose hands were shaken.
    let mut here = 0;
    if bound.is_none() {
        peers.push(step(Peer::Absent(Duration::ZERO)));
    }
    let mut accept_at = Instant::now();
    let mut trouble = Trouble { url: &text, last: String::new(), seldom: Seldom::default() };
    loop {
        let due = async {
            match inbox.flush_at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        let accepted = async {
            let Some(bound) = &bound else { return pending().await };
            sleep_until(accept_at).await;
            bound.accept().await
        };
        // In no order of its own: neither those who connect without end hold up those who send, nor the other way round.
        let event = tokio::select! {
            () = context.stop.cancelled() => break,
            () = due => {
                inbox.flush().await;
                continue;
            }
            accepted = accepted => match accepted {
                Ok(wire) if peers.len() < config.max_connections => {
                    peers.push(step(Peer::Come(wire)));
                    continue;
                }
                Ok(_) => Event::Refused(Error::TooMany(config.max_connections)),
                // Mostly for want of file descriptors: until one is closed it would fail again.
                Err(error) => {
                    trouble.tell(&error.into());
                    accept_at = Instant::now() + PAUSE;
                    continue;
                }
            },
            Some(event) = peers.next() => event,
        };
        match event {
            Event::Opened(connection) => {
                here += 1;
                counters.connections.add(1);
                counters.connections_total.add(1);
                if bound.is_none() {
                    info!(url = text, "connected");
                    trouble.last.clear();
                    // The others of its addresses may be away.
                    if counters.connections.get() == config.addresses() as u64 {
                        counters.queue.condition.set(State::Ok);
                    }
                }
                peers.push(step(Peer::Here(connection)));
            }
            Event::Readable(mut connection) => match inbox.read(&mut connection, &mut buffer).await {
                Ok(_) => {
                    peers.push(step(Peer::Here(connection)));
                    // Who sends without end leaves time to the others.
                    yield_now().await;
                }
                Err(error) => {
                    here -= 1;
                    inbox.end(&connection).await;
                    trouble.tell(&error);
                    if bound.is_none() {
                        counters.queue.condition.fail(State::Retrying, format!("{text}: {error}"));
                        peers.push(step(Peer::Absent(PAUSE)));
                    }
                }
            },
            Event::Refused(error) => {
                trouble.tell(&error);
                if bound.is_none() {
                    counters.queue.condition.fail(State::Retrying, format!("{text}: {error}"));
                    peers.push(step(Peer::Absent(PAUSE)));
                } else {
                    counters.connections_refused.add(1);
                }
            }
        }
    }
    let until = Instant::now() + LAST_READS;
    while here > 0 {
        match timeout_at(until, peers.next()).await {
            Ok(Some(Event::Readable(mut connection))) => {
                while let Ok(true) = inbox.read(&mut connection, &mut buffer).await
                    && Instant::now() < until
                {}
                here -= 1;
                inbox.end(&connection).await;
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    inbox.flush().await;
}

/// Who is at the other end.
#[derive(Debug)]
enum Peer {
    /// Nobody; after a pause it is connected to.
    Absent(Duration),
    /// Somebody who has connected.
    Come(Wire),
    /// An application.
    Here(Connection),
}

/// What has come of a peer.
enum Event {
    /// Hands were shaken.
    Opened(Connection),
    /// There is something to read, or the end of it.
    Readable(Connection),
    /// There is no connection.
    Refused(Error),
}

/// Waits for what is next with a peer; with one that is here no longer than until the stop.
async fn step(peer: Peer, url: &Url, max_message: usize, stop: &CancellationToken) -> Event {
    let wire = match peer {
        Peer::Here(connection) => {
            // What is wrong is met again by whoever reads.
            tokio::select! {
                _ = connection.wire.readable() => {}
                () = stop.cancelled() => {}
            }
            return Event::Readable(connection);
        }
        Peer::Come(wire) => Ok(wire),
        Peer::Absent(pause) => {
            sleep(pause).await;
            url.connect().await.map_err(Error::from)
        }
    };
    let opened = match wire {
        Ok(wire) => Connection::open(wire, max_message).await,
        Err(error) => Err(error),
    };
    opened.map_or_else(Event::Refused, Event::Opened)
}

/// Says what is wrong: not again what it said last, and nothing more than once a second.
struct Trouble<'a> {
    url: &'a str,
    last: String,
    seldom: Seldom,
}

impl Trouble<'_> {
    fn tell(&mut self, error: &Error) {
        let text = error.to_string();
        if text == self.last {
            return;
        }
        let Some(unsaid) = self.seldom.tick() else { return };
        let url = self.url;
        match error {
            // As whenever an application ends or is not there yet.
            Error::Gone | Error::Io(_) => info!(url, unsaid, "no connection: {text}"),
            _ => warn!(url, unsaid, "no connection: {text}"),
        }
        self.last = text;
    }
}

/// What was taken and waits for others.
struct Inbox<'a, M> {
    intake: M,
    /// Messages that were taken and not sent off.
    waiting: usize,
    /// When they are to be.
    flush_at: Option<Instant>,
    counters: &'a Counters,
    config: &'a Config,
}

impl<M: Messages> Inbox<'_, M> {
    /// Reads once, if there is something, and takes the messages of it. Whether there was.
    async fn read(&mut self, connection: &mut Connection, buffer: &mut [u8]) -> Result<bool, Error> {
        let n = match connection.wire.try_read(buffer) {
            Ok(0) => return Err(Error::Gone),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        self.counters.bytes.add(n as u64);
        let mut bytes = &buffer[..n];
        self.intake.begin_read();
        while let Some(frame) = connection.decoder.next(&mut bytes)? {
            let max_message = self.config.max_message.bytes() as usize;
            match frame {
                Frame::Message(message) => self.take(message, None).await,
                Frame::Long(start) => self.take(start, Some(Problem::TooLong(max_message))).await,
                Frame::Parts(parts) => {
                    let problem = Problem::BadEnvelope("it has several parts".to_owned());
                    self.take(parts, Some(problem)).await;
                }
                Frame::Command(command) => {
                    connection.is_deaf = connection::answer(&connection.wire, connection.is_deaf, command)?;
                }
            }
        }
        if self.waiting > 0 {
            self.flush_at = self.flush_at.or_else(|| Some(Instant::now() + self.config.max_latency.get()));
        }
        Ok(true)
    }

    /// A connection has ended: what it brought is sent off.
    async fn end(&mut self, connection: &Connection) {
        self.counters.connections.sub(1);
        self.counters.lines_cut.add(u64::from(connection.decoder.is_inside()));
        self.flush().await;
    }

    /// Hands a message to the intake: nearly each is a report as it came, and every other one is read here.
    async fn take(&mut self, bytes: &[u8], problem: Option<Problem>) {
        self.counters.datagrams.add(1);
        if self.waiting >= self.config.high_water_mark {
            self.flush().await;
        }
        self.waiting += 1;
        while problem.is_none() {
            match self.intake.as_it_came(bytes) {
                Some(Took::Full) => self.make_room().await,
                Some(_) => return,
                None => break,
            }
        }
        let line = problem.map_or_else(|| from_object(bytes), Err);
        loop {
            let took = match &line {
                Ok(line) => self.intake.message(&Message { line, id: None, received: None }),
                Err(error) => {
                    let (code, reason) = (error.code(), error.to_string());
                    self.intake.unread(&Unread { bytes, id: None, code, reason: &reason })
                }
            };
            match took {
                Took::Full => self.make_room().await,
                Took::Taken | Took::Known | Took::Refused(..) => return,
            }
        }
    }

    /// For the message in hand, which waits by itself then.
    async fn make_room(&mut self) {
        self.flush().await;
        self.waiting = 1;
    }

    /// Sends off what waits.
    async fn flush(&mut self) {
        self.flush_at = None;
        if std::mem::take(&mut self.waiting) > 0 {
            let _nobody_waits = self.intake.flush().await;
        }
    }
}
