//! `/ingest` over real sockets, with an intake that keeps what it was given.

use std::io::Read;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::bufread::{GzEncoder, ZlibEncoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::source::{BodyTaken, Counters, LineError};

/// A body with its key and whether the peer was known.
type Got = (String, Option<String>, Option<IpAddr>);

/// Keeps bodies; the text of a body says what becomes of it. It answers when `gate` lets it.
#[derive(Clone)]
struct Fake {
    got: Arc<Mutex<Vec<Got>>>,
    gate: Arc<Semaphore>,
}

impl Bodies for Fake {
    async fn body(
        &self,
        body: Vec<u8>,
        key: Option<Vec<u8>>,
        peer: Option<IpAddr>,
    ) -> Result<BodyTaken, BodyRefused> {
        drop(self.gate.acquire().await);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (body, key) = (text(body), key.map(text));
        let mut taken = BodyTaken { accepted: 1, rejected: 0, errors: Vec::new(), error: None };
        match body.as_str() {
            "no room" => return Err(BodyRefused::NoRoom),
            "stopping" => return Err(BodyRefused::Stopping),
            "too many" => return Err(BodyRefused::TooManyRecords),
            "late" => taken.error = Some("not stored within 10s".to_owned()),
            "bad" => {
                taken.rejected = 1;
                taken.errors.push(LineError { line: 2, code: "no_type", reason: "no type".to_owned() });
            }
            "panic" => panic!("an intake's mistake"),
            _ => {}
        }
        self.got.lock().unwrap().push((body, key, peer));
        Ok(taken)
    }
}

struct Server {
    address: SocketAddr,
    fake: Fake,
    context: Context,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(config: Config) -> Self {
        let config = Config { listen: Some("127.0.0.1:0".to_owned()), ..config };
        let listener = bind(&config).unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        let context = Context { stop: CancellationToken::new(), counters: Arc::new(Counters::default()) };
        let fake = Fake { got: Arc::default(), gate: Arc::new(Semaphore::new(1 << 16)) };
        let router = router(&config, address, fake.clone(), context.clone()).unwrap();
        let task = tokio::spawn(serve(listener, router, context.clone(), config.limits()));
        Server { address, fake, context, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One request on a connection of its own; the answer whole.
    async fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.write_all(request.as_ref()).await.unwrap();
        read(&mut client).await
    }

    fn got(&self) -> Vec<String> {
        self.fake.got.lock().unwrap().iter().map(|(body, ..)| body.clone()).collect()
    }
}

/// All until the server closes.
async fn read(client: &mut TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

fn config() -> Config {
    Config { max_body: Size::from_kib(64), ..Config::default() }
}

/// The bytes of a POST; each of `headers` ends with CRLF.
fn post(headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    let head = format!(
        "POST /ingest HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    GzEncoder::new(body, Compression::best()).read_to_end(&mut packed).unwrap();
    packed
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    ZlibEncoder::new(body, Compression::best()).read_to_end(&mut packed).unwrap();
    packed
}

#[tokio::test]
async fn bodies_are_taken_as_they_are_or_inflated() {
    let server = Server::start(config()).await;
    let two_members = [gzip(b"a\n"), gzip(b"b\n")].concat();
    let longest = "x".repeat(64 * 1024);
    let chunked = "POST /ingest HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                   1\r\na\r\n3\r\nbcd\r\n0\r\n\r\n";
    for (request, expected) in [
        (post("", "a:1|c\n"), "a:1|c\n"),
        (post("", ""), ""),
        (post("", &longest), &longest),
        (chunked.as_bytes().to_vec(), "abcd"),
        (post("Content-Encoding: identity\r\n", "a"), "a"),
        (post("Content-Encoding: gzip\r\n", gzip(b"a:1|c\n")), "a:1|c\n"),
        (post("Content-Encoding: GZIP\r\n", two_members), "a\nb\n"),
        (post("Content-Encoding: gzip\r\n", gzip(longest.as_bytes())), &longest),
        (post("Content-Encoding: deflate\r\n", deflate(b"a:1|c\n")), "a:1|c\n"),
    ] {
        let answer = server.ask(request).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n{\"accepted\":1,\"rejected\":0,\"errors\":[]}"), "{answer}");
        assert_eq!(server.fake.got.lock().unwrap().pop().unwrap().0, expected);
    }
    assert_eq!(server.context.counters.datagrams.get(), 9);
}

#[tokio::test]
async fn what_became_of_a_body_is_answered() {
    let server = Server::start(config()).await;
    for (body, expected, answer) in [
        ("late", 202, r#"{"accepted":1,"rejected":0,"errors":[],"error":"not stored within 10s"}"#),
        (
            "bad",
            200,
            r#"{"accepted":1,"rejected":1,"errors":[{"line":2,"code":"no_type","reason":"no type"}]}"#,
        ),
        (
            "no room",
            503,
            r#"{"error":"no room in the journal or a sink: send it again later, and see /ready"}"#,
        ),
        ("stopping", 503, r#"{"error":"the daemon is stopping: send it again later"}"#),
        (
            "too many",
            413,
            r#"{"error":"the records of the body take more than 2 MiB of memory (48 bytes each, and the body): send it in parts"}"#,
        ),
        ("panic", 500, r#"{"error":"internal error: see the daemon's log"}"#),
    ] {
        let got = server.ask(post("", body)).await;
        assert!(got.starts_with(&format!("HTTP/1.1 {expected} ")) && got.ends_with(answer), "{got}");
        assert_eq!(got.contains("retry-after: 1\r\n"), expected == 503, "{got}");
    }
}

#[tokio::test]
async fn what_is_refused_is_told_what_to_do_and_nothing_of_it_is_taken() {
    let server = Server::start(Config { token: Some(Secret::from("hunter2")), ..config() }).await;
    let token = "Authorization: Bearer hunter2\r\n";
    let with = |headers: &str, body: &[u8]| post(&format!("{token}{headers}"), body);
    let over = "x".repeat(64 * 1024 + 1);
    let chunked = format!(
        "POST /ingest HTTP/1.1\r\nHost: localhost\r\n{token}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         10001\r\n{over}\r\n0\r\n\r\n"
    );
    let gzipped = gzip(b"some lines of text");
    let deflated = deflate(b"some lines of text");
    let long_key = "k".repeat(256);
    let announced =
        format!("POST /ingest HTTP/1.1\r\nHost: localhost\r\n{token}Content-Length: 65537\r\n\r\n");
    let bomb = gzip(&vec![0; 50 << 20]);
    assert!(bomb.len() < 64 * 1024);
    for (request, status, what) in [
        (post("", "x"), 401, "the token"),
        (post("Authorization: Bearer hunter3\r\n", "x"), 401, "the token"),
        (with("Origin: http://evil.test\r\n", b"x"), 403, "`allowed_origins`"),
        (
            b"POST /ingest HTTP/1.0\r\nHost: evil.test\r\nContent-Length: 1\r\n\r\nx".to_vec(),
            403,
            "`allowed_hosts`",
        ),
        (announced.into_bytes(), 413, "65536 bytes"),
        (chunked.into_bytes(), 413, "`max_body`"),
        (with("Content-Encoding: gzip\r\n", &gzip(over.as_bytes())), 413, "inflated"),
        (with("Content-Encoding: deflate\r\n", &deflate(over.as_bytes())), 413, "inflated"),
        (with("Content-Encoding: gzip\r\n", &bomb), 413, "inflated"),
        (with("Content-Encoding: br\r\n", b"x"), 415, "gzip or deflate"),
        (with("Content-Encoding: gzip, gzip\r\n", &gzip(&gzipped)), 415, "gzip or deflate"),
        (with("Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", &gzipped), 415, "gzip or deflate"),
        (with("Content-Encoding: gzip\r\n", b"x"), 400, "Content-Encoding"),
        (with("Content-Encoding: gzip\r\n", &gzipped[..gzipped.len() - 1]), 400, "Content-Encoding"),
        (with("Content-Encoding: gzip\r\n", &[&gzipped[..], b"x"].concat()), 400, "Content-Encoding"),
        (with("Content-Encoding: deflate\r\n", &deflated[..deflated.len() - 1]), 400, "Content-Encoding"),
        (with("Content-Encoding: deflate\r\n", &[&deflated[..], b"x"].concat()), 400, "Content-Encoding"),
        (with("Idempotency-Key: \r\n", b"x"), 400, "Idempotency-Key"),
        (with("Idempotency-Key: a\r\nIdempotency-Key: b\r\n", b"x"), 400, "Idempotency-Key"),
        (with(&format!("Idempotency-Key: {long_key}\r\n"), b"x"), 400, "Idempotency-Key"),
        (b"GET /ingest HTTP/1.0\r\n\r\n".to_vec(), 405, "POST"),
    ] {
        let answer = server.ask(request).await;
        assert!(
            answer.starts_with("HTTP/1.") && answer[8..].starts_with(&format!(" {status} ")),
            "{what}: {answer}"
        );
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-type: application/json"), "{answer}");
        assert!(body.starts_with(r#"{"error":""#) && body.contains(what), "{answer}");
        assert!(!answer.contains("hunter2"));
    }
    assert!(server.got().is_empty());
}

#[tokio::test]
async fn a_browser_that_asks_beforehand_is_given_no_permission() {
    let server = Server::start(config()).await;
    let answer = server
        .ask(
            "OPTIONS /ingest HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.test\r\nConnection: close\r\n\
              Access-Control-Request-Method: POST\r\n\r\n",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: POST\r\n"), "{answer}");
    assert!(!answer.to_lowercase().contains("access-control"), "{answer}");
}

#[tokio::test]
async fn the_key_and_the_peer_are_passed_on() {
    let server = Server::start(config()).await;
    let key = "k".repeat(255);
    server.ask(post(&format!("Idempotency-Key: {key}\r\n"), "a")).await;
    let loopback = IpAddr::from([127, 0, 0, 1]);
    assert_eq!(*server.fake.got.lock().unwrap(), [("a".to_owned(), Some(key), Some(loopback))]);
}

#[tokio::test]
async fn more_requests_than_may_be_in_work_are_sent_away_and_one_that_was_left_is_taken() {
    let server = Server::start(Config { max_requests: 1, ..config() }).await;
    server.fake.gate.forget_permits(usize::MAX);
    let mut first = server.connect().await;
    first.write_all(&post("", "first")).await.unwrap();
    loop {
        let answer = server.ask(post("", "second")).await;
        if answer.starts_with("HTTP/1.1 429 ") {
            assert!(answer.contains("retry-after: 1\r\n") && answer.contains("`max_requests`"), "{answer}");
            break;
        }
    }
    // The client goes away; what it has sent is taken all the same.
    drop(first);
    server.fake.gate.add_permits(1);
    while !server.ask(post("", "third")).await.starts_with("HTTP/1.1 200 ") {}
    assert_eq!(server.got(), ["first", "third"]);
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_is_not_waited_for() {
    let server =
        Server::start(Config { receive_timeout: crate::unit::Duration::from_millis(500), ..config() }).await;
    for (part, answer) in [
        ("", ""),
        ("POST /ingest HTTP/1.1\r\nHost: loc", ""),
        ("POST /ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf", "HTTP/1.1 408 "),
    ] {
        let got = tokio::time::timeout(Duration::from_secs(10), server.ask(part)).await.unwrap();
        assert!(got.starts_with(answer) && (got.is_empty() || !answer.is_empty()), "{part}: {got}");
    }
    assert!(server.got().is_empty());
}

#[tokio::test]
async fn a_stop_answers_what_is_in_work_and_refuses_what_is_not_whole() {
    let server = Server::start(config()).await;
    server.fake.gate.forget_permits(usize::MAX);
    let (mut whole, mut half, mut idle) =
        (server.connect().await, server.connect().await, server.connect().await);
    whole.write_all(&post("", "whole")).await.unwrap();
    let head = "POST /ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf";
    half.write_all(head.as_bytes()).await.unwrap();
    let start = Instant::now();
    while server.context.counters.datagrams.get() < 2 || server.context.counters.connections.get() < 3 {
        tokio::task::yield_now().await;
    }
    server.context.stop.cancel();
    assert!(read(&mut half).await.starts_with("HTTP/1.1 503 "));
    assert_eq!(read(&mut idle).await, "");
    server.fake.gate.add_permits(1);
    assert!(read(&mut whole).await.starts_with("HTTP/1.1 200 "));
    server.task.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(3), "nothing is waited for in vain");
    assert_eq!(server.fake.got.lock().unwrap().len(), 1);
    assert_eq!(server.context.counters.connections.get(), 0);
}

#[tokio::test]
async fn whoever_only_connects_keeps_nobody_out() {
    let server = Server::start(Config { max_connections: 2, ..config() }).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    first.write_all(b"POST /ing").await.unwrap();
    let answer = server.ask(post("", "a:1|c")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Closed with something unread, or not.
    let closed = first.read_u8().await.unwrap_err().kind();
    assert!(matches!(closed, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset), "{closed}");
    second.write_all(&post("", "b:1|c")).await.unwrap();
    assert!(read(&mut second).await.starts_with("HTTP/1.1 200 "));
    let counters = &server.context.counters;
    assert_eq!((counters.idle_closed.get(), counters.connections_refused.get()), (1, 0));
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_counted() {
    let server = Server::start(Config { max_connections: 1, ..config() }).await;
    server.fake.gate.forget_permits(usize::MAX);
    let mut first = server.connect().await;
    first.write_all(&post("", "in work")).await.unwrap();
    while server.context.counters.datagrams.get() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(read(&mut server.connect().await).await, "");
    let counters = &server.context.counters;
    assert_eq!((counters.idle_closed.get(), counters.connections_refused.get()), (0, 1));
    server.fake.gate.add_permits(1);
    assert!(read(&mut first).await.starts_with("HTTP/1.1 200 "));
}

#[test]
fn every_key_is_read_and_an_unknown_one_refused() {
    let text = "listen = \"[::1]:1\"\ndialect = \"statsd\"\nhostname = \"peer\"\nmax_body = \"2MiB\"\nmax_requests = 3\n\
                max_connections = 4\nreceive_timeout = \"5s\"\nallowed_hosts = [\"a\"]\n\
                allowed_origins = [\"http://b\"]\ntoken = \"c\"\ntoken_file = \"/d\"";
    let read: Config = toml::from_str(text).unwrap();
    let expected = Config {
        listen: Some("[::1]:1".to_owned()),
        dialect: Dialect::Statsd,
        hostname: Some("peer".to_owned()),
        max_body: Size::from_mib(2),
        max_requests: 3,
        max_connections: 4,
        receive_timeout: crate::unit::Duration::from_secs(5),
        allowed_hosts: vec!["a".to_owned()],
        allowed_origins: vec!["http://b".to_owned()],
        token: Some(Secret::from("c")),
        token_file: Some("/d".into()),
    };
    assert_eq!(read, expected);
    assert!(toml::from_str::<Config>("max_size = 1").is_err());
}

#[test]
fn values_that_make_no_sense_are_refused_by_their_key() {
    for text in [
        "max_body = \"0B\"",
        "max_body = \"1GiB\"",
        "max_requests = 0",
        "max_connections = 0",
        "receive_timeout = \"0s\"",
        "token = \"\"",
        "token = \"a\"\ntoken_file = \"b\"",
        "token_file = \"/nowhere\"",
    ] {
        let config: Config = toml::from_str(text).unwrap();
        let error = config.check().err().or_else(|| Some(config.token().err()?.to_string())).expect(text);
        assert!(error.starts_with(text.split(' ').next().unwrap()), "{error}");
    }
}

#[test]
fn a_token_is_read_from_its_file_and_not_printed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = Config { token_file: Some(file.path().into()), ..Config::default() };
    assert!(config.token().unwrap_err().to_string().contains("is empty"));
    std::fs::write(file.path(), "hunter2\n").unwrap();
    assert_eq!(&*config.token().unwrap().unwrap(), "hunter2");
    let config = Config { token: Some(Secret::from("hunter2")), ..Config::default() };
    assert!(!format!("{config:?}").contains("hunter2"));
}
