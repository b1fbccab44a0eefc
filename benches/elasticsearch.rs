//! What the sink costs beside the store: batches through the daemon's sink, against a loader that posts bodies made
//! before, to the same server in the same run. `cargo bench --bench elasticsearch`; another version than the default
//! by `-- opensearch 3.4`.

mod load;

use std::process::Command;

use bytes::Bytes;
use elasticsearch::http::Method;
use elasticsearch::http::headers::{CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::transport::Transport;
use kaneda::record::Batch;
use kaneda::sink::elasticsearch::Config;
use kaneda::sink::{Outcome, Sink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::load::{BATCH, Meter, Result, Spent, batch};

const NAME: &str = "bench";
const BATCHES: usize = 8;
/// Loader and sinks take turns, batch by batch, so that a noisy machine is noisy for all.
const ROUNDS: usize = 5;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let [product, version] =
        [0, 1].map(|n| words.get(n).map_or(["elasticsearch", "8.17"][n], String::as_str));
    let script = format!("{}/scripts/servers/{product}.sh", env!("CARGO_MANIFEST_DIR"));
    if !Command::new(&script).args(["have", version]).status().is_ok_and(|status| status.success()) {
        println!(
            "skipped: no {product} {version} here; get it with scripts/servers/{product}.sh get {version}"
        );
        return Ok(());
    }
    let process = std::process::id().to_string();
    let output = Command::new(&script).args(["start", version, NAME, "--with", &process]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let url = String::from_utf8(output.stdout)?.trim().to_owned();
    println!("{product} {version}");
    let measured = tokio::runtime::Runtime::new()?.block_on(measure(&url));
    Command::new(&script).args(["stop", version, NAME]).status()?;
    measured
}

async fn measure(url: &str) -> Result<()> {
    let cores = std::thread::available_parallelism()?;
    println!(
        "{cores} cores shared with the server; {ROUNDS} rounds of {BATCHES} batches of {BATCH} reports, one in flight"
    );
    let [mut loader, mut plain, mut gzip] = [(); 3].map(|()| Spent::default());
    let [plain_sink, gzip_sink] = [sink(url, "plain", "gzip = false")?, sink(url, "gzip", "gzip = true")?];
    // Each with its template and its index, and the server warm.
    for sink in [&plain_sink, &gzip_sink, &sink(url, "loader", "gzip = false")?] {
        for _ in 0..3 {
            deliver(&**sink, batch()?).await?;
        }
    }
    let transport = Transport::single_node(url)?;
    for _ in 0..ROUNDS {
        let batches = (0..BATCHES).map(|_| batch()).collect::<Result<Vec<_>>>()?;
        let bodies = bodies(&batches).await?;
        for (batch, body) in batches.into_iter().zip(bodies) {
            let spent = Meter::start()?;
            load(&transport, body).await?;
            loader.add(&spent.stop(BATCH)?);
            for (sink, sum) in [(&plain_sink, &mut plain), (&gzip_sink, &mut gzip)] {
                let spent = Meter::start()?;
                deliver(&**sink, batch.clone()).await?;
                sum.add(&spent.stop(BATCH)?);
            }
        }
    }
    println!("{:<28} {:>11} {:>23} {:>9}", "", "documents/s", "own CPU us a document", "of loader");
    for (name, spent) in [("loader of ready bodies", &loader), ("sink", &plain), ("sink, gzip = true", &gzip)]
    {
        let ratio = spent.rate() / loader.rate();
        println!("{name:<28} {:>11.0} {:>23.2} {ratio:>9.2}", spent.rate(), spent.cpu_micros());
    }
    Ok(())
}

/// Posts a body, and looks no closer at the answer than a loader has to.
async fn load(transport: &Transport, body: Bytes) -> Result<()> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    let path = "/_bulk?filter_path=errors";
    let response = transport.send(Method::Post, path, headers, None::<&()>, Some(body), None).await?;
    let answer = response.text().await?;
    if answer != r#"{"errors":false}"# {
        return Err(answer.into());
    }
    Ok(())
}

async fn deliver(sink: &dyn Sink, batch: Batch) -> Result<()> {
    match sink.send(batch).await {
        Outcome::Delivered => Ok(()),
        outcome => Err(format!("{outcome:?}").into()),
    }
}

fn sink(url: &str, index: &str, more: &str) -> Result<Box<dyn Sink>> {
    let config = format!("connection_url = {url:?}\nindex_name = {index:?}\n{more}\ntimeout = \"60s\"");
    Ok(toml::from_str::<Config>(&config)?.build("bench")?)
}

/// The bodies that the sink makes of batches, taken down by a listener that agrees to everything.
async fn bodies(batches: &[Batch]) -> Result<Vec<Bytes>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let (taken, mut bodies) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            let body = loop {
                let Ok(1..) = stream.read_buf(&mut request).await else { break None };
                if let Some(body) = whole(&request) {
                    break Some(Bytes::copy_from_slice(body));
                }
            };
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
            if let Some(body) = body
                && stream.write_all(answer).await.is_ok()
                && !body.is_empty()
            {
                let _ = taken.send(body);
            }
        }
    });
    let sink = sink(&url, "loader", "template = false")?;
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
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(Some(0), |length| length.parse::<usize>().ok())?;
    let body = &request[end + 4..];
    (body.len() == length).then_some(body)
}
