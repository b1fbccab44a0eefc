//! `kaneda send` against sockets that answer as told.

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, UnixListener};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(10);

fn lines(lines: &[&str]) -> Vec<Vec<u8>> {
    lines.iter().map(|line| line.as_bytes().to_vec()).collect()
}

/// Takes one connection, reads all of it (of a request: its head and as much as it announces), answers.
async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let mut stream = BufReader::new(stream);
    let mut got = String::new();
    if answer.starts_with("HTTP") {
        let mut length = 0;
        while stream.read_line(&mut got).await.unwrap() > 2 {
            if let Some(value) = got.lines().last().unwrap().strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        got.push_str(std::str::from_utf8(&body).unwrap());
    } else {
        stream.read_to_string(&mut got).await.unwrap();
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    got
}

/// What is sent to `scheme` and what is made of `text`.
async fn exchange(scheme: &str, text: &str) -> (Result<Report, Error>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("{scheme}://{}", listener.local_addr().unwrap()).parse().unwrap();
    let server = async { answer(listener.accept().await.unwrap().0, text).await };
    tokio::join!(async { run(&to, &lines(&["a:1|c", "b"]), TIMEOUT).await }, server)
}

#[test]
fn targets_are_read_from_urls() {
    for (url, expected) in [
        ("udp://127.0.0.1:8125", Target::Udp("127.0.0.1:8125".to_owned())),
        ("tcp://[::1]:8125", Target::Tcp("[::1]:8125".to_owned())),
        ("unix:///run/a.sock", Target::Unix("/run/a.sock".into())),
        ("unixgram:///run/a", Target::Unixgram("/run/a".into())),
        ("http://host:1", Target::Http { authority: "host:1".to_owned(), path: "/ingest".to_owned() }),
        ("http://host/", Target::Http { authority: "host:80".to_owned(), path: "/ingest".to_owned() }),
        ("http://host:1/a/b", Target::Http { authority: "host:1".to_owned(), path: "/a/b".to_owned() }),
    ] {
        assert_eq!(url.parse(), Ok(expected));
    }
    for url in [
        "",
        "127.0.0.1:8125",
        "tcp://host",
        "tcp://:1",
        "tcp://host:x",
        "unix://a",
        "https://host:1",
        "http://",
    ] {
        assert!(url.parse::<Target>().unwrap_err().to_string().contains("unix:///path"), "{url}");
    }
}

#[tokio::test]
async fn a_stream_is_asked_for_a_sync() {
    let (report, got) = exchange("tcp", "pong\nok 1 0\nok 2 1\n").await;
    let report = report.unwrap();
    assert_eq!(got, "a:1|c\nb\n!sync\n");
    assert_eq!((report.to_string().as_str(), report.is_good()), ("ok 3 1", false));
    let (report, _) = exchange("tcp", "ok 2 0\n").await;
    assert!(report.unwrap().is_good());
    let (report, _) = exchange("tcp", "error not stored within 10s\n").await;
    let report = report.unwrap();
    assert_eq!((report.to_string().as_str(), report.is_good()), ("error not stored within 10s", false));
}

#[tokio::test]
async fn what_is_no_kaneda_is_told_apart() {
    assert!(matches!(exchange("tcp", "220 mail.test ESMTP\n").await.0, Err(Error::Stranger(_))));
    assert!(matches!(exchange("tcp", "ok 1\n").await.0, Err(Error::Stranger(_))));
    assert!(matches!(exchange("tcp", "").await.0, Err(Error::Io(_))));
    assert!(matches!(exchange("http", &response("200 OK", "<html>")).await.0, Err(Error::Stranger(_))));
}

fn response(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn http_tells_which_lines_were_refused() {
    let body = r#"{"accepted":1,"rejected":1,"errors":[{"line":2,"code":"no_type","reason":"no type"}]}"#;
    let (report, got) = exchange("http", &response("200 OK", body)).await;
    let report = report.unwrap();
    assert!(got.starts_with("POST /ingest HTTP/1.1\r\n") && got.ends_with("\r\n\r\na:1|c\nb\n"), "{got}");
    assert_eq!((report.to_string().as_str(), report.is_good()), ("ok 1 1\nline 2: no_type: no type", false));
}

#[tokio::test]
async fn http_tells_what_was_taken_but_not_stored_and_what_was_not_taken() {
    let taken = response("202 Accepted", r#"{"accepted":2,"rejected":0,"errors":[],"error":"late"}"#);
    let report = exchange("http", &taken).await.0.unwrap();
    assert_eq!((report.to_string().as_str(), report.is_good()), ("ok 2 0\nerror late", false));
    let refused = response("503 Service Unavailable", r#"{"error":"no room"}"#);
    let report = exchange("http", &refused).await.0.unwrap();
    assert_eq!((report.to_string().as_str(), report.is_good()), ("error no room", false));
}

#[tokio::test]
async fn unix_sockets_are_sent_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stream");
    let listener = UnixListener::bind(&path).unwrap();
    let (target, sent) = (Target::Unix(path), lines(&["a"]));
    let server = async { answer(listener.accept().await.unwrap().0, "ok 1 0\n").await };
    let (report, got) = tokio::join!(run(&target, &sent, TIMEOUT), server);
    assert_eq!((report.unwrap().is_good(), got.as_str()), (true, "a\n!sync\n"));

    let path = folder.path().join("datagram");
    let socket = UnixDatagram::bind(&path).unwrap();
    let report = run(&Target::Unixgram(path), &lines(&["a", "b"]), TIMEOUT).await.unwrap();
    assert_eq!(report, Report::Sent(2));
    let mut buffer = [0; 10];
    let length = socket.recv(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..length], b"a\nb");
}

#[tokio::test]
async fn udp_is_sent_to_in_packed_datagrams_without_an_answer() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = Target::Udp(socket.local_addr().unwrap().to_string());
    let (long, full) = ("x".repeat(2000), "y".repeat(PACKET_BYTES - 2));
    let report = run(&target, &lines(&["a", &full, "b", &long, "c"]), TIMEOUT).await.unwrap();
    assert_eq!(report.to_string(), "sent 5; no answer on this transport");
    let mut buffer = [0; 4096];
    for expected in [format!("a\n{full}"), "b".to_owned(), long, "c".to_owned()] {
        let length = socket.recv(&mut buffer).await.unwrap();
        assert_eq!(std::str::from_utf8(&buffer[..length]).unwrap(), expected);
    }
    let error = run(&target, &[vec![b'z'; 70_000]], TIMEOUT).await.unwrap_err();
    assert!(matches!(error, Error::TooLong(70_000)));
    assert!(error.to_string().starts_with("nothing was sent: "), "{error}");
}

#[tokio::test]
async fn where_nobody_is_nothing_was_sent_and_the_target_is_named() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for target in [
        format!("tcp://{closed}"),
        format!("http://{closed}/ingest"),
        "unix:///nope".to_owned(),
        "unixgram:///nope".to_owned(),
    ] {
        let to: Target = target.parse().unwrap();
        assert_eq!(to.to_string(), target);
        let error = run(&to, &lines(&["a"]), TIMEOUT).await.unwrap_err();
        assert!(error.to_string().starts_with("nothing was sent: "), "{target}: {error}");
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_a_strangers() {
    let endless = "x".repeat(5000);
    let error = exchange("tcp", &endless).await.0.unwrap_err();
    assert!(matches!(&error, Error::Stranger(said) if said.len() == 100), "{error}");
}

#[test]
fn what_is_no_utf8_is_sent_as_it_is() {
    assert_eq!(read(&b"\xff:1|c\n\nb:1|c"[..]).unwrap(), [b"\xff:1|c".to_vec(), vec![], b"b:1|c".to_vec()]);
    assert!(read(io::empty()).unwrap().is_empty());
    let error = read(io::repeat(b'x')).unwrap_err();
    assert!(error.to_string().contains("send it in parts"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_does_not_answer_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::Tcp(listener.local_addr().unwrap().to_string());
    let error = run(&target, &lines(&["a"]), TIMEOUT).await.unwrap_err();
    assert_eq!(error.to_string(), "nothing is known of the lines: no answer within 10 seconds");
    drop(listener);
    assert!(matches!(run(&target, &lines(&["a"]), TIMEOUT).await, Err(Error::Nobody(_))));
}
