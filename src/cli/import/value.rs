//! From the value of a setting to that of a key.

use toml::Value;

use super::python::Literal;

/// The Redis of a source of type `celery` or `rq` that names none.
pub(super) const REDIS: &str = "redis://127.0.0.1:6379/0";
/// Where the documentation of Kaneda has its queue.
pub(super) const ZMQ: &str = "tcp://127.0.0.1:5555";
/// The port of Elasticsearch where a URL has none.
const ELASTIC_PORT: &str = ":9200";
/// More is no timeout.
const MAX_TIMEOUT_SECONDS: f64 = 86400.0;

/// What becomes of a setting.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    /// Nothing: it is None or empty.
    Nothing,
    /// This.
    As(Value),
    /// This in the key `connection_url`.
    Url(Value),
    /// This, which means the same; and why it is not the same.
    Changed(Value, String),
    /// The nearest that works, and what has to be done by hand.
    Instead(Value, String),
    /// Nothing, and why it is not missed.
    Left(String),
    /// Nothing, and what to do.
    Wrong(String),
}

/// A text that is not empty, or why it is none.
fn filled(given: &Literal) -> Result<&str, Taken> {
    match given {
        Literal::Text(text) if !text.is_empty() => Ok(text),
        Literal::Text(_) | Literal::None => Err(Taken::Nothing),
        _ => Err(Taken::Wrong("it is no text".to_owned())),
    }
}

pub(super) fn text(given: &Literal) -> Taken {
    filled(given).map_or_else(|other| other, |text| Taken::As(text.into()))
}

/// A text, or a list of them, each changed by `change`.
fn texts(given: &Literal, change: impl Fn(&str) -> String) -> Taken {
    let Literal::List(list) = given else {
        return filled(given).map_or_else(|other| other, |text| Taken::As(change(text).into()));
    };
    let changed: Result<Vec<_>, _> =
        list.iter().map(|one| filled(one).map(|text| change(text).into())).collect();
    match changed {
        Ok(list) if !list.is_empty() => Taken::As(Value::Array(list)),
        Ok(_) => Taken::Nothing,
        Err(_) => Taken::Wrong("it is no list of texts".to_owned()),
    }
}

/// Whether there is a text in it that passes `test`.
fn any(value: &Value, test: impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => test(text),
        Value::Array(list) => list.iter().filter_map(Value::as_str).any(test),
        _ => false,
    }
}

/// Whether it is a URL with a password, or a list with such.
pub(super) fn has_login(value: &Value) -> bool {
    any(value, |text| text.split_once("://").is_some_and(|(_, rest)| rest.contains('@')))
}

/// Whether it is a URL with a path.
pub(super) fn has_path(value: &Value) -> bool {
    any(value, |text| {
        let path = text.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
        path.is_some_and(|(_, path)| !path.trim_matches('/').is_empty())
    })
}

/// The client of Elasticsearch takes `host` for `http://host`, and 9200 where no port is.
fn elastic_url(url: &str) -> String {
    let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let Some(rest) = url.strip_prefix("http://") else { return url };
    let (place, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
    let behind_brackets = host.rsplit_once(']').map_or(host, |(_, port)| port);
    let port = if behind_brackets.contains(':') { "" } else { ELASTIC_PORT };
    format!("http://{place}{port}{path}")
}

pub(super) fn elastic_urls(given: &Literal) -> Taken {
    texts(given, elastic_url)
}

/// A host may be a URL in all but name.
pub(super) fn elastic_hosts(given: &Literal) -> Taken {
    match texts(given, str::to_owned) {
        Taken::As(hosts) if any(&hosts, |host| host.contains("://")) => match elastic_urls(given) {
            Taken::As(urls) => Taken::Url(urls),
            other => other,
        },
        hosts => hosts,
    }
}

/// The same; several in one URL are members of one replica set.
pub(super) fn mongo_hosts(given: &Literal) -> Taken {
    match texts(given, str::to_owned) {
        Taken::As(url) if any(&url, |host| host.contains("://")) => match url {
            Value::String(_) => Taken::Url(url),
            _ => Taken::Wrong(
                "there is a URL in a list: write connection_url with all members in it".to_owned(),
            ),
        },
        hosts => hosts,
    }
}

pub(super) fn influx_url(given: &Literal) -> Taken {
    match text(given) {
        Taken::As(url) if any(&url, |url| url.starts_with("udp+")) => {
            Taken::Wrong("InfluxDB is not written to by UDP: set host and port of its HTTP".to_owned())
        }
        other => other,
    }
}

pub(super) fn port(given: &Literal) -> Taken {
    let number = match given {
        Literal::None => return Taken::Nothing,
        Literal::Int(number) => u16::try_from(*number).ok(),
        Literal::Text(text) => text.parse().ok(),
        _ => None,
    };
    match number {
        Some(1..) => Taken::As(Value::Integer(number.map_or(0, i64::from))),
        _ => Taken::Wrong("it is no port".to_owned()),
    }
}

/// A timeout in units of `millis`. Here an attempt stores a batch, and has `default_seconds` for it.
pub(super) fn timeout(given: &Literal, millis: u32, default_seconds: u32) -> Taken {
    let number = match given {
        Literal::None => return Taken::Nothing,
        Literal::Int(number) => *number as f64,
        Literal::Float(number) => *number,
        _ => return Taken::Wrong("it is no number".to_owned()),
    };
    let seconds = number * f64::from(millis) / 1000.0;
    match seconds {
        _ if seconds <= f64::from(default_seconds) => Taken::Left(format!(
            "in Kaneda one report had so long, and was lost then; here an attempt stores a batch, is made again, and \
             has {default_seconds} s (timeout)"
        )),
        _ if seconds <= MAX_TIMEOUT_SECONDS => Taken::As(format!("{:.0}ms", seconds * 1000.0).into()),
        _ => Taken::Wrong("it is more than a day".to_owned()),
    }
}

/// A Redis or RabbitMQ; of others the nearest.
pub(super) fn broker(given: &Literal) -> Taken {
    if let Literal::List(list) = given {
        return first_broker(list.first().map_or(Taken::Nothing, broker));
    }
    let url = match filled(given) {
        Ok(url) => url,
        Err(other) => return other,
    };
    if let Some((first, _)) = url.split_once(';') {
        return first_broker(broker(&Literal::Text(first.to_owned())));
    }
    let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
    match scheme {
        "redis" if has_word(url, "ssl_") => {
            return Taken::Changed(format!("rediss:{rest}").into(), "Celery speaks TLS with it".to_owned());
        }
        "rediss" if !has_word(url, "ssl_") => {
            let why = "Celery does not look at the certificate of this broker, the daemon does: if it is of an authority of your \
                       own, say `tls = { ca = FILE }`";
            return Taken::Changed(url.into(), why.to_owned());
        }
        "redis" | "rediss" | "amqp" | "amqps" => return Taken::As(url.into()),
        // Clients of Python's for one protocol.
        "pyamqp" | "librabbitmq" => {
            return Taken::Changed(format!("amqp:{rest}").into(), "the same broker".to_owned());
        }
        _ => {}
    }
    let what = "this broker is not known; the nearest is a Redis: name one here, and the same in CELERY_BROKER of the \
                applications, and let Celery's workers run until their queue is empty";
    Taken::Instead(REDIS.into(), what.to_owned())
}

/// Whether a URL says something behind `?` that begins so.
fn has_word(url: &str, word: &str) -> bool {
    url.split_once('?').is_some_and(|(_, query)| query.split('&').any(|said| said.starts_with(word)))
}

/// The Redis of RQ.
pub(super) fn redis_url(given: &Literal) -> Taken {
    let url = match filled(given) {
        Ok(url) => url,
        Err(other) => return other,
    };
    if url.starts_with("redis://") || url.starts_with("rediss://") {
        return Taken::As(url.into());
    }
    let what = "only redis:// and rediss:// are spoken; name a Redis that is reached so here, and the same in RQ_REDIS_URL \
                of the applications, and let RQ's workers run until their queue is empty";
    Taken::Instead(REDIS.into(), what.to_owned())
}

const ONE: &str =
    "only the first of several brokers is taken: for each of the others write a source of its own";

fn first_broker(taken: Taken) -> Taken {
    match taken {
        Taken::As(first) => Taken::Instead(first, ONE.to_owned()),
        Taken::Changed(first, why) => Taken::Instead(first, format!("{why}; {ONE}")),
        other => other,
    }
}

/// Where the applications bind; `*` is no address that can be connected to.
pub(super) fn zmq_url(given: &Literal) -> Taken {
    let url = match filled(given) {
        Ok(url) => url,
        Err(Taken::Nothing) => return Taken::Nothing,
        Err(_) => "",
    };
    let nearest = |why: &str| {
        Taken::Instead(
            ZMQ.into(),
            format!("{why}: set ZMQ_CONNECTION_URL = '{ZMQ}' in the applications as well"),
        )
    };
    match url.strip_prefix("ipc://") {
        Some(path) if path.len() > 1 && path.starts_with(['/', '@']) => return Taken::As(url.into()),
        Some(_) => return nearest("its path depends on where the applications run"),
        None => {}
    }
    let Some(place) = url.strip_prefix("tcp://") else { return nearest("only tcp:// and ipc:// are spoken") };
    match place.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => match host {
            "*" | "0.0.0.0" | "[::]" => Taken::Changed(
                format!("tcp://127.0.0.1:{port}").into(),
                "the applications bind all addresses of their machine; this is the one of the same machine"
                    .to_owned(),
            ),
            _ => Taken::As(url.into()),
        },
        _ => nearest("it has no host or no port"),
    }
}

pub(super) fn object(given: &Literal) -> Taken {
    match given {
        Literal::None => Taken::Nothing,
        _ => Taken::Wrong(
            "it is an object of Python, or names one: say by the keys of this table what that is set to"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Literal {
        Literal::Text(text.to_owned())
    }

    fn taken(text: &str) -> Taken {
        Taken::As(text.into())
    }

    #[test]
    fn a_url_of_elasticsearch_goes_where_its_python_client_went() {
        for (url, same) in [
            ("db", "http://db:9200"),
            ("db:1", "http://db:1"),
            ("http://db", "http://db:9200"),
            ("http://u:p@db/x", "http://u:p@db:9200/x"),
            ("http://u:p@db:1/x", "http://u:p@db:1/x"),
            ("http://[::1]", "http://[::1]:9200"),
            ("https://db", "https://db"),
        ] {
            assert_eq!(elastic_urls(&literal(url)), taken(same));
        }
        let both = Literal::List(vec![literal("a"), literal("https://b")]);
        let urls = Value::Array(vec!["http://a:9200".into(), "https://b".into()]);
        assert_eq!(elastic_hosts(&both), Taken::Url(urls));
        assert_eq!(elastic_hosts(&literal("a")), taken("a"));
    }

    #[test]
    fn a_host_of_mongodb_may_be_a_url() {
        assert_eq!(mongo_hosts(&literal("mongodb://a")), Taken::Url("mongodb://a".into()));
        assert_eq!(mongo_hosts(&literal("a")), taken("a"));
        assert!(matches!(mongo_hosts(&Literal::List(vec![literal("mongodb://a")])), Taken::Wrong(_)));
    }

    #[test]
    fn only_what_is_longer_than_our_timeout_is_taken_over() {
        assert!(matches!(timeout(&Literal::Float(0.3), 1000, 30), Taken::Left(_)));
        assert!(matches!(timeout(&Literal::Int(300), 1, 10), Taken::Left(_)));
        assert_eq!(timeout(&Literal::Float(60.5), 1000, 30), taken("60500ms"));
        assert_eq!(timeout(&Literal::Int(20_000), 1, 10), taken("20000ms"));
        assert_eq!(timeout(&Literal::None, 1, 10), Taken::Nothing);
        assert!(matches!(timeout(&Literal::Float(1e300), 1000, 30), Taken::Wrong(_)));
        assert!(matches!(timeout(&literal("1"), 1000, 30), Taken::Wrong(_)));
    }

    #[test]
    fn a_broker_that_is_neither_redis_nor_rabbitmq_becomes_a_redis_and_says_so() {
        for url in ["redis://a/1", "amqp://guest@a//", "rediss://a?ssl_cert_reqs=none", "amqps://a"] {
            assert_eq!(broker(&literal(url)), taken(url));
        }
        for (url, same) in [
            ("pyamqp://a", "amqp://a"),
            ("redis://a?b=c&ssl_cert_reqs=none", "rediss://a?b=c&ssl_cert_reqs=none"),
            ("rediss://a", "rediss://a"),
        ] {
            assert!(matches!(broker(&literal(url)), Taken::Changed(url, _) if url == same.into()), "{url}");
        }
        for (url, part) in [
            ("sqs://", "not known"),
            ("redis://a/1;redis://b/1", "only the first"),
            ("pyamqp://a;pyamqp://b", "only the first"),
        ] {
            let Taken::Instead(value, why) = broker(&literal(url)) else { panic!("{url}") };
            assert!(
                any(&value, |url| url.starts_with("redis://") || url == "amqp://a") && why.contains(part),
                "{why}"
            );
        }
        let list = Literal::List(vec![literal("redis://a"), literal("redis://b")]);
        assert!(matches!(broker(&list), Taken::Instead(first, _) if first == "redis://a".into()));
    }

    #[test]
    fn zeromq_connects_to_an_address_that_there_is() {
        for url in ["tcp://app:5555", "ipc:///tmp/x", "ipc://@x"] {
            assert_eq!(zmq_url(&literal(url)), taken(url));
        }
        for all in ["*", "0.0.0.0", "[::]"] {
            let taken = zmq_url(&literal(&format!("tcp://{all}:7")));
            assert!(matches!(taken, Taken::Changed(url, _) if url == "tcp://127.0.0.1:7".into()));
        }
        for url in ["ipc://x", "ipc://@", "inproc://x", "tcp://a", "tcp://*:*", "tcp://:1"] {
            assert!(matches!(zmq_url(&literal(url)), Taken::Instead(..)), "{url}");
        }
    }

    #[test]
    fn ports_may_be_texts_and_are_never_zero() {
        assert_eq!(port(&Literal::Int(1)), Taken::As(Value::Integer(1)));
        assert_eq!(port(&literal("9200")), Taken::As(Value::Integer(9200)));
        for wrong in [Literal::Int(0), Literal::Int(65536), literal("x"), Literal::Bool(true)] {
            assert!(matches!(port(&wrong), Taken::Wrong(_)));
        }
    }
}
