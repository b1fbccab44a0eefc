//! The sum of all that the buffers may come to hold, against `memory_limit`.

use std::fmt::Write;

use tracing::info;

use crate::admin;
use crate::config::{Config, SourceKind};
use crate::journal;
use crate::pipeline::body;
#[cfg(feature = "queue")]
use crate::pipeline::queue;
use crate::record::open::largest_memory;
use crate::source::{http, stream};
use crate::unit::Size;

/// What the rest of the process takes: code, stacks, runtime, pages of stores.
const BASE: usize = 16 << 20;
/// The keys that say how much a stream source may hold.
const STREAM_KEYS: &str = "max_connections, line_buffer; and [limits] max_line_bytes";

/// Logs the sum, or refuses to start with it.
pub(super) fn check(config: &Config) -> Result<(), String> {
    let parts = parts(config);
    let sum = parts.iter().map(|(_, bytes)| bytes).fold(0u64, |sum, bytes| sum.saturating_add(*bytes));
    let limit = config.limits.memory_limit;
    if sum <= limit.bytes() {
        let used = mib(sum);
        info!(%used, %limit, "memory: the most that all buffers together may hold");
        return Ok(());
    }
    Err(refusal(limit, &parts))
}

/// The parts are rounded up, and the sum is that of what is shown: so it adds up, and is enough.
fn refusal(limit: Size, parts: &[(String, u64)]) -> String {
    let mut table = String::new();
    let mut sum = 0u64;
    for (part, bytes) in parts {
        sum = sum.saturating_add(mib(*bytes).bytes());
        let _infallible = writeln!(table, "  {:>12}  {part}", mib(*bytes));
    }
    format!(
        "memory_limit = \"{limit}\" is less than the {} that all buffers together may come to hold:\n{table}\
         raise memory_limit in [limits], or lower one of the keys named above",
        mib(sum)
    )
}

fn parts(config: &Config) -> Vec<(String, u64)> {
    let mut parts = vec![("the process itself".to_owned(), BASE as u64)];
    let max_line = config.limits.protocol.max_line_bytes;
    // Every source fills chunks of its own.
    let chunk = largest_memory(max_line);
    parts.push((
        "[admin]: its connections".to_owned(),
        http::memory(super::ADMIN_LIMITS.max_connections) as u64,
    ));
    #[cfg(any(feature = "celery", feature = "rq"))]
    let known = if config.journal.enabled { journal::known::MEMORY } else { 0 };
    for source in &config.sources {
        let (keys, bytes) = match &source.kind {
            SourceKind::Udp(udp) => (
                "receive_buffer, max_datagram, workers",
                udp.memory().saturating_add(udp.workers.get().saturating_mul(chunk)),
            ),
            SourceKind::Tcp(tcp) => (STREAM_KEYS, tcp.memory(max_line).saturating_add(stream::TURNS * chunk)),
            SourceKind::Unix(unix) => {
                (STREAM_KEYS, unix.memory(max_line).saturating_add(stream::TURNS * chunk))
            }
            SourceKind::Unixgram(unixgram) => ("max_datagram", unixgram.memory() + chunk),
            SourceKind::Http(http) => {
                let chunks = body::MAX_MEMORY + chunk;
                (
                    "max_body, max_requests, max_connections",
                    http.memory().saturating_add(http.max_requests.saturating_mul(chunks)),
                )
            }
            #[cfg(feature = "zmq")]
            SourceKind::Zmq(zmq) => {
                let letters = queue::Letters::memory(zmq.max_message.bytes() as usize);
                let intakes = zmq.addresses().saturating_mul(letters.saturating_add(chunk));
                ("connection_url, max_message, max_connections", zmq.memory().saturating_add(intakes))
            }
            #[cfg(feature = "celery")]
            SourceKind::Celery(celery) => {
                let letters = queue::Letters::memory(celery.max_message.bytes() as usize);
                ("prefetch, max_message", celery.memory() + chunk + letters + known)
            }
            #[cfg(feature = "rq")]
            SourceKind::Rq(rq) => {
                let letters = queue::Letters::memory(rq.max_message.bytes() as usize);
                ("prefetch, max_message", rq.memory() + chunk + letters + known)
            }
        };
        parts.push((format!("source {}: {keys}", source.name), bytes as u64));
    }
    if config.journal.enabled {
        parts.push(("[journal] enabled".to_owned(), journal::MEMORY as u64));
    }
    let replay = admin::replay::memory(super::replay_body(config));
    parts.push(("kaneda replay: [limits] max_line_bytes".to_owned(), replay as u64));
    for sink in &config.sinks {
        let bytes = sink.drain.memory(max_line);
        parts.push((
            format!("sink {}: ring_bytes, backlog_bytes, batch_max_bytes, concurrency", sink.name),
            bytes,
        ));
    }
    parts
}

/// In whole MiB; what cannot be counted is as much as can be.
fn mib(bytes: u64) -> Size {
    Size::from_mib(bytes.div_ceil(1 << 20).min(u64::MAX >> 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_refusal_add_up_and_the_largest_is_not_0() {
        let parts = |sizes: &[u64]| sizes.iter().map(|bytes| ("part".to_owned(), *bytes)).collect::<Vec<_>>();
        let text = refusal(Size::from_mib(1), &parts(&[1, 1 << 20, (1 << 20) + 1]));
        assert!(text.contains("less than the 4MiB that") && text.contains(" 2MiB  part"), "{text}");
        let text = refusal(Size::from_mib(1), &parts(&[u64::MAX, 1]));
        assert!(text.contains("less than the 17592186044415MiB that"), "{text}");
    }

    #[cfg(feature = "rq")]
    #[test]
    fn ids_that_the_journal_knows_are_in_the_sum_of_a_source_of_jobs() {
        let of_source = |is_enabled: bool| {
            let file = tempfile::NamedTempFile::new().unwrap();
            let text = format!(
                "[[source]]\ntype = 'rq'\n[[sink]]\ntype = 'null'\n[journal]\nenabled = {is_enabled}\n"
            );
            std::fs::write(&file, text).unwrap();
            let config = Config::load(Some(file.path()), &crate::config::Environment::default());
            let parts = parts(&config.unwrap_or_else(|mistakes| panic!("{mistakes}")));
            parts.iter().find(|(part, _)| part.starts_with("source rq")).unwrap().1
        };
        assert_eq!(of_source(true) - of_source(false), journal::known::MEMORY as u64);
    }

    #[cfg(feature = "zmq")]
    #[test]
    fn more_connections_than_can_be_counted_are_as_much_as_can_be() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let most = i64::MAX;
        let text = format!(
            "[[source]]\ntype = 'zmq'\nconnection_url = 'tcp://127.0.0.1:0'\nbind = true\nmax_connections = {most}\n\
             [[sink]]\ntype = 'null'\n"
        );
        std::fs::write(&file, text).unwrap();
        let config = Config::load(Some(file.path()), &crate::config::Environment::default());
        let parts = parts(&config.unwrap_or_else(|mistakes| panic!("{mistakes}")));
        assert_eq!(parts.iter().find(|(part, _)| part.starts_with("source zmq")).unwrap().1, u64::MAX);
    }
}
