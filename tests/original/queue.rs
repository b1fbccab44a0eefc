//! The queues: as the client, the original's worker and the daemon are told of them.

use tempfile::TempDir;

use crate::{rabbit, redis};

/// A queue for each of both sides, or for each kind on the original's.
pub(crate) enum Queue {
    /// Where the files are that the client binds.
    Zmq(TempDir),
    /// A broker of Celery's.
    Celery(redis::Server),
    /// The one of all tests, and the test whose queues these are.
    Rabbit(&'static rabbit::Server, &'static str),
    Rq(redis::Server),
}

impl Queue {
    pub(crate) fn zmq(_test: &'static str) -> Option<Queue> {
        Some(Queue::Zmq(tempfile::tempdir().unwrap()))
    }

    pub(crate) fn celery(test: &'static str) -> Option<Queue> {
        redis::Server::start(test).map(Queue::Celery)
    }

    pub(crate) fn rabbitmq(test: &'static str) -> Option<Queue> {
        rabbit::Server::shared(test).map(|server| Queue::Rabbit(server, test))
    }

    pub(crate) fn rq(test: &'static str) -> Option<Queue> {
        redis::Server::start(test).map(Queue::Rq)
    }

    /// The type of the daemon's source.
    fn kind(&self) -> &'static str {
        match self {
            Queue::Zmq(_) => "zmq",
            Queue::Celery(_) | Queue::Rabbit(..) => "celery",
            Queue::Rq(_) => "rq",
        }
    }

    /// Why the source refuses reports, in their order: `gauge.nan`, `gauge.tags.nested` and `.many`, `xml.id.false`, `.list` and
    /// `.long`; and `search.zoneinfo` and `search.object`, which only pickles hold.
    pub(crate) fn refused(&self) -> &'static [&'static str] {
        const REASONS: [&str; 8] = [
            "not_finite",
            "bad_json",
            "too_many_tags",
            "bad_id",
            "bad_id",
            "bad_id",
            "bad_pickle",
            "bad_pickle",
        ];
        match self {
            Queue::Rq(_) => &REASONS,
            _ => &REASONS[..6],
        }
    }

    /// What `reports.py` is told. In `old` stands `{}` for the kind if each has a queue.
    pub(crate) fn of_client(&self, old: &str) -> [String; 3] {
        let [old, new] = match self {
            Queue::Zmq(_) => [old, NEW].map(|place| self.url(place)),
            broker => [old, NEW].map(|place| format!("{}#{}", broker.url(place), broker.name(place))),
        };
        [self.kind().to_owned(), old, new]
    }

    /// How a worker of the queue `old` is started as Kaneda's documentation says, and what its settings read from the
    /// environment.
    pub(crate) fn of_worker(&self, old: &str) -> (Vec<String>, [(&'static str, String); 2]) {
        let (url, name) = (self.url(old), self.name(old));
        let command = match self {
            // What its command `zmqworker` is. It polls without a pause, so that others have to go first.
            Queue::Zmq(_) => format!(
                "-c|import os; from kaneda.tasks import zmq_task; os.nice(5); zmq_task()|--connection_url={url}"
            ),
            // With a name of its own, as several at one broker have to have.
            Queue::Celery(_) | Queue::Rabbit(..) => format!(
                "-m|celery|-A|kaneda.tasks.celery|worker|--pool=solo|--without-gossip|--without-mingle|-n|{name}"
            ),
            // What its command `rqworker` is, without a process for each job.
            Queue::Rq(_) => format!("-m|rq.cli|worker|-w|rq.SimpleWorker|--url|{url}|{name}"),
        };
        (command.split('|').map(str::to_owned).collect(), [("QUEUE_URL", url), ("QUEUE_PLACE", name)])
    }

    /// The source of the daemon.
    pub(crate) fn of_daemon(&self) -> String {
        let (url, name) = (self.url(NEW), self.name(NEW));
        let keys = match self {
            Queue::Zmq(_) => format!("connection_url = '{url}'\n"),
            Queue::Celery(_) | Queue::Rabbit(..) => format!("broker = '{url}'\nqueue_name = '{name}'\n"),
            Queue::Rq(_) => format!("redis_url = '{url}/0'\nqueue_name = '{name}'\n"),
        };
        format!("[[source]]\ntype = '{}'\n{keys}", self.kind())
    }

    /// Where a queue is.
    fn url(&self, place: &str) -> String {
        match self {
            Queue::Zmq(folder) => format!("ipc://{}/{place}", folder.path().display()),
            Queue::Celery(server) | Queue::Rq(server) => server.url.clone(),
            Queue::Rabbit(server, _) => server.url.clone(),
        }
    }

    /// What a queue is called at its broker.
    fn name(&self, place: &str) -> String {
        match self {
            Queue::Rabbit(_, test) => format!("{test}.{place}"),
            _ => place.to_owned(),
        }
    }
}

/// The place of the daemon's queue.
const NEW: &str = "new";
