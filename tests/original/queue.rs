//! The queues: as the client, the original's worker and the daemon are told of them.

use std::net::TcpListener;

use crate::redis::Server;

/// A queue for each of both sides.
pub(crate) enum Queue {
    /// Addresses that the client binds.
    Zmq {
        old: String,
        new: String,
    },
    Celery(Server),
}

/// The queue of the daemon on a broker.
const NEW: &str = "new";

impl Queue {
    pub(crate) fn zmq(_test: &str) -> Option<Queue> {
        Some(Queue::Zmq { old: free(), new: free() })
    }

    pub(crate) fn celery(test: &str) -> Option<Queue> {
        Server::start(test).map(Queue::Celery)
    }

    /// What `reports.py` is told. In `old` stands `{}` for the kind if each has a queue.
    pub(crate) fn of_client(&self, old: &str) -> [String; 3] {
        match self {
            Queue::Zmq { old, new } => ["zmq".to_owned(), old.clone(), new.clone()],
            Queue::Celery(server) => {
                ["celery".to_owned(), format!("{}#{old}", server.url), format!("{}#{NEW}", server.url)]
            }
        }
    }

    /// How a worker is started as Kaneda's documentation says, and the URL that its settings have.
    pub(crate) fn of_worker(&self, _old: &str) -> (Vec<String>, String) {
        let (command, url) = match self {
            Queue::Zmq { old, .. } => (
                // What its command `zmqworker` is.
                format!("-c|from kaneda.tasks import zmq_task; zmq_task()|--connection_url={old}"),
                old.clone(),
            ),
            Queue::Celery(server) => (
                "-m|celery|-A|kaneda.tasks.celery|worker|--pool=solo|--without-gossip|--without-mingle"
                    .to_owned(),
                server.url.clone(),
            ),
        };
        (command.split('|').map(str::to_owned).collect(), url)
    }

    /// The source of the daemon.
    pub(crate) fn of_daemon(&self) -> String {
        match self {
            Queue::Zmq { new, .. } => format!("[[source]]\ntype = 'zmq'\nconnection_url = '{new}'\n"),
            Queue::Celery(server) => {
                format!("[[source]]\ntype = 'celery'\nbroker = '{}'\nqueue_name = '{NEW}'\n", server.url)
            }
        }
    }
}

/// An address that nobody listens at.
fn free() -> String {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("tcp://{address}")
}
