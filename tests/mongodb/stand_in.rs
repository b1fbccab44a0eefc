//! A server that answers as it is told, for what the one of the tests cannot be made to say: it speaks as much of
//! MongoDB's wire protocol as a driver's first greeting and its commands take.
//! <https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>

use std::io;
use std::sync::{Arc, Mutex};

use mongodb::bson::{Document, doc, serialize_to_vec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const OP_REPLY: i32 = 1;
const OP_QUERY: i32 = 2004;
const OP_MSG: i32 = 2013;

/// Answers until it is dropped.
pub(crate) struct StandIn {
    pub(crate) url: String,
    /// The commands it was sent, without those by which drivers look at a server.
    asked: Arc<Mutex<Vec<Document>>>,
    task: JoinHandle<()>,
}

impl StandIn {
    /// One that answers `answer` of a command to it, and `ok` where that has nothing to say.
    pub(crate) async fn start(
        answer: impl Fn(&Document) -> Option<Document> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("mongodb://{}", listener.local_addr().unwrap());
        let asked = Arc::default();
        let (told, answer) = (Arc::clone(&asked), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (told, answer) = (Arc::clone(&told), Arc::clone(&answer));
                // Ends with the client.
                tokio::spawn(async move { serve(client, &told, &*answer).await });
            }
        });
        StandIn { url, asked, task }
    }

    /// The commands it was sent so far, with their names, and without what a driver adds.
    pub(crate) fn asked(&self) -> Vec<Document> {
        let own = |key: &String| !key.starts_with('$') && key != "lsid";
        let asked = self.asked.lock().unwrap().clone();
        asked.into_iter().map(|command| command.into_iter().filter(|(key, _)| own(key)).collect()).collect()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut client: TcpStream,
    told: &Mutex<Vec<Document>>,
    answer: &(impl Fn(&Document) -> Option<Document> + Sync),
) -> io::Result<()> {
    loop {
        let length = client.read_i32_le().await? as usize;
        let mut message = vec![0; length - 4];
        client.read_exact(&mut message).await?;
        let int = |at: usize| i32::from_le_bytes(message[at..at + 4].try_into().unwrap());
        let (request, code) = (int(0), int(8));
        let at = match code {
            // Flags, a name with NUL behind it, and two numbers.
            OP_QUERY => 16 + message[16..].iter().position(|byte| *byte == 0).unwrap() + 1 + 8,
            // Flags, and the kind of the section.
            OP_MSG => 12 + 4 + 1,
            code => panic!("a message of type {code}"),
        };
        let command = Document::from_reader(&message[at..]).unwrap();
        let name = command.keys().next().unwrap();
        let is_greeting = ["hello", "ismaster"].contains(&name.to_ascii_lowercase().as_str());
        if !is_greeting {
            told.lock().unwrap().push(command.clone());
        }
        let greeting = doc! {
            "ismaster": true, "isWritablePrimary": true, "helloOk": true, "minWireVersion": 0, "maxWireVersion": 13,
            "maxBsonObjectSize": 16 * 1024 * 1024, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000,
        };
        let mut reply = answer(&command).unwrap_or(if is_greeting {
            greeting
        } else {
            doc! {}
        });
        if !reply.contains_key("ok") {
            reply.insert("ok", 1.0);
        }
        let reply = serialize_to_vec(&reply).unwrap();
        let (code, head) = match code {
            // Flags, a cursor, a start, and that there is one document.
            OP_QUERY => (OP_REPLY, [&[0; 16][..], &[1, 0, 0, 0]].concat()),
            _ => (OP_MSG, vec![0; 5]),
        };
        let mut bytes = Vec::new();
        for part in [(16 + head.len() + reply.len()) as i32, 0, request, code] {
            bytes.extend_from_slice(&part.to_le_bytes());
        }
        bytes.extend(head.into_iter().chain(reply));
        client.write_all(&bytes).await?;
    }
}

/// The answer of a server to a command that it refuses.
pub(crate) fn refusal(code: i32, text: &str) -> Document {
    doc! {"ok": 0.0, "code": code, "codeName": "Told", "errmsg": text}
}
