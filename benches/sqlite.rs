//! How fast the embedded store takes reports, against a loader that inserts ready rows with the same settings.
//!
//! `cargo bench --bench sqlite [-- ROWS]` prints both in one run, in rounds that alternate so that both meet the same
//! machine. CPU is that of the whole process.
#![allow(clippy::unwrap_used, reason = "a benchmark may stop at the first surprise")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kaneda::protocol::{Limits, parse};
use kaneda::record::batch::Range;
use kaneda::record::{Batch, Dialect, OpenChunk, Origin};
use kaneda::sink::Outcome;
use kaneda::sink::sqlite::Config;
use rusqlite::Connection;

const BATCH: usize = 5000;
const ROUNDS: usize = 3;

type Row =
    (String, i64, String, String, Option<f64>, String, Option<String>, String, Option<f64>, Option<String>);

struct Cost {
    wall: Duration,
    cpu: Duration,
}

fn main() {
    let argument = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let rows: usize = argument.unwrap_or(200_000) / BATCH * BATCH;
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    println!("{rows} rows in batches of {BATCH}, {cores} cores");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for round in 1..=ROUNDS {
        let folder = tempfile::tempdir().unwrap();
        let loader = load(&folder.path().join("loader.db"), rows, &runtime);
        let sink = sink(&folder.path().join("sink.db"), rows, &runtime);
        let per_second = |cost: &Cost| rows as f64 / cost.wall.as_secs_f64();
        let per_row = |cost: &Cost| cost.cpu.as_secs_f64() * 1e6 / rows as f64;
        println!(
            "round {round}: loader {:.0} rows/s, {:.2} us CPU a row; sink {:.0} rows/s, {:.2} us CPU a row; \
             the sink has {:.2} of the loader's rate",
            per_second(&loader),
            per_row(&loader),
            per_second(&sink),
            per_row(&sink),
            per_second(&sink) / per_second(&loader)
        );
    }
}

fn line(n: usize) -> String {
    match n % 4 {
        0 => format!("web.requests.{}:1|c", n % 50),
        1 => format!("web.latency.{}:{}.5|ms|#route:/a/{},method:get", n % 50, n % 900, n % 20),
        2 => format!("db.connections:{}|g", n % 100),
        _ => format!("user.{}:logged in|e|#plan:free", n % 1000),
    }
}

fn batches(rows: usize) -> Vec<Batch> {
    let origin = Origin { source: "bench".into(), dialect: Dialect::Kaneda, host: "localhost".into() };
    let mut open = OpenChunk::new(origin);
    let mut chunks = Vec::new();
    for n in 0..rows {
        let line = line(n);
        if open.len() == BATCH / 4 {
            chunks.extend(open.close());
        }
        if open.is_empty() {
            open.begin_read(1_700_000_000_000_000_000 + n as i64 * 1000);
        }
        let at = open.append(line.as_bytes()).start;
        let (bytes, table) = open.parts();
        let text = &bytes[at..at + line.len()];
        parse(text, Dialect::Kaneda, &Limits::default(), &mut |record| table.push(&record, bytes, at))
            .unwrap();
    }
    chunks.extend(open.close());
    let whole = |chunk| {
        let chunk = Arc::new(chunk);
        Range { first: 0, last: kaneda::record::Chunk::len(&chunk), chunk }
    };
    let ranges: Vec<Range> = chunks.into_iter().map(whole).collect();
    ranges
        .chunks(4)
        .map(|ranges| {
            let mut batch = Batch::new();
            ranges.iter().cloned().for_each(|range| batch.push(range));
            batch
        })
        .collect()
}

fn sink(path: &Path, rows: usize, runtime: &tokio::runtime::Runtime) -> Cost {
    let config = Config { path: path.to_owned(), ..Config::default() };
    let sink = config.build("sqlite").unwrap();
    let batches = batches(rows);
    measure(|| {
        runtime.block_on(async {
            for batch in batches {
                assert_eq!(sink.send(batch).await, Outcome::Delivered);
            }
            sink.close().await;
        });
    })
}

/// Copies the rows of a first run of the sink, so that both store the same.
fn load(path: &Path, rows: usize, runtime: &tokio::runtime::Runtime) -> Cost {
    sink(path, rows, runtime);
    let mut connection = Connection::open(path).unwrap();
    let ready: Vec<Row> = connection
        .prepare(
            "SELECT id, time, metric, name, value, text, tags, host, rate, extra FROM reports ORDER BY rowid",
        )
        .unwrap()
        .query_map((), |row| row.try_into())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(ready.len(), rows);
    connection.execute_batch("DELETE FROM reports; VACUUM; PRAGMA synchronous = FULL").unwrap();
    measure(|| {
        for rows in ready.chunks(BATCH) {
            let transaction = connection.transaction().unwrap();
            {
                let mut insert = transaction
                    .prepare_cached(
                        "INSERT INTO reports VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                         ON CONFLICT (id) DO NOTHING",
                    )
                    .unwrap();
                for (id, time, metric, name, value, text, tags, host, rate, extra) in rows {
                    insert.execute((id, time, metric, name, value, text, tags, host, rate, extra)).unwrap();
                }
            }
            transaction.commit().unwrap();
        }
        drop(connection);
    })
}

fn measure(run: impl FnOnce()) -> Cost {
    let (cpu, wall) = (cpu(), Instant::now());
    run();
    Cost { wall: wall.elapsed(), cpu: self::cpu() - cpu }
}

/// User and system time of this process, in the kernel's ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
