//! Sends the inserts that the sink makes of batches, made before, on a connection of its own.

use kaneda::record::Batch;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::agreeing;
use crate::client::Client;
use crate::load::{BATCH, Result};

/// The queries of one batch with their heads, and how many they are.
pub(crate) struct Frames {
    bytes: Vec<u8>,
    queries: usize,
}

/// The inserts of batches into `database`, taken down by a server in this process.
pub(crate) async fn frames(batches: &[Batch], database: &str) -> Result<Vec<Frames>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let (told, mut taken) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        agreeing::serve(listener, Some(told)).await.map_err(|error| error.to_string())
    });
    let sink = crate::sink(&address, database)?;
    sink.probe().await?;
    let mut all = Vec::new();
    for batch in batches {
        sink.send(batch.clone()).await;
        let mut frames = Frames { bytes: Vec::new(), queries: 0 };
        while let Ok(frame) = taken.try_recv() {
            frames.bytes.extend_from_slice(&frame);
            frames.queries += 1;
        }
        all.push(frames);
    }
    task.abort();
    Ok(all)
}

/// Sends the queries of a batch, all at once as the sink does, and waits for their answers.
pub(crate) async fn load(client: &mut Client, frames: &Frames) -> Result<Vec<Vec<u8>>> {
    client.stream.write_all(&frames.bytes).await?;
    let mut answers = Vec::with_capacity(frames.queries);
    for _ in 0..frames.queries {
        client.stream.read_u64_le().await?;
        let mut answer = vec![0; client.stream.read_u32_le().await? as usize];
        client.stream.read_exact(&mut answer).await?;
        answers.push(answer);
    }
    Ok(answers)
}

/// Fails if these answers do not say that a whole batch was stored.
pub(crate) fn judge(answers: &[Vec<u8>]) -> Result<()> {
    let mut inserted = 0;
    for answer in answers {
        let answer: Value = serde_json::from_slice(answer)?;
        inserted += answer["r"][0]["inserted"].as_u64().ok_or_else(|| format!("{answer}"))?;
    }
    if inserted == BATCH as u64 { Ok(()) } else { Err(format!("{inserted} of {BATCH} inserted").into()) }
}

/// Deletes all documents of a database.
pub(crate) async fn clear(client: &mut Client, database: &str) {
    let tables = client.run(json!([62, [[14, [database]]]])).await;
    for table in tables.as_array().into_iter().flatten() {
        client.run(json!([54, [[15, [[14, [database]], table]]]])).await;
    }
}
