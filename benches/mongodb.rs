//! What the sink costs beside the store: batches through the daemon's sink, against a loader that sends commands made
//! before, to the same server in the same run. `cargo bench --bench mongodb`.

mod load;

#[allow(dead_code, clippy::unwrap_used, unreachable_pub, reason = "made for tests")]
#[path = "../tests/mongodb/stand_in.rs"]
mod stand_in;

use std::process::Command;

use kaneda::record::Batch;
use kaneda::sink::mongodb::Config;
use kaneda::sink::{Outcome, Sink};
use mongodb::bson::{Document, doc, serialize_to_vec};
use stand_in::StandIn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::load::{BATCH, Meter, Result, Spent, batch};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/servers/mongodb.sh");
/// Names another server: `mongodb://host:port`, without a login.
const GIVEN: &str = "KANEDA_TEST_MONGODB";
const NAME: &str = "bench";
/// It keeps all it stores in its heap: with less it would be measured how it clears up.
const HEAP: &str = "4g";
const BATCHES: usize = 10;
/// Loader and sink take turns, batch by batch, so that a noisy machine is noisy for both.
const ROUNDS: usize = 5;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    if let Ok(url) = std::env::var(GIVEN) {
        return runtime.block_on(measure(&url));
    }
    if !Command::new(SCRIPT).arg("have").status().is_ok_and(|status| status.success()) {
        println!("skipped: no MongoDB server here; get one with scripts/servers/mongodb.sh get");
        return Ok(());
    }
    let output = Command::new(SCRIPT).args(["start", NAME]).env("KANEDA_MONGODB_HEAP", HEAP).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let url = String::from_utf8(output.stdout)?.trim().to_owned();
    let measured = runtime.block_on(measure(&url));
    Command::new(SCRIPT).args(["stop", NAME]).status()?;
    measured
}

async fn measure(url: &str) -> Result<()> {
    let cores = std::thread::available_parallelism()?;
    println!(
        "{cores} cores shared with the server; {ROUNDS} rounds of {BATCHES} batches of {BATCH} reports, one in flight"
    );
    let run = std::process::id();
    let [ours_at, loader_at] = ["sink", "loader"].map(|who| format!("bench_{who}_{run}"));
    let sink = sink(url, &ours_at)?;
    sink.probe().await?;
    let client = mongodb::Client::with_uri_str(url).await?;
    let greeting = client.database("admin").run_command(doc! {"isMaster": 1}).await?;
    let mut server = Loader::connect(url, &loader_at).await?;
    let (mut loader, mut ours) = (Spent::default(), Spent::default());
    for round in 0..=ROUNDS {
        let batches = (0..BATCHES).map(|_| batch()).collect::<Result<Vec<_>>>()?;
        let mut ready = Vec::new();
        for batch in &batches {
            ready.push(server.messages(commands(batch, greeting.clone()).await?)?);
        }
        for (batch, messages) in batches.into_iter().zip(ready) {
            let spent = Meter::start()?;
            for message in messages {
                server.send(&message).await?;
            }
            let by_loader = spent.stop(BATCH)?;
            let spent = Meter::start()?;
            let outcome = sink.send(batch).await;
            let by_sink = spent.stop(BATCH)?;
            if outcome != Outcome::Delivered {
                return Err("a batch was not delivered: is the server in trouble?".into());
            }
            // The first round warms the server up.
            if round > 0 {
                loader.add(&by_loader);
                ours.add(&by_sink);
            }
        }
        // The server holds all of it in memory.
        for database in [&ours_at, &loader_at] {
            client.database(database).drop().await?;
        }
    }
    println!("{:<28} {:>11} {:>23} {:>8}", "", "documents/s", "own CPU us a document", "of loader");
    for (name, spent) in [("loader of ready commands", &loader), ("sink", &ours)] {
        let ratio = spent.rate() / loader.rate();
        println!("{name:<28} {:>11.0} {:>23.2} {ratio:>8.2}", spent.rate(), spent.cpu_micros());
    }
    Ok(())
}

fn sink(url: &str, database: &str) -> Result<Box<dyn Sink>> {
    let config = format!("connection_url = {url:?}\ndb_name = {database:?}\ntimeout = \"60s\"");
    Ok(toml::from_str::<Config>(&config)?.build("bench")?)
}

/// The commands that the sink makes of a batch, taken down by a server that agrees to everything, and that takes as
/// many documents at once as the real one's `greeting` says.
async fn commands(batch: &Batch, greeting: Document) -> Result<Vec<Document>> {
    let stand_in = StandIn::start(move |command| match command.get_array("documents") {
        Ok(documents) => Some(doc! {"n": documents.len() as i32}),
        Err(_) if command.contains_key("saslStart") => None,
        Err(_) => Some(greeting.clone()),
    })
    .await;
    let sink = sink(&stand_in.url, "nowhere")?;
    match sink.send(batch.clone()).await {
        Outcome::Delivered => Ok(stand_in.asked()),
        other => Err(format!("{other:?}").into()),
    }
}

/// Sends commands as they are, on a connection of its own.
struct Loader {
    server: TcpStream,
    database: String,
    answer: Vec<u8>,
}

impl Loader {
    async fn connect(url: &str, database: &str) -> Result<Self> {
        let address = url.trim_start_matches("mongodb://").split('/').next().unwrap_or_default();
        let server = TcpStream::connect(address).await?;
        server.set_nodelay(true)?;
        Ok(Loader { server, database: database.to_owned(), answer: Vec::new() })
    }

    /// The messages of commands: OP_MSG with one section.
    fn messages(&self, commands: Vec<Document>) -> Result<Vec<Vec<u8>>> {
        let mut messages = Vec::new();
        for mut command in commands {
            command.insert("$db", &self.database);
            let body = serialize_to_vec(&command)?;
            let mut message = Vec::with_capacity(21 + body.len());
            for part in [(21 + body.len()) as i32, 1, 0, 2013, 0] {
                message.extend_from_slice(&part.to_le_bytes());
            }
            message.push(0);
            message.extend_from_slice(&body);
            messages.push(message);
        }
        Ok(messages)
    }

    async fn send(&mut self, message: &[u8]) -> Result<()> {
        self.server.write_all(message).await?;
        let length = self.server.read_i32_le().await? as usize;
        self.answer.resize(length - 4, 0);
        self.server.read_exact(&mut self.answer).await?;
        let answer = Document::from_reader(&self.answer[17..])?;
        if answer.get_f64("ok").unwrap_or(1.0) != 1.0 || answer.contains_key("writeErrors") {
            return Err(format!("{answer}").into());
        }
        Ok(())
    }
}
