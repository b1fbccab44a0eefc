//! A stand-in for RethinkDB 2.4, where no real one is to be had: the protocol of drivers, a few terms of ReQL, tables in
//! memory. It answers only what the real server answers, and refuses what that refuses, in its words.
//!
//! Written from the documentation ("Writing drivers", `ql2.proto`), and where that is silent from the source of 2.4.4;
//! each file says which. What it has no term for it refuses as an unknown one. Used as
//! `#[path = "../rethinkdb/standin/mod.rs"] mod standin;`.

#![allow(dead_code, unused_imports, reason = "each user asks for some of it")]

mod datum;
mod eval;
mod handshake;
mod insert;
mod query;
mod store;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub(crate) use handshake::{log_in, sign};
pub(crate) use store::Store;

/// `wire_protocol_t::TOO_LARGE_QUERY_SIZE`.
const TOO_LARGE_QUERY: u32 = 128 << 20;

/// A running stand-in; it ends when it is dropped.
pub(crate) struct Standin {
    pub(crate) address: SocketAddr,
    store: Arc<Mutex<Store>>,
    task: JoinHandle<()>,
}

impl Standin {
    /// One with nothing in it, and the user `admin` with this password.
    pub(crate) async fn start(password: &str) -> Standin {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let store = Arc::new(Mutex::new(Store::new(password)));
        let shared = Arc::clone(&store);
        let task = tokio::spawn(async move {
            // Dropped with all connections.
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((stream, _)) = accepted else { continue };
                        connections.spawn(serve(stream, Arc::clone(&shared)));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Standin { address, store, task }
    }

    /// What is in it, to be looked at or changed as no client could.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Store) -> T) -> T {
        look(&mut self.store.lock().expect("no test has failed in it"))
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, until the client ends it or says something that cannot be understood.
async fn serve(mut stream: TcpStream, store: Arc<Mutex<Store>>) -> std::io::Result<()> {
    // As the real one: the answers to several queries do not wait for each other.
    stream.set_nodelay(true)?;
    let Some(user) = handshake::log_in(&mut stream, &store).await? else { return Ok(()) };
    loop {
        let token = stream.read_u64_le().await?;
        let size = stream.read_u32_le().await?;
        if size >= TOO_LARGE_QUERY {
            let text = format!("Query size ({size}) greater than maximum ({}).", TOO_LARGE_QUERY - 1);
            return answer(&mut stream, token, query::client_error(&text)).await;
        }
        let mut bytes = vec![0; size as usize];
        stream.read_exact(&mut bytes).await?;
        let said = query::answer(&bytes, &user, &store);
        answer(&mut stream, token, said).await?;
    }
}

async fn answer(stream: &mut TcpStream, token: u64, answer: serde_json::Value) -> std::io::Result<()> {
    let text = answer.to_string();
    let mut frame = token.to_le_bytes().to_vec();
    frame.extend_from_slice(&u32::try_from(text.len()).expect("an answer of 4 GiB").to_le_bytes());
    frame.extend_from_slice(text.as_bytes());
    stream.write_all(&frame).await
}
