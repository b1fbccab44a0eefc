//! The queues: as the client, the original's worker and the daemon are told of them.

use std::net::TcpListener;

use crate::{rabbit, redis};

/// A queue for each of both sides.
pub(crate) enum Queue {
    /// Addresses that the client binds.
    Zmq {
        old: String,
        new: String,
    },
    /// A broker of Celery's.
    Celery(redis::Server),
    Rabbit(rabbit::Server),
    Rq(redis::Server),
}

/// The queue of the daemon on a broker.
const NEW: &str = "new";

impl Queue {
    pub(crate) fn zmq(_test: &str) -> Option<Queue> {
        Some(Queue::Zmq { old: free(), new: free() })
    }

    pub(crate) fn celery(test: &str) -> Option<Queue> {
        redis::Server::start(test).map(Queue::Celery)
    }

    pub(crate) fn rabbitmq(test: &str) -> Option<Queue> {
        rabbit::Server::own(test).map(Queue::Rabbit)
    }

    pub(crate) fn rq(test: &str) -> Option<Queue> {
        redis::Server::start(test).map(Queue::Rq)
    }

    /// The type of the daemon's source.
    fn kind(&self) -> &'static str {
        match self {
            Queue::Zmq { .. } => "zmq",
            Queue::Celery(_) | Queue::Rabbit(_) => "celery",
            Queue::Rq(_) => "rq",
        }
    }

    /// Why the source refuses reports, in their order: `gauge.nan`, and `search.object`, which only pickles hold.
    pub(crate) fn refused(&self) -> &'static [&'static str] {
        match self {
            Queue::Rq(_) => &["not_finite", "bad_pickle"],
            _ => &["not_finite"],
        }
    }

    /// What `reports.py` is told. In `old` stands `{}` for the kind if each has a queue.
    pub(crate) fn of_client(&self, old: &str) -> [String; 3] {
        let [old, new] = match self {
            Queue::Zmq { old, new } => [old.clone(), new.clone()],
            broker => [old, NEW].map(|name| format!("{}#{name}", broker.url())),
        };
        [self.kind().to_owned(), old, new]
    }

    /// How a worker is started as Kaneda's documentation says, and the URL that its settings have.
    pub(crate) fn of_worker(&self, old: &str) -> (Vec<String>, String) {
        let url = self.url();
        let command = match self {
            // What its command `zmqworker` is.
            Queue::Zmq { .. } => {
                format!("-c|from kaneda.tasks import zmq_task; zmq_task()|--connection_url={url}")
            }
            Queue::Celery(_) | Queue::Rabbit(_) => {
                "-m|celery|-A|kaneda.tasks.celery|worker|--pool=solo|--without-gossip|--without-mingle"
                    .to_owned()
            }
            // What its command `rqworker` is, without a process for each job.
            Queue::Rq(_) => format!("-m|rq.cli|worker|-w|rq.SimpleWorker|--url|{url}|{old}"),
        };
        (command.split('|').map(str::to_owned).collect(), url.to_owned())
    }

    /// The source of the daemon.
    pub(crate) fn of_daemon(&self) -> String {
        let keys = match self {
            Queue::Zmq { new, .. } => format!("connection_url = '{new}'\n"),
            Queue::Celery(_) | Queue::Rabbit(_) => {
                format!("broker = '{}'\nqueue_name = '{NEW}'\n", self.url())
            }
            Queue::Rq(_) => format!("redis_url = '{}/0'\nqueue_name = '{NEW}'\n", self.url()),
        };
        format!("[[source]]\ntype = '{}'\n{keys}", self.kind())
    }

    /// Where the original's worker finds its queue.
    fn url(&self) -> &str {
        match self {
            Queue::Zmq { old, .. } => old,
            Queue::Celery(server) | Queue::Rq(server) => &server.url,
            Queue::Rabbit(server) => &server.url,
        }
    }
}

/// An address that nobody listens at.
fn free() -> String {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("tcp://{address}")
}
