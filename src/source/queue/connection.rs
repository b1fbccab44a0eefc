//! A connection to a Redis, made when it is first needed and made anew after an error.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, RedisResult};
use rustls::ClientConfig;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::redis_url::{RedisUrl, Tls};
use crate::tls;

/// How long an answer may take. The commands are short, but a Redis that syncs every write may be slow.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after the broker was away.
pub const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// A Redis, and the connection to it if there is one.
pub struct Connection {
    client: Client,
    tls: Option<Arc<ClientConfig>>,
    response_timeout: Duration,
    open: Option<Open>,
}

struct Open {
    connection: MultiplexedConnection,
    /// Of one with TLS: ends it.
    _end: Option<DropGuard>,
}

impl Connection {
    /// Nothing is connected to yet. What TLS needs is read, for the source `name`. The error names `key`, which has the URL, or
    /// `tls`.
    pub fn new(url: RedisUrl, key: &str, name: &str) -> Result<Self, String> {
        let RedisUrl { client, tls } = url;
        let tls = match tls {
            Tls::Never => None,
            Tls::Table(tls) => Some(tls.client(name).map_err(|error| error.to_string())?),
            Tls::Words(tls) => Some(tls.client(name).map_err(|error| format!("{key}: {error}"))?),
        };
        Ok(Connection { client, tls, response_timeout: RESPONSE_TIMEOUT, open: None })
    }

    /// The same with another time that an answer may take.
    pub fn within(self, response_timeout: Duration) -> Self {
        Connection { response_timeout, ..self }
    }

    /// Where it is, without the login.
    pub fn place(&self) -> String {
        let info = self.client.get_connection_info();
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://{}/{}", info.addr(), info.redis_settings().db())
    }

    /// The connection, made anew if there is none. After an error it has to be given up with `disconnect`.
    pub async fn get(&mut self) -> RedisResult<MultiplexedConnection> {
        if let Some(open) = &self.open {
            return Ok(open.connection.clone());
        }
        let open = match &self.tls {
            Some(tls) => timeout(self.response_timeout, self.secured(tls)).await.unwrap_or_else(late)?,
            None => {
                let config = self.config().set_connection_timeout(Some(self.response_timeout));
                let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
                Open { connection, _end: None }
            }
        };
        Ok(self.open.insert(open).connection.clone())
    }

    /// The library's own TLS wants the certificates of the machine even where others are to be trusted.
    async fn secured(&self, tls: &Arc<ClientConfig>) -> RedisResult<Open> {
        let info = self.client.get_connection_info();
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            return Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into());
        };
        let addresses: Vec<_> = lookup_host((host.as_str(), *port)).await?.collect();
        // So that there is time for the others when nobody answers at one.
        let each = self.response_timeout / addresses.len().max(1) as u32;
        let mut stream = Err(std::io::Error::from(std::io::ErrorKind::AddrNotAvailable).into());
        for address in addresses {
            let connecting = async {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(tls::connect(tls, host, stream).await?)
            };
            stream = timeout(each, connecting).await.unwrap_or_else(late);
            if stream.is_ok() {
                break;
            }
        }
        let settings = info.redis_settings();
        let (connection, work) =
            MultiplexedConnection::new_with_config(settings, stream?, self.config()).await?;
        let end = CancellationToken::new();
        let (ended, patience) = (end.clone(), self.response_timeout);
        tokio::spawn(async move {
            // Who has a clone may still wait for an answer, but not for longer.
            let late = async {
                ended.cancelled().await;
                sleep(patience).await;
            };
            tokio::select! {
                () = work => {}
                () = late => {}
            }
        });
        Ok(Open { connection, _end: Some(end.drop_guard()) })
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new().set_response_timeout(Some(self.response_timeout))
    }

    /// The next call connects again.
    pub fn disconnect(&mut self) {
        self.open = None;
    }

    /// Whether it is connected.
    pub fn is_connected(&self) -> bool {
        self.open.is_some()
    }
}

fn late<T, E>(_: E) -> RedisResult<T> {
    Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())
}
