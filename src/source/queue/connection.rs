//! A connection to a Redis, made when it is first needed and made anew after an error.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};

/// How long an answer may take. The commands are short, but a Redis that syncs every write may be slow.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after the broker was away.
pub const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// A Redis, and the connection to it if there is one.
pub struct Connection {
    client: Client,
    open: Option<MultiplexedConnection>,
}

impl Connection {
    /// Nothing is connected to yet.
    pub fn new(url: &str) -> RedisResult<Self> {
        Ok(Connection { client: Client::open(url)?, open: None })
    }

    /// Where it is, without the login.
    pub fn place(&self) -> String {
        let info = self.client.get_connection_info();
        format!("redis://{}/{}", info.addr(), info.redis_settings().db())
    }

    /// The connection, made anew if there is none. After an error it has to be given up with `disconnect`.
    pub async fn get(&mut self) -> RedisResult<MultiplexedConnection> {
        if let Some(open) = &self.open {
            return Ok(open.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(RESPONSE_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let open = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(self.open.insert(open).clone())
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
