//! What a line costs: the parser against a split at the bytes that structure it, written by hand with memchr.
//!
//! `cargo bench --bench parser [-- SECONDS]`. Each corpus is made up in the same way on every run. A figure is the
//! least of many rounds, since whatever else the machine does can only add to it.

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use kaneda::protocol::{Limits, lines, parse};
use kaneda::record::{Dialect, Record};

/// Lines of one corpus: more than a branch predictor learns by heart, few enough that some round is never interrupted.
const LINES: usize = 4_000;

/// Appends one line without its LF.
type Writer = fn(&mut Random, &mut String);

fn main() {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1.0);
    let time = Duration::from_secs_f64(seconds);
    println!(
        "{:24} {:>10} {:>12} {:>12} {:>12}",
        "corpus", "bytes/line", "lines ns", "floor ns", "parser ns"
    );
    for (name, dialect, corpus) in corpora() {
        let bytes = corpus.as_bytes();
        let split = measure(time, || lines(bytes).map(|line| line.bytes.len()).sum());
        let floor = measure(time, || lines(bytes).map(|line| split_by_hand(line.bytes)).sum());
        let parser = measure(time, || lines(bytes).map(|line| spans(line.bytes, dialect)).sum());
        let length = bytes.len() as f64 / LINES as f64;
        println!("{name:24} {length:10.1} {split:12.1} {floor:12.1} {parser:12.1}");
    }
}

/// Nanoseconds a line of one round over a corpus.
fn measure(time: Duration, mut round: impl FnMut() -> usize) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    while start.elapsed() < time {
        let round_start = Instant::now();
        black_box(round());
        best = best.min(round_start.elapsed().as_nanos() as f64 / LINES as f64);
    }
    best
}

/// The parser, and of each record what a chunk keeps: that there is one, and where.
fn spans(line: &[u8], dialect: Dialect) -> usize {
    let mut kept = 0;
    let parsed = parse(line, dialect, &Limits::default(), &mut |record: Record<'_>| {
        kept += record.name.raw.len() + record.index as usize + usize::from(record.id.is_some());
    });
    black_box(parsed).map_or(0, |_| kept)
}

/// The least that can be done with a line: find its name, its value, its type and where each field begins.
fn split_by_hand(line: &[u8]) -> usize {
    let Some(name) = memchr::memchr(b':', line) else { return 0 };
    let rest = &line[name + 1..];
    let Some(value) = memchr::memchr(b'|', rest) else { return 0 };
    let fields = memchr::memchr_iter(b'|', &rest[value + 1..]).count();
    name + value + fields
}

fn corpora() -> Vec<(&'static str, Dialect, String)> {
    let mut random = Random(42);
    let mut corpus = |line: Writer| {
        let mut text = String::new();
        for _ in 0..LINES {
            line(&mut random, &mut text);
            text.push('\n');
        }
        text
    };
    let counter = corpus(|random, text| {
        let _ = write!(text, "{}:{}|c", random.name(), random.below(1000));
    });
    let mixed = corpus(|random, text| {
        let _ = write!(text, "{}:", random.name());
        let _ = match random.below(5) {
            0 => write!(text, "{}|c", random.below(100)),
            1 => write!(text, "{}|ms|@0.1", random.below(5000)),
            2 => write!(text, "{}.{}|g", random.below(100), random.below(1000)),
            3 => write!(text, "{}|c|@0.25", random.below(10)),
            _ => write!(text, "{}|ms", random.below(100_000)),
        };
    });
    let tagged = corpus(|random, text| {
        let _ = write!(
            text,
            "{}:{}|c|#env:prod,region:eu-west-{},host:web{},version:1.{}",
            random.name(),
            random.below(1000),
            random.below(3),
            random.below(100),
            random.below(30)
        );
    });
    let full = corpus(|random, text| {
        let _ = write!(
            text,
            "{}:{}.{}|d|@0.5|#env:prod,host:web{},az:{},v:2|c:ci-{:016x}|T17{:08}",
            random.name(),
            random.below(1000),
            random.below(100),
            random.below(100),
            random.below(3),
            random.next(),
            random.below(100_000_000)
        );
    });
    let packed = corpus(|random, text| {
        let _ = write!(text, "{}", random.name());
        (0..5).for_each(|_| {
            let _ = write!(text, ":{}", random.below(1000));
        });
        text.push_str("|ms");
    });
    let json = corpus(|random, text| {
        let name = random.name();
        let (value, user) = (random.below(1000), random.below(1000));
        let _ = write!(
            text,
            r#"{{"name":"{name}","metric":"login","value":{{"took":{value},"user":"u{user}"}},"tags":["a","b"],"id_":null}}"#
        );
    });
    vec![
        ("statsd counters", Dialect::Kaneda, counter),
        ("statsd mixed", Dialect::Kaneda, mixed.clone()),
        ("statsd mixed, statsd", Dialect::Statsd, mixed),
        ("dogstatsd 4 tags", Dialect::Kaneda, tagged),
        ("dogstatsd all fields", Dialect::Kaneda, full),
        ("packed, 5 values", Dialect::Kaneda, packed),
        ("json", Dialect::Kaneda, json),
    ]
}

/// xorshift64*: the same numbers on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 32) % bound
    }

    fn name(&mut self) -> String {
        const WORDS: [&str; 8] = ["api", "request", "count", "db", "pool", "latency", "checkout", "queue"];
        let parts = 2 + self.below(3);
        let words: Vec<_> = (0..parts).map(|_| WORDS[self.below(8) as usize]).collect();
        words.join(".")
    }
}
