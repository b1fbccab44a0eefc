//! Looks at a journal from outside, without changing anything, also while a daemon writes it.

use std::io;
use std::sync::Arc;

use super::OpenError;
use super::cursor::{Cursor, Plan, file};
use super::extent::Extent;
use super::files::Files;
use super::known::{self, Known};
use super::log::SegmentInfo;
use super::survey::{self, Fault};

/// What there is.
#[derive(Debug)]
pub struct Inspection<F: Files> {
    /// For reading the entries.
    pub extent: Arc<Extent<F>>,
    /// The segments, the oldest first, each with what is wrong with it.
    pub segments: Vec<(SegmentInfo, Vec<Fault>)>,
    /// The cursors, by the names of their sinks.
    pub cursors: Vec<Position>,
    /// The queues of which messages are known, by their names.
    pub queues: Vec<Queue>,
}

/// What is known of a queue.
#[derive(Debug)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// The messages of it that are known at the next start.
    pub messages: Result<usize, OpenError>,
}

/// How far a sink has come.
#[derive(Debug)]
pub struct Position {
    /// Its name.
    pub sink: String,
    /// Its cursor.
    pub cursor: Result<Cursor, OpenError>,
    /// Records that it has still to get.
    pub waiting: u64,
    /// Records that its cursor says are undecided, but that are in no segment.
    pub missing: u64,
}

/// Reads everything in `files`.
pub fn inspect<F: Files>(files: F) -> Result<Inspection<F>, OpenError> {
    let failed = |error| OpenError::Io { what: "the folder".into(), error };
    let mut list = files.list().map_err(failed)?;
    list.sort_unstable();
    let names = list.iter().filter_map(|name| file::sink_of(name));
    let mut found = Vec::new();
    for sink in names {
        // Somebody may have removed it since.
        let Some(cursor) = file::load(&files, &sink).transpose() else { continue };
        let plan = cursor.as_ref().ok().map(|cursor| Plan::new(&sink, cursor));
        found.push((Position { sink, cursor, waiting: 0, missing: 0 }, plan));
    }
    let (mut knowns, mut queues) = (Vec::new(), Vec::new());
    for name in list.iter().filter_map(|name| known::file::queue_of(name)) {
        match known::file::load(&files, &name) {
            Ok(Some(record)) => knowns.push(Known::new(&name, record)),
            Ok(None) => {}
            Err(error) => queues.push(Queue { name, messages: Err(error) }),
        }
    }
    let firsts = survey::firsts(&files).map_err(failed)?;
    let mut segments = Vec::new();
    let mut known = Vec::new();
    for (index, first) in firsts.iter().enumerate() {
        let below = firsts.get(index + 1).copied().unwrap_or(u64::MAX);
        let survey = survey::survey(&files, *first, below, |stored, head| {
            knowns.iter_mut().for_each(|queue| queue.read(stored));
            for (position, plan) in &mut found {
                position.waiting += plan.as_mut().map_or(0, |plan| plan.left(head).count(head));
            }
        });
        let survey = match survey {
            // The daemon has deleted it since.
            Err(OpenError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => continue,
            survey => survey?,
        };
        segments.push((SegmentInfo::of(&survey.segment), survey.faults));
        known.push(survey.segment);
    }
    let cursors = found.into_iter().map(|(position, plan)| {
        let missing = plan.map_or(0, |plan| plan.missing());
        Position { missing, ..position }
    });
    let cursors = cursors.collect();
    let messages = |queue: &Known| queue.record(u64::MAX - 1).messages.len();
    queues.extend(
        knowns.iter().map(|queue| Queue { name: queue.queue().to_string(), messages: Ok(messages(queue)) }),
    );
    queues.sort_by(|a, b| a.name.cmp(&b.name));
    let extent = Extent::new(files);
    {
        let mut extent = extent.lock();
        extent.written = known.last().map_or(0, |newest| newest.last);
        extent.segments = known.into();
    }
    Ok(Inspection { extent: Arc::new(extent), segments, cursors, queues })
}
