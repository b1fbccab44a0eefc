//! What the sink costs beside the store: batches through the daemon's sink, against a loader that posts bodies made
//! before, to the same server in the same run. `cargo bench --bench influxdb`.

mod load;

use std::process::Command;

use kaneda::record::Batch;
use kaneda::sink::influxdb::Config;
use kaneda::sink::{Outcome, Sink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::load::{BATCH, Meter, Result, Spent, batch};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/servers/influxdb.sh");
const NAME: &str = "bench";
const BATCHES: usize = 40;
/// Loader and sinks take turns, batch by batch, so that a noisy machine is noisy for all.
const ROUNDS: usize = 5;

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
    kaneda::tls::provider();
    let cores = std::thread::available_parallelism()?;
    println!(
        "{cores} cores shared with the server; {ROUNDS} rounds of {BATCHES} batches of {BATCH} reports, one in flight if not said otherwise"
    );
    let (mut loader, mut plain, mut gzip) = (Spent::default(), Spent::default(), Spent::default());
    let (mut loader_two, mut plain_two) = (Spent::default(), Spent::default());
    let [plain_sink, gzip_sink] = [sink(url, "plain", false)?, sink(url, "gzip", true)?];
    let loader_sink = sink(url, "loader", false)?;
    for sink in [&plain_sink, &gzip_sink, &loader_sink] {
        sink.probe().await?;
    }
    let client = reqwest::Client::new();
    let write = format!("{url}/write?db=loader&precision=ns");
    for _ in 0..ROUNDS {
        // The same again two by two, as with `concurrency = 2`: other batches, since to write a point again is cheap.
        let batches = (0..BATCHES).map(|_| batch()).collect::<Result<Vec<_>>>()?;
        let bodies_of = bodies(&batches).await?;
        for (two, bodies) in batches.chunks_exact(2).zip(bodies_of.chunks_exact(2)) {
            let spent = Meter::start()?;
            let post = |body: &Vec<u8>| client.post(&write).body(body.clone()).send();
            let (one, other) = tokio::join!(post(&bodies[0]), post(&bodies[1]));
            one?.error_for_status()?;
            other?.error_for_status()?;
            loader_two.add(&spent.stop(2 * BATCH)?);
            let spent = Meter::start()?;
            let outcomes = tokio::join!(plain_sink.send(two[0].clone()), plain_sink.send(two[1].clone()));
            if outcomes != (Outcome::Delivered, Outcome::Delivered) {
                return Err(format!("{outcomes:?}").into());
            }
            plain_two.add(&spent.stop(2 * BATCH)?);
        }
        let batches = (0..BATCHES).map(|_| batch()).collect::<Result<Vec<_>>>()?;
        let bodies = bodies(&batches).await?;
        for (batch, body) in batches.into_iter().zip(bodies) {
            let spent = Meter::start()?;
            client.post(&write).body(body).send().await?.error_for_status()?;
            loader.add(&spent.stop(BATCH)?);
            for (sink, sum) in [(&plain_sink, &mut plain), (&gzip_sink, &mut gzip)] {
                let spent = Meter::start()?;
                let outcome = sink.send(batch.clone()).await;
                if outcome != Outcome::Delivered {
                    return Err(format!("{outcome:?}").into());
                }
                sum.add(&spent.stop(BATCH)?);
            }
        }
    }
    println!("{:<28} {:>9} {:>20} {:>8}", "", "points/s", "own CPU us a point", "of loader");
    for (name, spent) in [
        ("loader of ready bodies", &loader),
        ("sink", &plain),
        ("sink, gzip = true", &gzip),
        ("loader, two in flight", &loader_two),
        ("sink, two in flight", &plain_two),
    ] {
        let ratio = spent.rate() / loader.rate();
        println!("{name:<28} {:>9.0} {:>20.2} {ratio:>8.2}", spent.rate(), spent.cpu_micros());
    }
    Ok(())
}

fn sink(url: &str, database: &str, gzip: bool) -> Result<Box<dyn Sink>> {
    let config =
        format!("connection_url = {url:?}\ndatabase = {database:?}\ngzip = {gzip}\ntimeout = \"60s\"");
    Ok(toml::from_str::<Config>(&config)?.build("bench")?)
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
