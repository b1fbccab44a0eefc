//! One server of the cluster: how to get to it, and the connections to it that nobody uses at the moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::TcpStream;

use super::connection::{Error, Session, Stream};
use crate::sink::address::Login;
use crate::tls;

/// A server.
pub(super) struct Door {
    host: String,
    port: u16,
    tls: Option<Arc<rustls::ClientConfig>>,
    login: Login,
    idle: Mutex<Vec<Session>>,
}

impl Door {
    /// One that nobody has gone through yet.
    pub(super) fn new(host: &str, port: u16, tls: Option<Arc<rustls::ClientConfig>>, login: Login) -> Self {
        // Brackets are for URLs.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Door { host, port, tls, login, idle: Mutex::default() }
    }

    /// For people, without the login.
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// A connection that is logged in: one that is idle, or a new one.
    pub(super) async fn session(&self) -> Result<Session, Error> {
        loop {
            let idle = self.idle().pop();
            let Some(mut session) = idle else { break };
            if session.is_open().await {
                return Ok(session);
            }
        }
        let stream = TcpStream::connect((&*self.host, self.port)).await.map_err(Error::Connect)?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(config) => Box::new(tls::connect(config, &self.host, stream).await.map_err(Error::Tls)?),
        };
        Session::start(stream, self.login.clone()).await
    }

    /// Takes back a connection, if all on it was answered.
    pub(super) fn put_back(&self, session: Session) {
        if session.is_whole() {
            self.idle().push(session);
        }
    }

    /// Closes the connections that are idle: they lead to a server in trouble.
    pub(super) fn close(&self) {
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        // Each change is one call of a vector: a panic elsewhere leaves nothing half done.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
