//! A client that knows nothing of the sink's: what is stored is looked at with it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::standin::sign;

/// A connection that is logged in.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    /// Logs in.
    pub(crate) async fn start(address: &str, user: &str, password: &str) -> Client {
        let mut client = Client { stream: TcpStream::connect(address).await.unwrap() };
        client.stream.write_all(&0x34c2_bdc3_u32.to_le_bytes()).await.unwrap();
        assert_eq!(client.hear().await["success"], true);
        let bare = format!("n={user},r=the-client");
        let first = json!({
            "protocol_version": 0, "authentication_method": "SCRAM-SHA-256", "authentication": format!("n,,{bare}"),
        });
        let answer = client.say(&first).await;
        let part = |name: char| {
            let part = answer.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            part.unwrap().to_owned()
        };
        let mut salted = [0; 32];
        let (salt, rounds) = (STANDARD.decode(part('s')).unwrap(), part('i').parse().unwrap());
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, rounds, &mut salted);
        let bare_last = format!("c=biws,r={}", part('r'));
        let key = sign(&salted, b"Client Key");
        let mut proof = sign(&Sha256::digest(&key), format!("{bare},{answer},{bare_last}").as_bytes());
        proof.iter_mut().zip(&key).for_each(|(byte, key)| *byte ^= key);
        let last = format!("{bare_last},p={}", STANDARD.encode(proof));
        client.say(&json!({ "authentication": last })).await;
        client
    }

    /// What a term gives; a sequence as an array.
    pub(crate) async fn run(&mut self, term: Value) -> Value {
        let (kind, mut data) = self.answer(&json!([1, term]).to_string()).await;
        let mut all = Vec::new();
        let mut kind = kind;
        while kind == 3 {
            all.append(&mut data);
            (kind, data) = self.answer("[2]").await;
        }
        all.append(&mut data);
        match kind {
            1 => all.remove(0),
            2 => all.into(),
            _ => panic!("{term}: {all:?}"),
        }
    }

    /// The type of the answer to a query, and its data.
    pub(crate) async fn answer(&mut self, query: &str) -> (u64, Vec<Value>) {
        let mut frame = 7_u64.to_le_bytes().to_vec();
        frame.extend_from_slice(&u32::try_from(query.len()).unwrap().to_le_bytes());
        frame.extend_from_slice(query.as_bytes());
        self.stream.write_all(&frame).await.unwrap();
        assert_eq!(self.stream.read_u64_le().await.unwrap(), 7);
        let length = self.stream.read_u32_le().await.unwrap();
        let mut answer = vec![0; length as usize];
        self.stream.read_exact(&mut answer).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        (answer["t"].as_u64().unwrap(), answer["r"].as_array().unwrap().clone())
    }

    async fn say(&mut self, message: &Value) -> String {
        self.stream.write_all(format!("{message}\0").as_bytes()).await.unwrap();
        let answer = self.hear().await;
        assert_eq!(answer["success"], true, "{answer}");
        answer["authentication"].as_str().unwrap().to_owned()
    }

    async fn hear(&mut self) -> Value {
        let mut message = Vec::new();
        loop {
            match self.stream.read_u8().await.unwrap() {
                0 => return serde_json::from_slice(&message).unwrap(),
                byte => message.push(byte),
            }
        }
    }
}
