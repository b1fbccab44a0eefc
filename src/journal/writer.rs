//! The thread that writes the log: group commit, cursors, room, and what happens while the disk fails.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::{error, info, warn};

use super::begun::RUNNING;
use super::config::{Config, OnFull, Sync};
use super::cursor::Cursor;
use super::entry::{Entry, Head};
use super::files::Files;
use super::followers::{Followers, Why};
use super::handle::{Durable, Journal};
use super::log::Log;

/// How often what the sinks have decided is made durable.
const CURSOR_INTERVAL: Duration = Duration::from_secs(1);
/// So many messages of a queue may have come since what is known of it was stored: after a crash that many are known
/// which their broker has perhaps confirmed.
const MESSAGES: usize = 8192;
/// Pause before a disk in trouble is tried again; it doubles up to the ceiling.
pub(super) const RETRY_FIRST: Duration = Duration::from_secs(1);
pub(super) const RETRY_CEILING: Duration = Duration::from_secs(30);

/// Owns the log.
pub(super) struct Writer<F: Files> {
    journal: Arc<Journal>,
    config: Config,
    names: Vec<Arc<str>>,
    log: Log<F>,
    /// Are told of segments that are removed early.
    followers: Arc<dyn Followers>,
    /// Who waits for what was written and is not on disk yet.
    waiters: VecDeque<(u64, Box<dyn Durable>)>,
    /// Since when something is written and not synced.
    unsynced: Option<Instant>,
    /// How many entries that are.
    unsynced_entries: u64,
    /// The cursor of each sink that is stored.
    stored: Vec<Cursor>,
    /// The last entry that was removed before every sink had passed it.
    gone: u64,
    /// When cursors are stored next, and segments that are done with are deleted.
    round_due: Option<Instant>,
    /// The disk is in trouble: when it is tried again, and the pause after that.
    retry: Option<(Instant, Duration)>,
}

/// What the queue held.
pub(super) struct Taken {
    pub(super) entries: Vec<Entry>,
    pub(super) waiters: Vec<(u64, Box<dyn Durable>)>,
    pub(super) confirmed: Vec<(usize, Box<str>)>,
    pub(super) is_hurried: bool,
    pub(super) is_ending: bool,
    pub(super) has_cursors: bool,
}

impl<F: Files> Writer<F> {
    /// Of a log that was just opened for the sinks `names`, whose `stored` cursors were found there.
    pub(super) fn new(
        journal: Arc<Journal>,
        config: Config,
        names: Vec<Arc<str>>,
        log: Log<F>,
        stored: Vec<Cursor>,
        followers: &Arc<dyn Followers>,
    ) -> Self {
        Writer {
            journal,
            config,
            names,
            log,
            followers: Arc::clone(followers),
            waiters: VecDeque::new(),
            unsynced: None,
            unsynced_entries: 0,
            stored,
            gone: 0,
            // Segments that were done with at the last end go now.
            round_due: Some(Instant::now()),
            retry: None,
        }
    }

    /// Until the end is asked for and all is on disk, or cannot be.
    pub(super) fn run(mut self) {
        loop {
            let taken = self.journal.wait(self.due());
            let (is_hurried, is_ending) = (taken.is_hurried, taken.is_ending);
            if taken.has_cursors && self.round_due.is_none() {
                self.round_due = Some(Instant::now() + CURSOR_INTERVAL);
            }
            self.write(taken);
            if self.unsynced.is_some() && (is_hurried || is_ending || self.is_sync_due()) {
                self.sync();
            }
            let now = Instant::now();
            if is_ending || self.round_due.is_some_and(|due| due <= now) {
                self.round();
            }
            if self.retry.is_some_and(|(due, _)| due <= now) {
                self.try_again();
            }
            self.observe();
            if is_ending {
                return self.leave();
            }
        }
    }

    /// Says for the next start that this one ended in order, if all is on disk.
    fn leave(mut self) {
        if self.retry.is_some() || self.unsynced.is_some() {
            return;
        }
        let extent = self.log.extent();
        // It goes on in new files.
        if let Err(error) = self.log.trim() {
            warn!(%error, "the journal keeps more of the disk than it has in it");
        }
        let known = self.log.put_known(0);
        let files = &extent.files;
        if let Err(error) = known.and_then(|()| files.remove(RUNNING)).and_then(|()| files.sync()) {
            warn!(%error, "the next start will take this end for a crash");
        }
    }

    /// When there is something to do without anything coming.
    fn due(&self) -> Option<Instant> {
        let sync = match self.config.sync {
            Sync::Interval(interval) => self.unsynced.map(|since| since + interval),
            Sync::Always | Sync::Off => None,
        };
        [sync, self.round_due, self.retry.map(|(due, _)| due)].into_iter().flatten().min()
    }

    fn is_sync_due(&self) -> bool {
        match self.config.sync {
            Sync::Always => true,
            Sync::Interval(interval) => self.unsynced.is_some_and(|since| since.elapsed() >= interval),
            Sync::Off => false,
        }
    }

    /// Appends what came, and then forgets what was confirmed of it.
    fn write(&mut self, mut taken: Taken) {
        let confirmed = std::mem::take(&mut taken.confirmed);
        self.append(taken);
        for (queue, id) in confirmed {
            self.log.confirm(queue, &id);
        }
    }

    fn append(&mut self, taken: Taken) {
        let Taken { entries, waiters, .. } = taken;
        let Some(last) = entries.last().map(|entry| entry.chunk.position().sequence) else { return };
        let appended = match self.retry {
            Some(_) => Err(None),
            None => self.log.append(&entries).map_err(Some),
        };
        match appended {
            Ok(bytes) => {
                let counters = self.journal.counters();
                counters.entries.add(entries.len() as u64);
                counters.bytes.add(bytes);
                self.waiters.extend(waiters);
                self.unsynced.get_or_insert_with(Instant::now);
                self.unsynced_entries += entries.len() as u64;
                // Nobody is told of more than the kernel has, if that is all that is asked for.
                if self.config.sync == Sync::Off {
                    self.tell(last);
                }
                if self.is_full() {
                    self.make_room();
                }
            }
            Err(error) => {
                self.journal.counters().not_written.add(entries.len() as u64);
                if let Some(error) = error {
                    self.fail("writing", error);
                }
            }
        }
        self.journal.set_passed(last);
    }

    fn sync(&mut self) {
        if let Err(error) = self.try_sync() {
            self.fail("syncing", error);
        }
    }

    fn try_sync(&mut self) -> io::Result<()> {
        self.log.sync()?;
        (self.unsynced, self.unsynced_entries) = (None, 0);
        self.journal.counters().syncs.add(1);
        self.tell(self.log.durable());
        Ok(())
    }

    /// Tells who waits for entries up to `sequence`.
    fn tell(&mut self, sequence: u64) {
        while self.waiters.front().is_some_and(|(waits_for, _)| *waits_for <= sequence) {
            if let Some((_, waiter)) = self.waiters.pop_front() {
                waiter.durable();
            }
        }
    }

    /// The disk is in trouble: from now on everything is in memory only, and who waits gets the sinks' verdicts.
    fn fail(&mut self, what: &str, error: io::Error) {
        // What was written before the append that failed may still get there.
        if what == "writing" && self.log.sync().is_ok() {
            self.tell(self.log.durable());
        } else {
            self.journal.counters().not_written.add(self.unsynced_entries);
        }
        self.waiters.clear();
        (self.unsynced, self.unsynced_entries) = (None, 0);
        self.journal.counters().failures.add(1);
        if self.retry.is_none() {
            error!(%error, "{what} the journal failed: reports are kept in memory only until the disk works again");
            self.retry = Some((Instant::now() + RETRY_FIRST, RETRY_FIRST));
        }
        self.journal.go_away(self.log.durable() + 1, format!("{what}: {error}"));
    }

    fn try_again(&mut self) {
        let Some((_, pause)) = self.retry else { return };
        let tried = self.is_short().and_then(|is_short| match is_short {
            Some(problem) => Err(io::Error::new(io::ErrorKind::StorageFull, problem)),
            None => self.log.restart(),
        });
        match tried {
            Ok(()) => {
                info!("the journal works again");
                self.retry = None;
                self.round_due.get_or_insert_with(Instant::now);
                self.journal.come_back();
            }
            Err(error) => {
                let pause = (pause * 2).min(RETRY_CEILING);
                self.retry = Some((Instant::now() + pause, pause));
                self.journal.counters().failures.add(1);
                self.journal.go_away(self.log.durable() + 1, error.to_string());
            }
        }
    }

    /// What is wrong with the room that the disk has left, if anything is.
    fn is_short(&mut self) -> io::Result<Option<String>> {
        let (mut free, least) = (self.log.free()?, self.config.min_free.bytes());
        if free < least && self.log.trim()? {
            free = self.log.free()?;
        }
        Ok((free < least).then(|| format!("{free} bytes are free on its disk, less than min_free = {least}")))
    }

    /// Stores what the sinks have decided, and deletes what all of them have passed.
    fn round(&mut self) {
        // What the cursors speak of was put before them: it is written first.
        let (taken, cursors) = self.journal.take_round();
        self.write(taken);
        let now = Instant::now();
        // While nothing happens there is no next round.
        let is_pressed = self.is_full() || self.config.max_age().is_some();
        self.round_due = (is_pressed || cursors.iter().any(Option::is_some)).then_some(now + CURSOR_INTERVAL);
        // Also if it is `off`: no cursor is beyond what is on disk.
        if self.unsynced.is_some() && self.retry.is_none() {
            self.sync();
        }
        // While the disk fails as well: it may be full of what nobody needs any more.
        for (place, told) in cursors.into_iter().enumerate() {
            // What is stored counts what was removed since; the sink will tell of it.
            let Some(told) = told.filter(|told| told.gone == self.gone) else { continue };
            if let Err(error) = self.store(place, told.cursor.clone()) {
                self.journal.give_back(place, told);
                self.fail("storing a cursor of", error);
            }
        }
        if self.retry.is_none()
            && let Err(error) = self.log.put_known(MESSAGES)
        {
            self.fail("storing the messages of a queue in", error);
        }
        if self.retry.is_some() {
            if let Err(error) = self.log.reclaim() {
                warn!(%error, "segments of the journal that are done with cannot be deleted");
            }
            // The disk may be full: nothing is kept for later. What cannot be given back now can at the next round.
            let _ = self.log.trim();
            return;
        }
        if let Err(error) = self.log.reclaim() {
            return self.fail("deleting a segment of", error);
        }
        match self.is_short() {
            Err(error) => return self.fail("asking for the free room of", error),
            Ok(Some(problem)) => {
                return self.fail("filling the disk of", io::Error::new(io::ErrorKind::StorageFull, problem));
            }
            Ok(None) => {}
        }
        self.remove_old();
        self.make_room();
        self.journal.set_closed(&self.log);
    }

    fn store(&mut self, place: usize, mut cursor: Cursor) -> io::Result<()> {
        // Entries that came while the disk failed are nowhere in the log: where it ends they end.
        let end = self.log.durable() + 1;
        if cursor.next > end && self.unsynced.is_none() {
            cursor.undecided.retain(|undecided| undecided.sequence < end);
            cursor.next = end;
        }
        self.log.put_cursor(&self.names[place], &cursor)?;
        self.stored[place] = cursor;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.log.size() >= self.config.max_size.bytes()
    }

    /// The log is at `max_size`: what can go goes.
    fn make_room(&mut self) {
        while self.is_full() {
            match self.log.trim() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => return self.fail("trimming", error),
            }
            let Some(oldest) = self.log.oldest() else { return };
            // Cursors without a sink give way first.
            let is_passed = self.stored.iter().all(|cursor| cursor.lowest() > oldest.last);
            let is_empty = self.log.segments().iter().all(|segment| segment.entries == 0);
            if !is_passed && self.config.on_full == OnFull::Stop || is_empty {
                break;
            }
            if let Err(error) = self.remove_oldest(Why::Size) {
                return self.fail("deleting a segment of", error);
            }
        }
        self.journal.set_full(self.is_full());
        self.round_due.get_or_insert_with(|| Instant::now() + CURSOR_INTERVAL);
    }

    /// Segments older than `max_age` go. The newest one is closed when it spans a quarter of that: what it begins with waits for
    /// no more to come.
    fn remove_old(&mut self) {
        let Some(age) = self.config.max_age() else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let segments = self.log.segments();
        let newest = segments.last().filter(|newest| newest.entries > 0);
        if newest.is_some_and(|newest| Duration::from_secs(newest.created) + age / 4 < now)
            && let Err(error) = self.log.close_newest()
        {
            return self.fail("closing a segment of", error);
        }
        // The youngest entry of a segment is no younger than the next segment.
        while let [_, next, ..] = &self.log.segments()[..]
            && Duration::from_secs(next.created) + age < now
        {
            if let Err(error) = self.remove_oldest(Why::Age) {
                return self.fail("deleting a segment of", error);
            }
        }
    }

    /// Removes the oldest segment, delivered or not, and says who lost what.
    fn remove_oldest(&mut self, why: Why) -> io::Result<()> {
        let Some(oldest) = self.log.oldest() else { return Ok(()) };
        // The only segment goes here also when it is done with.
        let is_early = !self.log.is_passed(&oldest);
        // What cannot be read is missed by the sinks when they come to it, and counted then.
        let heads = self.log.heads(oldest.first).unwrap_or_else(|error| {
            warn!(%error, "a segment of the journal is removed that cannot be read");
            Vec::new()
        });
        let counters = self.journal.counters();
        counters.removed_of_orphans.add(self.log.left_to_orphans(&heads).unwrap_or(0));
        // A crash from now on finds all of it counted.
        if self.unsynced.is_some() {
            self.try_sync()?;
        }
        for place in 0..self.names.len() {
            self.write_off(place, &heads, oldest.last, why)?;
        }
        let lost = self.followers.removed(&heads, oldest.last, why);
        self.gone = oldest.last;
        self.journal.set_gone(oldest.last);
        if lost > 0 {
            warn!(
                records = lost,
                ?why,
                "the oldest segment of the journal was removed before it was delivered"
            );
        }
        self.log.remove_oldest()?;
        if is_early {
            self.journal.counters().removed_segments.add(1);
        }
        Ok(())
    }

    /// The entries up to `last` will go: what a sink has not got of them its cursor counts as dropped. What it has of them in
    /// memory it may deliver yet: then it tells so.
    fn write_off(&mut self, place: usize, heads: &[Head], last: u64, why: Why) -> io::Result<()> {
        // One that speaks of what is not written yet would count that now, and the next start once more.
        let durable = self.log.durable();
        let told = self.journal.take_told(place);
        let told = told.filter(|told| told.gone == self.gone && told.cursor.position() <= durable);
        let is_told = told.is_some();
        let mut cursor = told.map_or_else(|| self.stored[place].clone(), |told| told.cursor);
        let is_changed = cursor.write_off(&self.names[place], heads, last, why.code());
        if is_told || is_changed {
            self.store(place, cursor)?;
        }
        Ok(())
    }

    /// What others are told.
    fn observe(&self) {
        self.journal.set_view(self.log.size(), self.log.durable());
    }
}
