//! Opening the running journal: at the start, or later where the disk does not let it then.

use std::io::{self, IoSlice};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tracing::{error, info};

use super::announce::announce;
use super::config::Config;
use super::cursor::file::END;
use super::error::OpenError;
use super::files::{File, Files};
use super::followers::Followers;
use super::handle::Journal;
use super::log::{Log, OrphanQueue, Recovery, Settings};
use super::replaced::UNFINISHED;
use super::writer::{RETRY_CEILING, RETRY_FIRST, Writer};

/// A message that its broker has not confirmed is known for so long after it was received, if the daemon was restarted
/// since. Brokers deliver again within hours, but an outage may last for days.
const KNOWN_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// A file that is there as long as a daemon has the journal: found at the start, it says that one was killed.
pub(super) const RUNNING: &str = "running";

/// Bytes that are written to see whether the disk takes any.
const PROBE: [u8; 4096] = [0; 4096];

/// A journal that is not written yet; open, if the disk let it.
pub struct Begun<F: Files> {
    /// Can be handed out already.
    pub journal: Arc<Journal>,
    opening: Opening<F>,
    opened: Option<Opened<F>>,
}

/// What is needed to open it.
struct Opening<F: Files> {
    config: Config,
    files: Box<dyn FnMut() -> Result<F, OpenError> + Send>,
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
    ///
    /// A disk that takes nothing now is no error: it is tried again, with `files` opened anew, until it does, and until
    /// then everything is in memory only.
    pub fn open<F: Files>(
        config: &Config,
        files: impl FnMut() -> Result<F, OpenError> + Send + 'static,
        names: &[Arc<str>],
        queues: &[Arc<str>],
        room: Arc<Notify>,
    ) -> Result<Begun<F>, OpenError> {
        let mut opening = Opening {
            config: config.clone(),
            files: Box::new(files),
            names: names.to_vec(),
            queues: queues.to_vec(),
        };
        let (first, opened) = match opening.open(u64::MAX) {
            Ok(opened) => (opened.recovery.last + 1, Ok(opened)),
            Err(error) if error.is_of_disk() => (first_in_memory(), Err(error)),
            Err(error) => return Err(error),
        };
        let journal = Journal::new(config, first, names.len(), queues, room);
        let opened = opened.map_err(|error| fail(&journal, &error)).ok();
        Ok(Begun { journal: Arc::new(journal), opening, opened })
    }
}

/// A number that is above any that a journal has come to: the microseconds since 1970, in which no daemon dispatches as many
/// chunks. One that was opened behind such numbers goes on above them.
fn first_in_memory() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

/// It cannot be opened now.
fn fail(journal: &Journal, error: &OpenError) {
    let said = error.to_string();
    journal.counters().failures.add(1);
    if journal.view().last_error.as_ref() != Some(&said) {
        error!(%error, "the journal cannot be opened: reports are kept in memory only until it can be");
    }
    journal.go_away(journal.first(), said);
}

impl<F: Files> Begun<F> {
    /// Starts the thread that writes. If it is open, `followers` are told so before this returns.
    pub fn start(self, followers: Arc<dyn Followers>) -> io::Result<()> {
        let Begun { journal, mut opening, opened } = self;
        let writer = opened.map(|opened| opening.enter(opened, &journal, &followers));
        let own = Arc::clone(&journal);
        let run = move || {
            if let Some(writer) = writer.or_else(|| opening.wait(&own, &followers)) {
                writer.run();
            }
        };
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(run)?;
        *journal.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(())
    }
}

impl<F: Files> Opening<F> {
    /// Tries until it is open; none: until the end.
    fn wait(&mut self, journal: &Arc<Journal>, followers: &Arc<dyn Followers>) -> Option<Writer<F>> {
        let mut pause = RETRY_FIRST;
        while !journal.pause(Instant::now() + pause) {
            pause = (pause * 2).min(RETRY_CEILING);
            match self.open(journal.first()) {
                Ok(opened) => {
                    info!("the journal works again");
                    return Some(self.enter(opened, journal, followers));
                }
                Err(error) => fail(journal, &error),
            }
        }
        None
    }

    /// Opens it, if all that is in it is below the chunk `first`.
    fn open(&mut self, first: u64) -> Result<Opened<F>, OpenError> {
        let io = |error| OpenError::Io { what: RUNNING.to_owned(), error };
        let files = (self.files)()?;
        // Before anything is read: there may be much of it.
        probe(&files)?;
        let was_running = files.list().map_err(io)?.iter().any(|name| name == RUNNING);
        let sinks: Vec<_> = self.names.iter().map(|name| (&**name, self.config.new_sinks)).collect();
        let settings = Settings { segment_size: self.config.segment_bytes() };
        let own: Vec<_> = self.queues.iter().map(|queue| &**queue).collect();
        let (mut log, mut recovery) = Log::open(files, settings, &sinks, &own)?;
        if recovery.last >= first {
            return Err(OpenError::Numbers);
        }
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
    fn enter(&self, opened: Opened<F>, journal: &Arc<Journal>, followers: &Arc<dyn Followers>) -> Writer<F> {
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
        let stored = recovery.lanes.iter().map(|lane| lane.cursor.clone()).collect();
        Writer::new(Arc::clone(journal), self.config.clone(), self.names.clone(), log, stored, followers)
    }
}

/// Whether the disk takes anything at all.
fn probe(files: &impl Files) -> Result<(), OpenError> {
    // A start that finds it takes it for what was not finished.
    let name = format!("probe{END}{UNFINISHED}");
    let failed = |error| OpenError::Io { what: "writing".to_owned(), error };
    match files.remove(&name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let file = files.create(&name).map_err(failed)?;
    let written = file.write_at(0, &mut [IoSlice::new(&PROBE)]).and_then(|()| file.sync());
    written.and_then(|()| files.remove(&name)).map_err(failed)
}
