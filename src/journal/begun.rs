//! Opening the running journal.

use std::io;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use super::announce::announce;
use super::config::Config;
use super::error::OpenError;
use super::files::Files;
use super::followers::Followers;
use super::handle::Journal;
use super::log::{Log, OrphanQueue, Recovery, Settings};
use super::writer::Writer;

/// A message that its broker has not confirmed is known for so long after it was received, if the daemon was restarted
/// since. Brokers deliver again within hours, but an outage may last for days.
const KNOWN_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// A file that is there as long as a daemon has the journal: found at the start, it says that one was killed.
pub(super) const RUNNING: &str = "running";

/// A journal that is open, and not written yet.
pub struct Begun<F: Files> {
    /// Can be handed out already.
    pub journal: Arc<Journal>,
    opening: Opening,
    opened: Opened<F>,
}

/// What is needed to open it.
struct Opening {
    config: Config,
    names: Vec<Arc<str>>,
    queues: Vec<Arc<str>>,
}

struct Opened<F: Files> {
    log: Log<F>,
    recovery: Recovery,
    was_running: bool,
}

impl Journal {
    /// Opens the journal in `files` for the sinks `names`, and the `queues` whose messages are to be known again. `room` is
    /// rung when it takes chunks again. None is written before [`Begun::start`].
    pub fn open<F: Files>(
        config: &Config,
        files: F,
        names: &[Arc<str>],
        queues: &[Arc<str>],
        room: Arc<Notify>,
    ) -> Result<Begun<F>, OpenError> {
        let opening = Opening { config: config.clone(), names: names.to_vec(), queues: queues.to_vec() };
        let opened = opening.open(files)?;
        let journal = Journal::new(config, opened.recovery.last + 1, names.len(), queues, room);
        Ok(Begun { journal: Arc::new(journal), opening, opened })
    }
}

impl<F: Files> Begun<F> {
    /// Starts the thread that writes. `followers` are told that it is open before this returns.
    pub fn start(self, followers: Arc<dyn Followers>) -> io::Result<()> {
        let Begun { journal, opening, opened } = self;
        let writer = opening.enter(opened, &journal, &followers);
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(|| writer.run())?;
        *journal.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }
}

impl Opening {
    fn open<F: Files>(&self, files: F) -> Result<Opened<F>, OpenError> {
        let io = |error| OpenError::Io { what: RUNNING.to_owned(), error };
        let was_running = files.list().map_err(io)?.iter().any(|name| name == RUNNING);
        let sinks: Vec<_> = self.names.iter().map(|name| (&**name, self.config.new_sinks)).collect();
        let settings = Settings { segment_size: self.config.segment_bytes() };
        let own: Vec<_> = self.queues.iter().map(|queue| &**queue).collect();
        let (mut log, mut recovery) = Log::open(files, settings, &sinks, &own)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        recovery.forgotten_messages += log.expire_known(now.saturating_sub(KNOWN_FOR).as_nanos() as i64);
        // One that left nothing behind is not worth a word.
        let is_empty = |queue: &mut OrphanQueue| queue.messages == 0;
        for queue in recovery.orphan_queues.extract_if(.., is_empty) {
            log.forget_queue(&queue.name).map_err(io)?;
        }
        if !was_running {
            log.extent().files.create(RUNNING).map_err(io)?;
        }
        Ok(Opened { log, recovery, was_running })
    }

    /// Hands it over to who follows it, and to the thread that writes.
    fn enter<F: Files>(
        &self,
        opened: Opened<F>,
        journal: &Arc<Journal>,
        followers: &Arc<dyn Followers>,
    ) -> Writer<F> {
        let Opened { mut log, recovery, was_running } = opened;
        announce(&recovery, &self.names, was_running);
        let counters = journal.counters();
        counters.corrupt_entries.set(recovery.corrupt_entries);
        counters.corrupt_bytes.set(recovery.corrupt_bytes);
        counters.unread_segments.set(recovery.unread_segments);
        counters.torn_bytes.set(recovery.torn_bytes);
        journal.set_open(&mut log, self.config.max_size.bytes());
        followers.opened(&recovery, &|last| {
            // What is in memory will never be written.
            journal.set_passed(last);
            journal.come_back();
        });
        let needed = recovery.lanes.iter().map(|lane| lane.cursor.lowest()).collect();
        Writer::new(Arc::clone(journal), self.config.clone(), self.names.clone(), log, needed, followers)
    }
}
