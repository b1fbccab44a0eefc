//! The lines that are sent, and the datagrams they are sent in. The same at each run.

use std::fmt::Write as _;
use std::ops::Range;

/// Lines of a corpus: enough names and numbers that no branch predictor learns them.
const LINES: usize = 100_000;
/// What fits into an Ethernet frame behind the headers, and what clients therefore fill.
const PACKED_BYTES: usize = 1432;

/// Datagrams, one behind the other.
pub(crate) struct Corpus {
    /// All bytes.
    pub(crate) bytes: Vec<u8>,
    /// In groups of equal length where they happen to have it, which one system call can send.
    pub(crate) datagrams: Vec<Datagram>,
}

/// One of them.
pub(crate) struct Datagram {
    /// Where it stands.
    pub(crate) at: Range<usize>,
    /// How many lines it has.
    pub(crate) lines: u32,
}

/// What a corpus consists of.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    /// Four tags a line, as DogStatsD clients send them.
    pub(crate) tagged: bool,
    /// As many lines a datagram as fit, else one.
    pub(crate) packed: bool,
}

impl Corpus {
    /// Makes the datagrams.
    pub(crate) fn new(shape: Shape) -> Corpus {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut datagrams: Vec<(String, u32)> = Vec::new();
        for _ in 0..LINES {
            let line = line(&mut random, shape.tagged);
            match datagrams.last_mut() {
                Some((text, lines)) if shape.packed && text.len() + 1 + line.len() <= PACKED_BYTES => {
                    text.push('\n');
                    text.push_str(&line);
                    *lines += 1;
                }
                _ => datagrams.push((line, 1)),
            }
        }
        datagrams.sort_by_key(|(text, _)| text.len());
        let mut corpus = Corpus { bytes: Vec::new(), datagrams: Vec::new() };
        for (text, lines) in datagrams {
            let start = corpus.bytes.len();
            corpus.bytes.extend_from_slice(text.as_bytes());
            corpus.datagrams.push(Datagram { at: start..corpus.bytes.len(), lines });
        }
        corpus
    }
}

const SERVICES: [&str; 8] =
    ["web", "ingest", "sessions", "recommend", "export", "billing", "search", "worker"];
const PARTS: [&str; 8] = ["http", "cache", "query", "queue", "pool", "render", "session", "item"];
const VERBS: [&str; 8] = ["time", "hits", "misses", "size", "errors", "retries", "wait", "latency"];

/// Counters 45 %, timings 35 %, gauges 15 %, sets 5 %; some sampled.
fn line(random: &mut Random, tagged: bool) -> String {
    let service = random.pick(&SERVICES);
    let mut line = format!("{service}.{}.", random.pick(&PARTS));
    if random.below(2) == 0 {
        let _ = write!(line, "{}.", random.pick(&PARTS));
    }
    let _ = write!(line, "h{:04}.{}:", random.below(2000), random.pick(&VERBS));
    let _ = match random.below(100) {
        0..45 => write!(line, "{}|c", 1 + random.below(3)),
        45..80 => write!(line, "{}.{}|ms", random.below(300), random.below(1000)),
        80..95 => write!(line, "{}.{}|g", random.below(2000), random.below(100)),
        _ => write!(line, "user{}|s", random.below(100_000)),
    };
    if random.below(10) == 0 {
        line.push_str("|@0.1");
    }
    if tagged {
        let (host, page) = (random.below(256), random.pick(&PARTS));
        let _ = write!(line, "|#env:production,service:{service},host:ip-10-0-3-{host},endpoint:/v2/{page}");
    }
    line
}

/// Xorshift: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn pick(&mut self, of: &[&'static str]) -> &'static str {
        of[self.below(of.len() as u64) as usize]
    }
}
