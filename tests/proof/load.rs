//! Clients that report for as long as they are let, to a daemon that may be gone at any moment.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::process::{Daemon, PATIENCE};

/// Lines that are acknowledged at once.
const BATCH: u64 = 20;

/// Where the daemon is, while it is there.
#[derive(Default)]
pub(crate) struct Target {
    tcp: Mutex<Option<SocketAddr>>,
    udp: Mutex<Option<SocketAddr>>,
    stop: AtomicBool,
}

/// What a client knows of its reports.
#[derive(Default)]
pub(crate) struct Known {
    /// Names that were sent.
    pub(crate) sent: HashSet<String>,
    /// Names whose report was acknowledged.
    pub(crate) acknowledged: HashSet<String>,
    /// How many reports were sent once more, each time counted: the daemon may have them from before.
    pub(crate) again: u64,
}

/// What a client does with reports that were not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unacknowledged {
    /// It sends them again, with the same id and time.
    Repeat,
    /// It forgets them.
    Forget,
}

impl Target {
    pub(crate) fn set(&self, daemon: &Daemon) {
        *self.tcp.lock().unwrap() = Some(daemon.address("tcp"));
        *self.udp.lock().unwrap() = Some(daemon.address("udp"));
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn connect(&self) -> Option<BufReader<TcpStream>> {
        let address = (*self.tcp.lock().unwrap())?;
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(BufReader::new(stream))
    }
}

/// A client over TCP that asks for an acknowledgement behind each handful of reports. It ends with all acknowledged, if
/// it repeats.
pub(crate) fn tcp(target: &Arc<Target>, name: &str, then: Unacknowledged) -> JoinHandle<Known> {
    let (target, name) = (Arc::clone(target), name.to_owned());
    std::thread::spawn(move || {
        let mut known = Known::default();
        let mut stream = None;
        let mut number = 0;
        let mut waiting: Vec<(String, String)> = Vec::new();
        loop {
            if waiting.is_empty() {
                if target.is_over() {
                    return known;
                }
                for _ in 0..BATCH {
                    let report = format!("{name}-{number}");
                    let line = match then {
                        Unacknowledged::Forget => format!("{report}:1|c\n"),
                        Unacknowledged::Repeat => {
                            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                            format!("{report}:1|c|i:{report}|T{}.{:06}\n", now.as_secs(), now.subsec_micros())
                        }
                    };
                    waiting.push((report, line));
                    number += 1;
                }
                known.sent.extend(waiting.iter().map(|(report, _)| report.clone()));
            }
            if stream.is_none() {
                stream = target.connect();
            }
            let answer = stream.as_mut().and_then(|stream| {
                let lines: String =
                    waiting.iter().map(|(_, line)| line.as_str()).chain(["!sync\n"]).collect();
                stream.get_mut().write_all(lines.as_bytes()).ok()?;
                let mut answer = String::new();
                stream.read_line(&mut answer).ok().filter(|bytes| *bytes > 0)?;
                Some(answer)
            });
            match answer {
                Some(answer) if answer.ends_with('\n') => {
                    assert_eq!(answer, format!("ok {BATCH} 0\n"), "{name}");
                    known.acknowledged.extend(waiting.drain(..).map(|(report, _)| report));
                    std::thread::sleep(Duration::from_millis(1));
                }
                _ => {
                    let was_sent = stream.take().is_some();
                    match then {
                        Unacknowledged::Repeat if was_sent => known.again += waiting.len() as u64,
                        Unacknowledged::Repeat => {}
                        Unacknowledged::Forget => waiting.clear(),
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    })
}

/// A client that sends datagrams into the dark.
pub(crate) fn udp(target: &Arc<Target>, name: &str, pause: Duration) -> JoinHandle<Known> {
    let (target, name) = (Arc::clone(target), name.to_owned());
    std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut known = Known::default();
        while !target.is_over() {
            let report = format!("{name}-{}", known.sent.len());
            let address = *target.udp.lock().unwrap();
            if let Some(address) = address {
                // Nobody may be there; that is what it is for.
                let _ = socket.send_to(format!("{report}:1|c").as_bytes(), address);
                known.sent.insert(report);
            }
            std::thread::sleep(pause);
        }
        known
    })
}

/// A client over TCP that sends so many reports a second, packed, and never asks. Gives how many it sent.
pub(crate) fn steady(target: &Arc<Target>, name: &str, a_second: u64) -> JoinHandle<u64> {
    const PAUSE: Duration = Duration::from_millis(10);
    let (target, name) = (Arc::clone(target), name.to_owned());
    std::thread::spawn(move || {
        let mut stream = target.connect().expect("the daemon runs");
        let start = std::time::Instant::now();
        let mut sent = 0;
        while !target.is_over() {
            let due = (start.elapsed().as_secs_f64() * a_second as f64) as u64;
            let lines: String = (sent..due).map(|_| format!("{name}:1|c\n")).collect();
            stream.get_mut().write_all(lines.as_bytes()).unwrap();
            sent = due;
            std::thread::sleep(PAUSE);
        }
        stream.get_mut().write_all(b"!sync\n").unwrap();
        let mut answer = String::new();
        stream.read_line(&mut answer).unwrap();
        assert_eq!(answer, format!("ok {sent} 0\n"));
        sent
    })
}
