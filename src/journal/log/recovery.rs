//! Opening a log: what is there, what of it each sink has still to get, and what an unclean stop left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::spare::{self, Spares};
use super::{Begin, Heads, Health, Log, Settings};
use crate::journal::OpenError;
use crate::journal::cursor::{Cursor, Left, Plan, file};
use crate::journal::extent::Extent;
use crate::journal::files::{File, Files};
use crate::journal::known::{self, Known};
use crate::journal::replaced::UNFINISHED;
use crate::journal::segment::file_name;
use crate::journal::survey::{self, Cause};

/// What was found when a log was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// The highest sequence number in any segment or cursor; 0 if there is none. Numbers go on above it.
    pub last: u64,
    /// One for each of the sinks, in their order.
    pub lanes: Vec<Lane>,
    /// Cursors without a sink.
    pub orphans: Vec<Orphan>,
    /// Queues of which messages are known and that are not among those of the log.
    pub orphan_queues: Vec<OrphanQueue>,
    /// Messages of queues that are forgotten because there were too many.
    pub forgotten_messages: usize,
    /// Entries that can be read.
    pub entries: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Bytes that an unclean stop left unreadable at the end, which were cut off.
    pub torn_bytes: u64,
    /// Stretches of a segment that are unreadable and were passed over.
    pub corrupt_entries: u64,
    /// Their bytes.
    pub corrupt_bytes: u64,
    /// Segments that the disk did not give, or not to their end.
    pub unread_segments: u64,
}

/// What a sink finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Where it starts.
    pub cursor: Cursor,
    /// Records that it has still to get.
    pub waiting: u64,
    /// Records that its cursor says are undecided, but that no segment has any more: lost, and in no other count.
    pub missing: u64,
}

/// A cursor without a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The sink's name.
    pub name: String,
    /// Records that it has still to get.
    pub records: u64,
    /// Bytes of the entries they are in.
    pub bytes: u64,
}

/// A queue that is not among those of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanQueue {
    /// The source's name.
    pub name: String,
    /// Messages that are known.
    pub messages: usize,
}

/// A cursor, and what is found for it.
struct Found {
    sink: String,
    cursor: Cursor,
    plan: Plan,
    records: u64,
    bytes: u64,
}

impl<F: Files> Log<F> {
    /// Opens the log in `files` for `sinks`, each with where it starts if it has no cursor. Such a one gets its cursor
    /// now, so that the next start finds what it has not got by then. `queues` are the sources whose messages are to be
    /// known again after a restart; of a new one nothing that is there already is.
    pub fn open(
        files: F,
        settings: Settings,
        sinks: &[(&str, Begin)],
        queues: &[&str],
    ) -> Result<(Log<F>, Recovery), OpenError> {
        let names = files.list().map_err(|error| failed("the folder", error))?;
        let is_worthless = |name: &&String| {
            let whole = name.strip_suffix(UNFINISHED);
            whole.is_some_and(|whole| whole.ends_with(file::END) || whole.ends_with(known::file::END))
                || name.ends_with(spare::END)
        };
        for name in names.iter().filter(is_worthless) {
            files.remove(name).map_err(|error| failed(name, error))?;
        }
        let mut found = Vec::new();
        for sink in names.iter().filter_map(|name| file::sink_of(name)) {
            if let Some(cursor) = file::load(&files, &sink)? {
                let plan = Plan::new(&sink, &cursor);
                found.push(Found { sink, cursor, plan, records: 0, bytes: 0 });
            }
        }
        let known: BTreeSet<_> = found.iter().map(|found| found.sink.clone()).collect();
        let is_new = |sink: &str| !known.contains(sink);
        let starts = sinks.iter().filter(|(sink, begin)| *begin == Begin::Start && is_new(sink));
        let starts: Vec<_> = starts.map(|(sink, _)| Found::new(sink, Cursor::at(0))).collect();
        found.extend(starts);

        let mut known = Vec::new();
        for queue in names.iter().filter_map(|name| known::file::queue_of(name)) {
            known.extend(known::file::load(&files, &queue)?.map(|record| Known::new(&queue, record)));
        }

        let mut recovery = Recovery::default();
        let extent = Extent::new(files);
        let unread = recover(&extent, &mut found, &mut known, &mut recovery)?;
        // What is found here is to be found by the next start as well.
        extent.files.sync().map_err(|error| failed("the folder", error))?;
        for found in &found {
            recovery.last = recovery.last.max(found.cursor.highest());
        }
        for queue in &known {
            recovery.last = recovery.last.max(queue.position());
        }
        extent.lock().written = recovery.last;

        let mut log = Log {
            extent: Arc::new(extent),
            settings,
            current: None,
            health: Health::Good,
            durable: recovery.last,
            is_dirty: false,
            is_new: false,
            heads: Heads::default(),
            cursors: BTreeMap::new(),
            orphans: BTreeSet::new(),
            queues: known,
            tried: 0,
            spares: Spares::default(),
        };
        let lowest = |found: &Found| (found.sink.clone(), found.cursor.lowest());
        log.cursors.extend(found.iter().map(lowest));
        for (sink, _) in sinks {
            let at = found.iter().position(|found| found.sink == *sink);
            let own = at.map(|at| found.swap_remove(at));
            let own = own.unwrap_or_else(|| Found::new(sink, Cursor::at(recovery.last + 1)));
            if is_new(sink) {
                log.put_cursor(sink, &own.cursor).map_err(|error| failed(&file::file_name(sink), error))?;
            }
            recovery.lanes.push(own.into_lane());
        }
        found.sort_by(|a, b| a.sink.cmp(&b.sink));
        log.orphans.extend(found.iter().map(|orphan| orphan.sink.clone()));
        recovery.orphans.extend(found.into_iter().map(|orphan| Orphan {
            name: orphan.sink,
            records: orphan.records,
            bytes: orphan.bytes,
        }));
        log.open_queues(queues, unread, &mut recovery)?;
        Ok((log, recovery))
    }
}

impl Found {
    fn new(sink: &str, cursor: Cursor) -> Self {
        Found { sink: sink.to_owned(), plan: Plan::new(sink, &cursor), cursor, records: 0, bytes: 0 }
    }

    fn into_lane(self) -> Lane {
        Lane { missing: self.plan.missing(), cursor: self.cursor, waiting: self.records }
    }
}

/// Reads all segments, cuts what an unclean stop left, and adds up what each cursor leaves. Gives the highest number that
/// an entry may have which the disk did not give, if it did not give all.
fn recover<F: Files>(
    extent: &Extent<F>,
    found: &mut [Found],
    known: &mut [Known],
    recovery: &mut Recovery,
) -> Result<Option<u64>, OpenError> {
    let files = &extent.files;
    let mut unread = None;
    let mut firsts = survey::firsts(files).map_err(|error| failed("the folder", error))?;
    // Before any other is read: its name says which numbers may stand in the one before it.
    while let Some(newest) = firsts.last()
        && let Some(bytes) = survey::worthless(files, *newest)?
    {
        let name = file_name(*newest);
        files.remove(&name).map_err(|error| failed(&name, error))?;
        recovery.torn_bytes += bytes;
        firsts.pop();
    }
    for (index, first) in firsts.iter().enumerate() {
        let below = firsts.get(index + 1).copied();
        let survey = survey::survey(files, *first, below.unwrap_or(u64::MAX), |stored, head| {
            known.iter_mut().for_each(|queue| queue.read(stored));
            for found in &mut *found {
                let left = found.plan.left(head);
                found.records += left.count(head);
                found.bytes += if left == Left::None { 0 } else { head.bytes };
            }
        })?;
        let mut segment = survey.segment;
        for fault in survey.faults {
            match fault.cause {
                // Which numbers are used is not known then, and those given again would make what is there void.
                Cause::Disk(error) if below.is_none() => return Err(failed(&segment.name(), error)),
                Cause::Disk(_) => {
                    recovery.unread_segments += 1;
                    unread = below.map(|below| below - 1);
                }
                _ => {}
            }
            // What stands behind the last sound entry of the newest segment was never durable.
            if matches!(fault.cause, Cause::Tail) && below.is_none() {
                recovery.torn_bytes += fault.bytes;
            } else {
                let (stretches, bytes) = segment.count_bad(fault.at, fault.bytes);
                recovery.corrupt_entries += stretches;
                recovery.corrupt_bytes += bytes;
            }
        }
        if survey.length == 0 {
            files.remove(&segment.name()).map_err(|error| failed(&segment.name(), error))?;
            continue;
        }
        if below.is_none() {
            let end = (survey.length > segment.end).then_some(segment.end);
            settle(files, &segment.name(), end).map_err(|error| failed(&segment.name(), error))?;
        }
        recovery.last = recovery.last.max(segment.first).max(segment.last);
        recovery.entries += segment.entries;
        recovery.bytes += segment.end;
        extent.lock().segments.push_back(segment);
    }
    Ok(unread)
}

/// Makes durable what a process left that was killed, and what is left of it after a cut.
fn settle<F: Files>(files: &F, name: &str, end: Option<u64>) -> io::Result<()> {
    let file = files.open(name)?;
    if let Some(end) = end {
        file.cut(end)?;
    }
    file.sync()
}

fn failed(what: &str, error: io::Error) -> OpenError {
    OpenError::Io { what: what.to_owned(), error }
}
