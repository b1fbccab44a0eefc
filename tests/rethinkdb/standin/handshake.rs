//! Logging in: the handshake of V1_0. After "Writing drivers"; codes and texts are those of `client_protocol/server.cc`
//! and `clustering/administration/auth/scram_authenticator.cc`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Store;
use super::store::ROUNDS;

const MAGIC: u32 = 0x34c2_bdc3;
/// Bytes of a message with its NUL, which the real server does not reach either.
const MESSAGE_BYTES: usize = 2048;
const SALT: &[u8] = b"salt of stand-in";

/// What is wrong, by the server's own number.
type Refusal = (u32, &'static str);

/// The user who has logged in. None: he has been told why not.
pub(crate) async fn log_in(
    stream: &mut TcpStream,
    store: &Arc<Mutex<Store>>,
) -> std::io::Result<Option<String>> {
    if stream.read_u32_le().await? != MAGIC {
        let text = "ERROR: Received an unsupported protocol version. This port is for RethinkDB queries. Does your \
                    client driver version not match the server?\n\0";
        stream.write_all(text.as_bytes()).await?;
        return Ok(None);
    }
    let greeting = json!({
        "success": true, "min_protocol_version": 0, "max_protocol_version": 0, "server_version": "2.4.4-stand-in",
    });
    say(stream, greeting).await?;
    match scram(stream, store).await? {
        Ok(user) => Ok(Some(user)),
        Err((code, text)) => {
            say(stream, json!({ "success": false, "error": text, "error_code": code })).await?;
            Ok(None)
        }
    }
}

async fn scram(
    stream: &mut TcpStream,
    store: &Arc<Mutex<Store>>,
) -> std::io::Result<Result<String, Refusal>> {
    macro_rules! or_refuse {
        ($result:expr) => {
            match $result {
                Ok(value) => value,
                Err(refusal) => return Ok(Err(refusal)),
            }
        };
    }
    let message = or_refuse!(hear(stream).await?);
    let (bare, user, client_nonce) = or_refuse!(first(&message));
    let password = store.lock().expect("no test has failed in it").password(&user);

    let mut nonce = [0; 18];
    getrandom::fill(&mut nonce).expect("random numbers");
    let nonce = format!("{client_nonce}{}", STANDARD.encode(nonce));
    let server_first = format!("r={nonce},s={},i={ROUNDS}", STANDARD.encode(SALT));
    say(stream, json!({ "success": true, "authentication": server_first })).await?;

    let message = or_refuse!(hear(stream).await?);
    let message = or_refuse!(text(&message, "authentication", 5));
    let Some(password) = password else { return Ok(Err((17, "Unknown user"))) };
    let (without_proof, _) = message.rsplit_once(",p=").unwrap_or((message, ""));
    let transcript = format!("{bare},{server_first},{without_proof}");
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), SALT, ROUNDS, &mut salted);
    let key = sign(&salted, b"Client Key");
    let mut proof = sign(&Sha256::digest(&key), transcript.as_bytes());
    proof.iter_mut().zip(&key).for_each(|(byte, key)| *byte ^= key);

    let attributes = or_refuse!(attributes(message));
    for (name, value) in &attributes {
        match *name {
            'c' if *value == "biws" => {}
            'r' if *value == nonce => {}
            'r' => return Ok(Err((20, "Other error"))),
            'p' if *value == STANDARD.encode(&proof) => {}
            'p' => return Ok(Err((12, "Wrong password"))),
            'm' => return Ok(Err((11, "Extensions not supported"))),
            _ => return Ok(Err((10, "Invalid encoding"))),
        }
    }
    if attributes.len() != 3 {
        return Ok(Err((10, "Invalid encoding")));
    }
    let signature = sign(&sign(&salted, b"Server Key"), transcript.as_bytes());
    let last = format!("v={}", STANDARD.encode(signature));
    say(stream, json!({ "success": true, "authentication": last })).await?;
    Ok(Ok(user))
}

/// The client's first message: what is signed of it, the user and the nonce.
fn first(message: &Value) -> Result<(String, String, String), Refusal> {
    match &message["protocol_version"] {
        Value::Number(version) if version.as_f64() == Some(0.0) => {}
        Value::Number(_) => return Err((2, "Unsupported `protocol_version`.")),
        _ => return Err((1, "Expected a number for `protocol_version`.")),
    }
    match message["authentication_method"].as_str() {
        Some("SCRAM-SHA-256") => {}
        Some(_) => return Err((4, "Unsupported `authentication_method`.")),
        None => return Err((3, "Expected a string for `authentication_method`.")),
    }
    let first = text(message, "authentication", 5)?;
    let rest = first.strip_prefix("n,").ok_or((15, "Channel binding is not supported"))?;
    let (_, bare) = rest.split_once(',').ok_or((10, "Invalid encoding"))?;
    let attributes = attributes(bare)?;
    if attributes.contains_key(&'m') {
        return Err((11, "Extensions not supported"));
    }
    match (attributes.get(&'n'), attributes.get(&'r'), attributes.len()) {
        (Some(user), Some(nonce), 2) => Ok((bare.to_owned(), unescaped(user)?, (*nonce).to_owned())),
        _ => Err((10, "Invalid encoding")),
    }
}

fn unescaped(user: &str) -> Result<String, Refusal> {
    let escapes = user.matches("=2C").count() + user.matches("=3D").count();
    if user.matches('=').count() != escapes {
        return Err((18, "Invalid username encoding"));
    }
    Ok(user.replace("=2C", ",").replace("=3D", "="))
}

fn attributes(message: &str) -> Result<BTreeMap<char, &str>, Refusal> {
    let invalid = (10, "Invalid encoding");
    let mut attributes = BTreeMap::new();
    for attribute in message.split(',') {
        let (name, value) = attribute.split_once('=').ok_or(invalid)?;
        let mut letters = name.chars();
        let (Some(letter), None) = (letters.next(), letters.next()) else { return Err(invalid) };
        if attributes.insert(letter, value).is_some() {
            return Err(invalid);
        }
    }
    Ok(attributes)
}

fn text<'a>(message: &'a Value, member: &str, code: u32) -> Result<&'a str, Refusal> {
    message[member].as_str().ok_or((code, "Expected a string for `authentication`."))
}

/// A message of the client.
async fn hear(stream: &mut TcpStream) -> std::io::Result<Result<Value, Refusal>> {
    let mut message = Vec::new();
    loop {
        match stream.read_u8().await? {
            0 => break,
            byte => message.push(byte),
        }
        if message.len() + 1 == MESSAGE_BYTES {
            return Ok(Err((7, "Limited read buffer size.")));
        }
    }
    Ok(serde_json::from_slice(&message).map_err(|_| (8, "Invalid JSON object.")))
}

async fn say(stream: &mut TcpStream, message: Value) -> std::io::Result<()> {
    stream.write_all(format!("{message}\0").as_bytes()).await
}

/// HMAC-SHA-256.
pub(crate) fn sign(key: &[u8], message: &[u8]) -> Vec<u8> {
    let hmac = Hmac::<Sha256>::new_from_slice(key).expect("any length will do");
    hmac.chain_update(message).finalize().into_bytes().to_vec()
}
