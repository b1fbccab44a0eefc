//! What the sink costs beside the store: batches through the daemon's sink, against a loader that posts bodies made
//! before, to the same server in the same run. `cargo bench --bench influxdb`.

use std::error::Error;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kaneda::protocol::{Limits, lines, parse};
use kaneda::record::batch::Range;
use kaneda::record::{Batch, Dialect, OpenChunk, Origin};
use kaneda::sink::influxdb::Config;
use kaneda::sink::{Outcome, Sink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/servers/influxdb.sh");
const NAME: &str = "bench";
/// The default of `batch_max_records`.
const BATCH: usize = 5000;
const BATCHES: usize = 40;
/// Loader and sinks take turns, batch by batch, so that a noisy machine is noisy for all.
const ROUNDS: usize = 5;
/// `/proc` counts CPU time in these.
const TICK: Duration = Duration::from_millis(10);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    if !Command::new(SCRIPT).arg("have").status().is_ok_and(|status| status.success()) {
        println!("skipped: no influxd here; get it with scripts/servers/influxdb.sh get");
        return Ok(());
    }
    let output = Command::new(SCRIPT).args(["start", NAME]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let url = String::from_utf8(output.stdout)?.trim().to_owned();
    let measured = tokio::runtime::Runtime::new()?.block_on(measure(&url));
    Command::new(SCRIPT).args(["stop", NAME]).status()?;
    measured
}

async fn measure(url: &str) -> Result<()> {
    kaneda::sink::tls::provider();
    let cores = std::thread::available_parallelism()?;
    println!(
        "{cores} cores shared with the server; {ROUNDS} rounds of {BATCHES} batches of {BATCH} reports, one in flight"
    );
    let (mut loader, mut plain, mut gzip) = (Spent::default(), Spent::default(), Spent::default());
    let [plain_sink, gzip_sink] = [sink(url, "plain", false)?, sink(url, "gzip", true)?];
    let loader_sink = sink(url, "loader", false)?;
    for sink in [&plain_sink, &gzip_sink, &loader_sink] {
        sink.probe().await?;
    }
    let client = reqwest::Client::new();
    let write = format!("{url}/write?db=loader&precision=ns");
    for _ in 0..ROUNDS {
        let batches = (0..BATCHES).map(|_| batch()).collect::<Result<Vec<_>>>()?;
        let bodies = bodies(&batches).await?;
        for (batch, body) in batches.into_iter().zip(bodies) {
            let spent = Meter::start()?;
            client.post(&write).body(body).send().await?.error_for_status()?;
            loader.add(&spent.stop()?);
            for (sink, sum) in [(&plain_sink, &mut plain), (&gzip_sink, &mut gzip)] {
                let spent = Meter::start()?;
                let outcome = sink.send(batch.clone()).await;
                if outcome != Outcome::Delivered {
                    return Err(format!("{outcome:?}").into());
                }
                sum.add(&spent.stop()?);
            }
        }
    }
    println!("{:<28} {:>9} {:>20} {:>8}", "", "points/s", "own CPU us a point", "of loader");
    let points = (ROUNDS * BATCHES * BATCH) as f64;
    for (name, spent) in [("loader of ready bodies", &loader), ("sink", &plain), ("sink, gzip = true", &gzip)]
    {
        let rate = points / spent.wall.as_secs_f64();
        let cpu = spent.cpu.as_secs_f64() * 1e6 / points;
        let ratio = loader.wall.as_secs_f64() / spent.wall.as_secs_f64();
        println!("{name:<28} {rate:>9.0} {cpu:>20.2} {ratio:>8.2}");
    }
    Ok(())
}

fn sink(url: &str, database: &str, gzip: bool) -> Result<Box<dyn Sink>> {
    let config =
        format!("connection_url = {url:?}\ndatabase = {database:?}\ngzip = {gzip}\ntimeout = \"60s\"");
    Ok(toml::from_str::<Config>(&config)?.build("bench")?)
}

/// A batch of counters, gauges and timings with three tags, from 50 hosts.
fn batch() -> Result<Batch> {
    let mut text = String::new();
    for n in 0..BATCH {
        let _ = writeln!(
            text,
            "shop.checkout.step{}:{}.{}|{}|#env:prod,region:eu-{},service:web|h:host{}",
            n % 40,
            n,
            n % 10,
            ["c", "g", "ms"][n % 3],
            n % 4,
            n % 50
        );
    }
    let origin = Origin { source: "bench".into(), dialect: Dialect::Kaneda, host: "bench".into() };
    let mut open = OpenChunk::new(origin);
    open.begin_read(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as i64);
    let range = open.append(text.as_bytes());
    let (bytes, table) = open.parts();
    for line in lines(&bytes[range]) {
        parse(line.bytes, Dialect::Kaneda, &Limits::default(), &mut |record| {
            table.push(&record, bytes, line.offset)
        })
        .map_err(|error| format!("{error:?}"))?;
    }
    let chunk = open.close().ok_or("no record")?;
    let last = chunk.len();
    let mut batch = Batch::new();
    batch.push(Range { chunk: Arc::new(chunk), first: 0, last });
    Ok(batch)
}

/// The bodies that the sink makes of batches, taken down by a listener that agrees to everything.
async fn bodies(batches: &[Batch]) -> Result<Vec<Vec<u8>>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let (taken, mut bodies) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            let body = loop {
                let Ok(1..) = stream.read_buf(&mut request).await else { break None };
                if let Some(body) = whole(&request) {
                    break Some(body.to_vec());
                }
            };
            let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
            if let Some(body) = body
                && stream.write_all(answer).await.is_ok()
            {
                let _ = taken.send(body);
            }
        }
    });
    let sink = sink(&url, "nowhere", false)?;
    let mut all = Vec::new();
    for batch in batches {
        sink.send(batch.clone()).await;
        all.push(bodies.recv().await.ok_or("no body")?);
    }
    task.abort();
    Ok(all)
}

/// The body of a request once all of it is there.
fn whole(request: &[u8]) -> Option<&[u8]> {
    let end = request.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse::<usize>().ok()?;
    let body = &request[end + 4..];
    (body.len() == length).then_some(body)
}

#[derive(Default)]
struct Spent {
    wall: Duration,
    cpu: Duration,
}

impl Spent {
    fn add(&mut self, other: &Spent) {
        self.wall += other.wall;
        self.cpu += other.cpu;
    }
}

struct Meter {
    start: Instant,
    cpu: Duration,
}

impl Meter {
    fn start() -> Result<Self> {
        Ok(Meter { start: Instant::now(), cpu: cpu()? })
    }

    fn stop(self) -> Result<Spent> {
        Ok(Spent { wall: self.start.elapsed(), cpu: cpu()? - self.cpu })
    }
}

/// CPU time of this process, all threads.
fn cpu() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // Behind the name, which may hold spaces: utime and stime are the 12th and 13th.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = fields
        .get(11..13)
        .ok_or("no CPU times")?
        .iter()
        .map(|ticks| ticks.parse::<u32>())
        .sum::<std::result::Result<u32, _>>()?;
    Ok(TICK * ticks)
}
