//! Several servers, redirects, and what a server behind TLS asks for.

use std::sync::Arc;
use std::time::Duration;

use kaneda::sink::Outcome;
use kaneda::sink::address::List;
use kaneda::sink::elasticsearch::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::proxy::{Fault, Proxy};
use crate::report::{batch, last_error, store};
use crate::server::{Server, Version};

crate::tests! {
    each_way_to_log_in_reaches_the_server
    of_several_servers_a_dead_one_is_left_out_and_tried_again
    a_server_that_sends_us_elsewhere_is_not_believed
    the_path_of_a_url_is_kept
}

/// The heads of the requests that a server gets, which answers all of them with an error.
async fn recording() -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = vec![0; 64 * 1024];
            let length = client.read(&mut request).await.unwrap_or(0);
            let _ = tell.send(String::from_utf8_lossy(&request[..length]).into_owned());
            let _ =
                client.write_all(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        }
    });
    (url, told)
}

/// The build that the tests run keeps no API keys: that they are sent is all that can be seen.
async fn each_way_to_log_in_reaches_the_server(server: Arc<Server>) {
    let (url, mut told) = recording().await;
    for (keys, header) in [
        ("user = \"u\"\npassword = \"p\"", "authorization: Basic dTpw\r\n"),
        ("api_key = \"id:key\"", "authorization: ApiKey aWQ6a2V5\r\n"),
        ("token = \"t\"", "authorization: Bearer t\r\n"),
    ] {
        let mut config: Config = toml::from_str(keys).unwrap();
        config.connection_url = Some(List::One(url.as_str().into()));
        config.index_name = server.place("login").index;
        config.template = false;
        let _ = config.build("s").unwrap().probe().await;
        let head = told.recv().await.unwrap();
        assert!(head.contains(header), "{head}");
        assert!(head.contains("content-type: application/x-ndjson\r\n"), "{head}");
        assert!(head.contains("accept-encoding: identity\r\n") && !head.contains("elastic-client"), "{head}");
        assert!(head.contains("user-agent: kaneda/"), "{head}");
    }
}

async fn of_several_servers_a_dead_one_is_left_out_and_tried_again(server: Arc<Server>) {
    let place = server.place("several");
    store(&*place.sink(), "n:1|c\n").await;
    let proxy = Proxy::before(&server.url).await;
    let mut config = place.config();
    config.connection_url = Some(List::Many(vec![proxy.url.as_str().into(), server.url.as_str().into()]));
    config.timeout = "5s".parse().unwrap();
    let sink = config.build("s").unwrap();
    store(&*sink, "n:1|c\n").await;
    proxy.set(Fault::Hang).await;
    assert!(last_error(&*sink, "n:1|c\n").await.contains(&proxy.url));
    // The other one takes it; were the first asked again, this would take its `timeout`.
    assert_eq!(sink.send(batch("n:1|c\n")).await, Outcome::Delivered);
    assert!(sink.probe().await.unwrap_err().contains(&proxy.url), "a check looks at all of them");
    proxy.set(Fault::Answer { to: "_bulk", status: 503, body: "" }).await;
    // It answers again, if not well: that it is asked shows in the error.
    tokio::time::timeout(Duration::from_secs(20), async {
        while sink.send(batch("n:1|c\n")).await == Outcome::Delivered {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the first is tried again");
}

/// A server that answers each request with a redirect to `target`.
async fn redirecting(status: &'static str, target: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = format!(
        "HTTP/1.1 {status}\r\nLocation: {target}/_bulk\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = vec![0; 64 * 1024];
            let _ = client.read(&mut request).await;
            let _ = client.write_all(answer.as_bytes()).await;
        }
    });
    url
}

async fn a_server_that_sends_us_elsewhere_is_not_believed(server: Arc<Server>) {
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let place = server.place("redirect");
        let mut config = place.config();
        config.connection_url = Some(List::One(redirecting(status, &server.url).await.as_str().into()));
        config.template = false;
        let sink = config.build("s").unwrap();
        let why = last_error(&*sink, "n:1|c\n").await;
        assert!(why.contains("sends us to") && why.contains("`connection_url`"), "{status}: {why}");
    }
}

async fn the_path_of_a_url_is_kept(server: Arc<Server>) {
    let place = server.place("path");
    let mut config = place.config();
    // The server knows no such path: that it was asked for it shows in what the sink says.
    config.connection_url = Some(List::One(format!("{}/a/b/c/", server.url).as_str().into()));
    config.template = false;
    let why = last_error(&*config.build("s").unwrap(), "n:1|c\n").await;
    assert!(why.contains("mend `connection_url`"), "{why}");
}

/// Everything that a server with a login and TLS asks for. It has a server of its own.
pub(crate) fn a_secured_server_is_written_to(version: &Version) {
    let server = Server::start(version, true);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let file = |name: &str| format!("{}/{name}", server.folder);
        let config = |password: &str, tls: &str| -> Config {
            let text = format!(
                "connection_url = {:?}\nuser = \"elastic\"\npassword = {password:?}\nindex_name = \"secured\"\ntls = {tls}",
                server.url
            );
            toml::from_str(&text).unwrap()
        };
        let ours = format!("certificate = {:?}, key = {:?}", file("client.pem"), file("client.key"));
        let whole = format!("{{ ca = {:?}, {ours} }}", file("ca.pem"));
        let error = async |config: Config| config.build("s").unwrap().probe().await.unwrap_err();

        let sink = config("hush-hush", &whole).build("s").unwrap();
        sink.probe().await.unwrap();
        store(&*sink, "n:1|c\nn:2|c|i:x\n").await;
        let unverified = config("hush-hush", &format!("{{ verify = false, {ours} }}"));
        store(&*unverified.build("s").unwrap(), "n:1|c\n").await;

        let why = error(config("guess-1234", &whole)).await;
        assert!(why.contains("`password`") && !why.contains("guess-1234"), "{why}");
        let why = error(config("hush-hush", &format!("{{ {ours} }}"))).await;
        assert!(why.contains("no connection: invalid peer certificate"), "{why}");
        // It asks for a certificate of ours.
        let why = error(config("hush-hush", &format!("{{ ca = {:?} }}", file("ca.pem")))).await;
        assert!(why.contains("no connection"), "{why}");

        for (user, may) in [("writer", true), ("reader", false)] {
            let mut config = config("hush-hush", &whole);
            config.user = Some(user.to_owned());
            let sink = config.build("s").unwrap();
            let probed = sink.probe().await;
            assert_eq!(probed.is_ok(), may, "{user}: {probed:?}");
            if may {
                store(&*sink, "n:1|c\nn:{\"new\":1}|k|i:y\n").await;
            } else {
                assert!(probed.unwrap_err().contains("the right to write"));
                assert!(last_error(&*sink, "n:1|c\n").await.contains("the right to write"));
            }
        }
        let mut by_token = config("", &whole);
        (by_token.user, by_token.password) = (None, None);
        by_token.token_file = Some(file("token").into());
        by_token.index_name = "metrics-kaneda-test".to_owned();
        // Its owner may create documents there, and nothing else.
        by_token.template = false;
        store(&*by_token.build("s").unwrap(), "n:1|c\n").await;
        by_token.template = true;
        let why = last_error(&*by_token.build("s").unwrap(), "n:1|c\n").await;
        assert!(why.contains("`template = false`"), "{why}");
    });
}
