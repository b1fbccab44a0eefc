//! The real Redis: one of the test's own, which is stopped behind it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use redis::{Connection, FromRedisValue};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/servers/redis.sh");

/// A server.
pub(crate) struct Server {
    name: String,
    /// `redis://127.0.0.1:port`
    pub(crate) url: String,
}

impl Server {
    /// A server for `test`, on which every write is on disk before it is answered; or a word that the test is skipped.
    pub(crate) fn start(test: &str) -> Option<Server> {
        if !Command::new(SCRIPT).arg("have").status().unwrap().success() {
            let required = std::env::var_os("KANEDA_TEST_REQUIRE_SERVERS").is_some();
            assert!(!required, "a Redis is needed: run scripts/servers/redis.sh get");
            eprintln!("skipped {test}: no redis-server here; scripts/servers/redis.sh get gets it");
            return None;
        }
        let name = format!("{test}-{}", std::process::id());
        let output = Command::new(SCRIPT).args(["start", &name, "--durable"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let url = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Some(Server { name, url })
    }

    /// Kills it; [`Server::restart`] starts it again.
    pub(crate) fn kill(&self) {
        assert!(Command::new(SCRIPT).args(["kill", &self.name]).status().unwrap().success());
    }

    /// Kills it and starts it again.
    pub(crate) fn restart(&self) {
        assert!(Command::new(SCRIPT).args(["restart", &self.name]).status().unwrap().success());
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

impl Drop for Server {
    fn drop(&mut self) {
        // A failed test tells its own story.
        let _ = Command::new(Path::new(SCRIPT)).args(["stop", &self.name]).status();
    }
}
