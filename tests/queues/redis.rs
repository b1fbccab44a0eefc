//! The real Redis: one of the test's own, which is stopped behind it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use redis::{Connection, FromRedisValue};

use crate::broker::{self, Broker};

/// A server.
pub(crate) struct Server {
    broker: Broker,
    /// `redis://127.0.0.1:port`
    pub(crate) url: String,
}

impl Server {
    /// A server for `test`, on which every write is on disk before it is answered; or a word that the test is skipped.
    pub(crate) fn start(test: &str) -> Option<Server> {
        Server::start_with(test, &["--durable"])
    }

    /// The same with more options of its script.
    pub(crate) fn start_with(test: &str, options: &[&str]) -> Option<Server> {
        if !broker::is_there("redis", test).unwrap() {
            return None;
        }
        let broker = Broker::start("redis", test, options).unwrap();
        let url = broker.url.clone();
        Some(Server { broker, url })
    }

    /// Kills it; [`Server::restart`] starts it again.
    pub(crate) fn kill(&self) {
        self.broker.run("kill");
    }

    /// Kills it and starts it again.
    pub(crate) fn restart(&self) {
        self.broker.run("restart");
    }

    /// Asks it something: words between spaces.
    pub(crate) fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut asked = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            asked.arg(word);
        });
        asked.query(&mut self.connection()).unwrap()
    }

    /// Does something, and gives the commands that it was given meanwhile, as `MONITOR` shows them.
    pub(crate) fn watched(&self, work: impl FnOnce()) -> Vec<String> {
        const END: &str = "that is all";
        let mut stream = TcpStream::connect(self.url.strip_prefix("redis://").unwrap()).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        assert_eq!(lines.next().as_deref(), Some("+OK"));
        let watching = std::thread::spawn(move || lines.take_while(|line| !line.contains(END)).collect());
        work();
        redis::cmd("ECHO").arg(END).exec(&mut self.connection()).unwrap();
        watching.join().unwrap()
    }

    pub(crate) fn connection(&self) -> Connection {
        redis::Client::open(self.url.as_str()).unwrap().get_connection().unwrap()
    }
}
