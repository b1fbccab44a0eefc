//! What a Redis is told, by one that a test answers for.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::join;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::secret::Secret;

/// A connection of the broker's, as the Redis has it.
struct Client(BufStream<TcpStream>);

impl Client {
    async fn accept(listener: &TcpListener) -> Client {
        Client(BufStream::new(listener.accept().await.unwrap().0))
    }

    async fn number(&mut self) -> usize {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.trim_end()[1..].parse().unwrap()
    }

    /// The words of the next command; those of its greeting are answered.
    async fn next(&mut self) -> Vec<String> {
        loop {
            let mut words = Vec::new();
            for _ in 0..self.number().await {
                let mut word = vec![0; self.number().await + 2];
                self.0.read_exact(&mut word).await.unwrap();
                word.truncate(word.len() - 2);
                words.push(String::from_utf8(word).unwrap());
            }
            if words[0] != "CLIENT" {
                return words;
            }
            self.answer("+OK\r\n").await;
        }
    }

    async fn answer(&mut self, answer: &str) {
        self.0.write_all(answer.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Which messages the next command takes: the first, and how many at most.
    async fn takes(&mut self) -> (u64, usize) {
        let words = self.next().await;
        assert_eq!((&*words[0], &*words[2]), ("EVALSHA", "6"), "{words:?}");
        (words[13].parse().unwrap(), words[9].parse().unwrap())
    }

    /// Which messages the next command says are worked on still.
    async fn hears_of(&mut self) -> Vec<u64> {
        let words = self.next().await;
        assert_eq!(words[..3], ["ZADD", "unacked_index", "XX"]);
        self.answer(":0\r\n").await;
        numbers(words[4..].iter().step_by(2))
    }

    /// Which messages the next commands give back, in that order.
    async fn gets_back(&mut self) -> Vec<u64> {
        let words = self.next().await;
        assert_eq!(words[..2], ["HMGET", "unacked"]);
        let asked = words[2..].to_vec();
        self.answer(&texts(asked.len(), r#"["m", "", "celery"]"#)).await;
        let words = self.next().await;
        assert_eq!((&*words[0], &*words[2], &*words[6]), ("EVALSHA", "3", "RPUSH"), "{words:?}");
        assert_eq!(words[7..].iter().step_by(2).collect::<Vec<_>>(), asked.iter().collect::<Vec<_>>());
        self.answer(&format!(":{}\r\n", asked.len())).await;
        numbers(&asked)
    }
}

/// Of tags.
fn numbers<'t>(tags: impl IntoIterator<Item = &'t String>) -> Vec<u64> {
    tags.into_iter().map(|tag| tag.rsplit('-').next().unwrap().parse().unwrap()).collect()
}

/// An answer of so many times the same.
fn texts(count: usize, text: &str) -> String {
    format!("*{count}\r\n{}", format!("${}\r\n{text}\r\n", text.len()).repeat(count))
}

async fn start() -> (Redis, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = format!("redis://{}/0", listener.local_addr().unwrap());
    let config = Config { broker: Secret::from(broker.as_str()), ..Config::default() };
    let connection = Connection::new(config.redis_url().unwrap(), "broker", "celery").unwrap();
    (Redis::new(&config, connection), listener)
}

/// A broker that has taken messages 0 to 199 and has asked for message 200, which is not answered.
async fn ahead() -> (Redis, TcpListener, Client) {
    let (mut broker, listener) = start().await;
    let (taken, client) = join!(broker.take(201), async {
        let mut client = Client::accept(&listener).await;
        assert_eq!(client.takes().await, (0, 200));
        client.answer(&texts(200, "m")).await;
        assert_eq!(client.takes().await, (200, 1));
        client
    });
    assert_eq!(taken.unwrap().len(), 200);
    (broker, listener, client)
}

#[tokio::test]
async fn what_is_asked_for_ahead_is_within_the_room_and_the_next_to_be_given() {
    let (mut broker, listener) = start().await;
    let mut given = Vec::new();
    let server = async {
        let mut client = Client::accept(&listener).await;
        for (first, most, there) in [(0, 200, 200), (200, 200, 200), (400, 50, 20), (450, 30, 0), (480, 7, 7)]
        {
            assert_eq!(client.takes().await, (first, most));
            client.answer(&texts(there, "m")).await;
        }
    };
    let worker = async {
        // As if nothing was acknowledged meanwhile but at the end.
        for room in [450, 250, 50, 30, 7] {
            given.extend(broker.take(room).await.unwrap().into_iter().map(|delivery| delivery.tag));
        }
    };
    join!(server, worker);
    assert_eq!(given, (0..420).chain(480..487).collect::<Vec<_>>());
    assert!(broker.ahead.is_none());
}

#[tokio::test]
async fn what_was_asked_for_ahead_goes_back_at_the_end_without_waiting_for_it() {
    let (broker, _listener, mut client) = ahead().await;
    let (ended, ()) = join!(broker.end(&[3, 7]), async {
        // Its answer goes to nobody.
        client.answer(&texts(1, "m")).await;
        assert_eq!(client.gets_back().await, [200, 7, 3]);
    });
    ended.unwrap();
}

#[tokio::test]
async fn what_was_asked_for_ahead_is_refreshed_with_the_rest() {
    let (mut broker, _listener, mut client) = ahead().await;
    client.answer(&texts(1, "m")).await;
    let (tended, ()) = join!(broker.tend(), async {
        assert_eq!(client.hears_of().await, (0..=200).collect::<Vec<_>>());
        assert_eq!(client.next().await[0], "ZRANGEBYSCORE");
        client.answer("*0\r\n").await;
    });
    assert_eq!(tended.unwrap().restored, 0);
    assert_eq!(broker.take(1).await.unwrap()[0].tag, 200);
}

#[tokio::test]
async fn what_was_asked_of_a_connection_that_died_goes_back_and_is_asked_for_anew() {
    for waits in [false, true] {
        let (mut broker, listener, client) = ahead().await;
        drop(client);
        if waits {
            broker.take(1).await.unwrap_err();
        }
        broker.disconnect();
        assert!(broker.has_to_tend());
        let (tended, mut client) = join!(broker.tend(), async {
            let mut client = Client::accept(&listener).await;
            assert_eq!(client.gets_back().await, [200]);
            assert_eq!(client.hears_of().await, (0..200).collect::<Vec<_>>());
            assert_eq!(client.next().await[0], "ZRANGEBYSCORE");
            client.answer("*0\r\n").await;
            client
        });
        assert_eq!((tended.unwrap().restored, broker.has_to_tend()), (1, false));
        let (taken, ()) = join!(broker.take(1), async {
            assert_eq!(client.takes().await, (201, 1));
            client.answer(&texts(1, "m")).await;
        });
        assert_eq!(taken.unwrap()[0].tag, 201);
    }
}

#[tokio::test]
async fn what_is_in_hand_is_refreshed_while_there_is_something_else_to_wait_for() {
    let (mut broker, _listener, mut client) = ahead().await;
    broker.visibility_timeout = Duration::from_secs(1);
    client.answer(&texts(1, "m")).await;
    let acknowledged: Vec<_> = (0..150).collect();
    let (done, ()) = join!(broker.acknowledge(&acknowledged), async {
        for answer in ["+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n", "*2\r\n:150\r\n:150\r\n"] {
            client.next().await;
            client.answer(answer).await;
        }
    });
    done.unwrap();
    let twice = async {
        for _ in 0..2 {
            assert_eq!(client.hears_of().await, (150..=200).collect::<Vec<_>>());
        }
    };
    tokio::select! {
        never = broker.stay() => match never {},
        () = twice => {}
    }
}
