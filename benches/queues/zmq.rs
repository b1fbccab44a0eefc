//! ZeroMQ: an application of Python's that sends as fast as its library does, to whoever connects.
//!
//! The bare consumer is a PULL socket of the crate `zeromq`, whose messages are counted and dropped. Nothing is acknowledged.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Stdio};

use tokio::runtime::Runtime;
use zeromq::{PullSocket, Socket, SocketRecv};

use crate::meter::{Meter, Spent};
use crate::original::python;
use crate::{Queue, Result, message};

/// With the high-water mark of every socket, as Kaneda leaves it.
const APPLICATION: &str = "
import sys, zmq
url, count = sys.argv[1], int(sys.argv[2])
messages = sys.stdin.buffer.read().splitlines()
context = zmq.Context()
socket = context.socket(zmq.PUSH)
socket.bind(url)
for number in range(count):
    socket.send(messages[number % len(messages)])
socket.close()
context.term()
";

pub(crate) struct Zmq {
    url: String,
    application: Option<Child>,
}

impl Zmq {
    pub(crate) fn new() -> Result<Zmq> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        Ok(Zmq { url: format!("tcp://{address}"), application: None })
    }
}

impl Queue for Zmq {
    fn name(&self) -> &'static str {
        "zmq"
    }

    fn fill(&mut self, reports: usize) -> Result<()> {
        let mut command = python();
        command.args(["-c", APPLICATION, &self.url, &reports.to_string()]).stdin(Stdio::piped());
        let mut application = command.spawn()?;
        let mut input = application.stdin.take().ok_or("no stdin")?;
        input.write_all(message::lines("zmq.jsonl")?.join("\n").as_bytes())?;
        drop(input);
        self.application = Some(application);
        Ok(())
    }

    fn bare(&self) -> &'static [&'static str] {
        &["bare: receives"]
    }

    fn take(&mut self, _: usize, reports: usize) -> Result<Spent> {
        Runtime::new()?.block_on(async {
            let mut socket = PullSocket::new();
            socket.connect(&self.url).await?;
            socket.recv().await?;
            let meter = Meter::start()?;
            for _ in 1..reports {
                std::hint::black_box(socket.recv().await?);
            }
            Ok(meter.stop(reports - 1)?)
        })
    }

    fn source(&self) -> (String, &'static str) {
        (format!("type = 'zmq'\nconnection_url = '{}'", self.url), "messages")
    }

    fn worker(&self) -> (Vec<String>, String) {
        // What its command `zmqworker` is.
        let program = "from kaneda.tasks import zmq_task; zmq_task()".to_owned();
        (vec!["-c".to_owned(), program, format!("--connection_url={}", self.url)], self.url.clone())
    }

    fn clear(&mut self) -> Result<()> {
        match self.application.take().map(|mut application| application.wait()).transpose()? {
            Some(status) if !status.success() => Err(format!("the application failed: {status}").into()),
            _ => Ok(()),
        }
    }
}

impl Drop for Zmq {
    fn drop(&mut self) {
        if let Some(mut application) = self.application.take()
            && let Err(error) = application.kill().and_then(|()| application.wait())
        {
            eprintln!("the application still runs: {error}");
        }
    }
}
