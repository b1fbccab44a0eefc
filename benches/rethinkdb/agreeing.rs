//! A server that agrees to everything, and tells of the inserts it was asked for.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::load::Result;
use crate::standin;

/// Who is told of the inserts: queries with their heads, as they came.
pub(crate) type Told = mpsc::UnboundedSender<Vec<u8>>;

/// Serves for ever.
pub(crate) async fn serve(listener: TcpListener, told: Option<Told>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let told = told.clone();
        tokio::spawn(async move { agree(stream, told).await.map_err(|error| error.to_string()) });
    }
}

async fn agree(mut stream: TcpStream, told: Option<Told>) -> Result<()> {
    stream.set_nodelay(true)?;
    let store = Arc::new(Mutex::new(standin::Store::new("")));
    standin::log_in(&mut stream, &store).await?;
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::with_capacity(1 << 16, reader);
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
