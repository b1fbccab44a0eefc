//! What the sink costs beside the store: batches through the daemon's sink, against a loader that sends queries made
//! before, to the same server in the same run. `cargo bench --bench rethinkdb`.
//!
//! With `KANEDA_TEST_RETHINKDB=host:port` the server is a real one. Without, **it is no RethinkDB** but, one after the
//! other and each in a process of its own, the stand-in of the tests, which reads queries and keeps documents, and one
//! that counts documents and agrees to everything. The latter takes far more than a real one would, so that its ratio
//! is the worst there can be: it says what the sink's own work is beside sending the bytes.

mod agreeing;
#[allow(clippy::unwrap_used, reason = "made for tests")]
#[path = "../../tests/rethinkdb/client.rs"]
mod client;
#[path = "../load/mod.rs"]
mod load;
mod loader;
#[path = "../../tests/rethinkdb/standin/mod.rs"]
mod standin;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use kaneda::record::Batch;
use kaneda::sink::rethinkdb::Config;
use kaneda::sink::{Outcome, Sink};
use tokio::net::TcpListener;

use crate::client::Client;
use crate::load::{BATCH, Meter, Result, Spent, batch};
use crate::loader::{Frames, clear, frames, judge, load};

/// Names a real server to use, `host:port`; its user `admin` has no password.
const GIVEN: &str = "KANEDA_TEST_RETHINKDB";
const BATCHES: usize = 10;
/// Loader and sink take turns, batch by batch, so that a noisy machine is noisy for both.
const ROUNDS: usize = 5;
/// Make this program a server, until its standard input ends.
const STANDIN: &str = "--stand-in";
const AGREEING: &str = "--agreeing";

#[tokio::main]
async fn main() -> Result<()> {
    let asked = |server: &str| std::env::args().any(|argument| argument == server);
    if asked(STANDIN) {
        let standin = standin::Standin::start("").await;
        println!("{}", standin.address);
        return until_left();
    }
    if asked(AGREEING) {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        tokio::spawn(async move { agreeing::serve(listener, None).await.map_err(|error| error.to_string()) });
        return until_left();
    }
    if let Ok(address) = std::env::var(GIVEN) {
        return measure(&address, "the server that is given").await;
    }
    for (server, what) in [
        (STANDIN, "a stand-in that reads queries and keeps documents (no RethinkDB)"),
        (AGREEING, "a stand-in that agrees to everything (no RethinkDB)"),
    ] {
        let (mut server, address) = start(server)?;
        let measured = measure(&address, what).await;
        // Its standard input ends with this.
        drop(server.stdin.take());
        server.wait()?;
        measured?;
    }
    Ok(())
}

fn start(server: &str) -> Result<(Child, String)> {
    let mut server = Command::new(std::env::current_exe()?)
        .arg(server)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut address = String::new();
    BufReader::new(server.stdout.take().ok_or("no output")?).read_line(&mut address)?;
    Ok((server, address.trim().to_owned()))
}

/// Waits for the end of who has started this process, however it ends.
fn until_left() -> Result<()> {
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

async fn measure(address: &str, what: &str) -> Result<()> {
    let cores = std::thread::available_parallelism()?;
    println!(
        "{cores} cores shared with {what}; {ROUNDS} rounds of {BATCHES} batches of {BATCH} reports, one in flight if \
         not said otherwise"
    );
    // Each has a database of its own: the ids are the same.
    let databases = ["loader", "sink"].map(|who| format!("kaneda_bench_{who}"));
    let [loader_at, sink_at] = &databases;
    let sink = sink(address, sink_at)?;
    let mut clients = [Client::start(address, "admin", "").await, Client::start(address, "admin", "").await];
    // Makes the tables.
    store(&*self::sink(address, loader_at)?, batch()?).await?;
    store(&*sink, batch()?).await?;

    let mut sums: [Spent; 4] = Default::default();
    let [loading, sinking, loading_two, sinking_two] = &mut sums;
    for _ in 0..ROUNDS {
        let batches = (0..2 * BATCHES).map(|_| batch()).collect::<Result<Vec<_>>>()?;
        let ready = frames(&batches, loader_at).await?;
        let (one, two) = batches.split_at(BATCHES);
        let (ready_one, ready_two) = ready.split_at(BATCHES);
        for (batch, ready) in one.iter().zip(ready_one) {
            let spent = Meter::start()?;
            let answers = load(&mut clients[0], ready).await?;
            loading.add(&spent.stop(BATCH)?);
            judge(&answers)?;
            let spent = Meter::start()?;
            store(&*sink, batch.clone()).await?;
            sinking.add(&spent.stop(BATCH)?);
        }
        for (batches, ready) in two.chunks_exact(2).zip(ready_two.chunks_exact(2)) {
            let spent = Meter::start()?;
            let [a, b] = load_two(&mut clients, ready).await?;
            loading_two.add(&spent.stop(2 * BATCH)?);
            judge(&a)?;
            judge(&b)?;
            let spent = Meter::start()?;
            tokio::try_join!(store(&*sink, batches[0].clone()), store(&*sink, batches[1].clone()))?;
            sinking_two.add(&spent.stop(2 * BATCH)?);
        }
        // A stand-in holds all of it in memory.
        for database in &databases {
            clear(&mut clients[0], database).await;
        }
    }
    print(&sums);
    Ok(())
}

async fn load_two([a, b]: &mut [Client; 2], ready: &[Frames]) -> Result<[Vec<Vec<u8>>; 2]> {
    let (a, b) = tokio::try_join!(load(a, &ready[0]), load(b, &ready[1]))?;
    Ok([a, b])
}

async fn store(sink: &dyn Sink, batch: Batch) -> Result<()> {
    match sink.send(batch).await {
        Outcome::Delivered => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn print([loading, sinking, loading_two, sinking_two]: &[Spent; 4]) {
    println!("{:<28} {:>9} {:>23} {:>9}", "", "docs/s", "own CPU us a document", "of loader");
    for (name, spent, loader) in [
        ("loader of ready queries", loading, loading),
        ("sink", sinking, loading),
        ("loader, two in flight", loading_two, loading_two),
        ("sink, two in flight", sinking_two, loading_two),
    ] {
        let ratio = spent.rate() / loader.rate();
        println!("{name:<28} {:>9.0} {:>23.2} {ratio:>9.2}", spent.rate(), spent.cpu_micros());
    }
}

fn sink(address: &str, database: &str) -> Result<Box<dyn Sink>> {
    let config = format!("host = {address:?}\ndb_name = {database:?}\ntimeout = \"60s\"");
    Ok(toml::from_str::<Config>(&config)?.build("bench")?)
}
