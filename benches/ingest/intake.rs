//! What the way from a datagram to a chunk costs by itself, without sockets: case `intake`.
//!
//! For a count of instructions that no load on the machine changes, with L lines in all:
//! `valgrind --tool=callgrind --toggle-collect='*intake*round*' BENCHMARK intake --seconds 0`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kaneda::pipeline::datagram::Datagram;
use kaneda::pipeline::{Dispatch, Ingest};
use kaneda::protocol::Limits;
use kaneda::record::{Dialect, Origin};
use kaneda::source::Datagrams;
use tokio::sync::Notify;

use crate::corpus::{Corpus, Shape};

/// Datagrams that a read brings, as the UDP source reads them.
const READ: usize = 64;

/// Prints nanoseconds a line, the least of the rounds within `time`, for those of the cases that are named, or for all.
pub(crate) fn run(cases: &[String], time: Duration) {
    for (name, tagged, packed) in [("packed", false, true), ("single", false, false), ("tagged", true, true)]
    {
        if cases.len() > 1 && !cases.iter().any(|case| case == name) {
            continue;
        }
        let corpus = Corpus::new(Shape { tagged, packed });
        let lines: u32 = corpus.datagrams.iter().map(|datagram| datagram.lines).sum();
        // Without a lane a chunk is closed, given its place and freed.
        let dispatch = Dispatch::new(Vec::new(), Arc::new(Notify::new()));
        let ingest = Ingest::new(dispatch, Limits::default(), Duration::ZERO);
        let origin = Origin { source: "bench".into(), dialect: Dialect::Kaneda, host: "bench".into() };
        let mut intake = Datagram::new(ingest, origin);
        let start = Instant::now();
        let mut best = Duration::MAX;
        loop {
            let begin = Instant::now();
            round(&mut intake, &corpus);
            best = best.min(begin.elapsed());
            if start.elapsed() >= time {
                break;
            }
        }
        println!("{name:<8} intake   {:>8.1} ns/line", best.as_nanos() as f64 / f64::from(lines));
    }
}

#[inline(never)]
fn round(intake: &mut Datagram, corpus: &Corpus) {
    for read in corpus.datagrams.chunks(READ) {
        intake.begin_read(read.iter().map(|datagram| datagram.at.len() + 1).sum());
        for datagram in read {
            intake.datagram(black_box(&corpus.bytes[datagram.at.clone()]), false, None);
        }
    }
    intake.flush();
}
