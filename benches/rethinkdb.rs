//! What the sink costs beside the store: batches through the daemon's sink, against a loader that sends queries made
//! before, over one connection, in the same run. `cargo bench --bench rethinkdb`.
//!
//! **The server is no RethinkDB**, which cannot be had here, but a stand-in in a process of its own that counts
//! documents and agrees to everything. It takes far more than a real one would, so the ratio is the worst there can be:
//! it says what the sink's own work is beside sending the bytes.

mod load;

#[path = "../tests/rethinkdb/standin/mod.rs"]
mod standin;

use std::io::BufRead;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use kaneda::record::Batch;
use kaneda::sink::rethinkdb::Config;
use kaneda::sink::{Outcome, Sink};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::load::{BATCH, Meter, Result, Spent, batch};

const BATCHES: usize = 20;
/// Loader and sink take turns, batch by batch, so that a noisy machine is noisy for both.
const ROUNDS: usize = 5;
/// Makes this program the server.
const SERVE: &str = "--serve";

/// Queries with their heads, as they were sent for one batch, and how many.
type Frames = (Vec<u8>, usize);

#[tokio::main]
async fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == SERVE) {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        return serve(listener, None).await;
    }
    let mut server = Command::new(std::env::current_exe()?).arg(SERVE).stdout(Stdio::piped()).spawn()?;
    let mut address = String::new();
    std::io::BufReader::new(server.stdout.take().ok_or("no output")?).read_line(&mut address)?;
    let measured = measure(address.trim()).await;
    server.kill()?;
    server.wait()?;
    measured
}

async fn measure(address: &str) -> Result<()> {
    let cores = std::thread::available_parallelism()?;
    println!(
        "{cores} cores shared with a stand-in that agrees to everything (no RethinkDB); {ROUNDS} rounds of {BATCHES} \
         batches of {BATCH} reports, one in flight"
    );
    let (mut loading, mut sinking) = (Spent::default(), Spent::default());
    let sink = sink(address)?;
    sink.probe().await?;
    let mut loader = TcpStream::connect(address).await?;
    loader.set_nodelay(true)?;
    for _ in 0..ROUNDS {
        let batches = (0..BATCHES).map(|_| batch()).collect::<Result<Vec<_>>>()?;
        let ready = frames(&batches).await?;
        for (batch, (bytes, queries)) in batches.into_iter().zip(ready) {
            let spent = Meter::start()?;
            loader.write_all(&bytes).await?;
            for _ in 0..queries {
                loader.read_u64_le().await?;
                let mut answer = vec![0; loader.read_u32_le().await? as usize];
                loader.read_exact(&mut answer).await?;
            }
            loading.add(&spent.stop(BATCH)?);
            let spent = Meter::start()?;
            let outcome = sink.send(batch).await;
            if outcome != Outcome::Delivered {
                return Err(format!("{outcome:?}").into());
            }
            sinking.add(&spent.stop(BATCH)?);
        }
    }
    println!("{:<28} {:>9} {:>23} {:>8}", "", "docs/s", "own CPU us a document", "of loader");
    let documents = (ROUNDS * BATCHES * BATCH) as f64;
    for (name, spent) in [("loader of ready queries", &loading), ("sink", &sinking)] {
        let rate = documents / spent.wall.as_secs_f64();
        let cpu = spent.cpu.as_secs_f64() * 1e6 / documents;
        let ratio = loading.wall.as_secs_f64() / spent.wall.as_secs_f64();
        println!("{name:<28} {rate:>9.0} {cpu:>23.2} {ratio:>8.2}");
    }
    Ok(())
}

fn sink(address: &str) -> Result<Box<dyn Sink>> {
    let config = format!("host = {address:?}\ntimeout = \"60s\"");
    Ok(toml::from_str::<Config>(&config)?.build("bench")?)
}

/// The inserts that the sink makes of batches, taken down by a server in this process.
async fn frames(batches: &[Batch]) -> Result<Vec<Frames>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let (told, mut taken) = mpsc::unbounded_channel();
    let task =
        tokio::spawn(async move { serve(listener, Some(told)).await.map_err(|error| error.to_string()) });
    let sink = sink(&address)?;
    sink.probe().await?;
    let mut all = Vec::new();
    for batch in batches {
        sink.send(batch.clone()).await;
        let mut bytes = Vec::new();
        let mut queries = 0;
        while let Ok(frame) = taken.try_recv() {
            bytes.extend_from_slice(&frame);
            queries += 1;
        }
        all.push((bytes, queries));
    }
    task.abort();
    Ok(all)
}

/// A server that agrees to everything, and tells of the inserts it was asked for.
async fn serve(listener: TcpListener, told: Option<mpsc::UnboundedSender<Vec<u8>>>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let told = told.clone();
        tokio::spawn(async move { agree(stream, told).await.map_err(|error| error.to_string()) });
    }
}

async fn agree(mut stream: TcpStream, told: Option<mpsc::UnboundedSender<Vec<u8>>>) -> Result<()> {
    stream.set_nodelay(true)?;
    // The loader does not log in.
    let mut start = [0; 4];
    while stream.peek(&mut start).await? < start.len() {
        tokio::task::yield_now().await;
    }
    if u32::from_le_bytes(start) == 0x34c2_bdc3 {
        let store = Arc::new(Mutex::new(standin::Store::new("")));
        standin::log_in(&mut stream, &store).await?;
    }
    let (reader, mut writer) = stream.split();
    let mut reader = tokio::io::BufReader::with_capacity(1 << 16, reader);
    loop {
        let (token, length) = (reader.read_u64_le().await?, reader.read_u32_le().await?);
        let mut query = vec![0; length as usize];
        reader.read_exact(&mut query).await?;
        let answer = match &query[..7] {
            b"[1,[56," => {
                let documents = memchr::memmem::find_iter(&query, b"[1,{\"id\":").count();
                if let Some(told) = &told {
                    told.send([&token.to_le_bytes()[..], &length.to_le_bytes(), &query].concat())?;
                }
                format!(r#"{{"t":1,"r":[{{"inserted":{documents},"errors":0}}],"n":[]}}"#)
            }
            b"[1,[62," => r#"{"t":1,"r":[["counter","gauge","timing"]],"n":[]}"#.to_owned(),
            b"[1,[79," => r#"{"t":1,"r":[{"primary_key":"id"}],"n":[]}"#.to_owned(),
            _ => r#"{"t":1,"r":[{"skipped":1,"errors":0}],"n":[]}"#.to_owned(),
        };
        let mut frame = token.to_le_bytes().to_vec();
        frame.extend_from_slice(&(answer.len() as u32).to_le_bytes());
        frame.extend_from_slice(answer.as_bytes());
        writer.write_all(&frame).await?;
    }
}
