//! Elasticsearch and OpenSearch: every report one document, its id the record's. `docs/elasticsearch.md` describes it.

mod answer;
mod config;
mod encode;
mod index;
mod member;
mod send;
mod template;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::OnceCell;
use tracing::warn;

use crate::record::Batch;
use crate::sink::{Answer, Outcome, Rejection, Sink, Verdict};

pub use config::{Config, Error};
pub use index::Window;

use answer::{Fate, Reply};
use encode::{Encoded, Layout, Planned};
use index::Index;
use member::Moved;
use send::{Body, Client, Trouble};

impl Config {
    /// Makes the sink. It connects when the first batch comes.
    pub fn build(&self, name: &str) -> Result<Box<dyn Sink>, Error> {
        let layout = Layout { index: self.index()?, app_name: self.app_name.clone() };
        Ok(Box::new(Elasticsearch {
            name: name.to_owned(),
            client: Client::new(self.access(name)?, self.gzip, self.timeout.get())?,
            layout: Arc::new(layout),
            gzip: self.gzip,
            puts_template: self.template,
            ready: OnceCell::new(),
            is_async: OnceLock::new(),
            with_extra: AtomicU64::new(0),
        }))
    }
}

struct Elasticsearch {
    name: String,
    client: Client,
    layout: Arc<Layout>,
    gzip: bool,
    puts_template: bool,
    /// The template is there, and what else has to be before the first document.
    ready: OnceCell<()>,
    /// Whether the store answers before a document is on disk, once that is known.
    is_async: OnceLock<bool>,
    /// Documents that were stored with something in `extra` that the store had refused elsewhere.
    with_extra: AtomicU64,
}

impl Sink for Elasticsearch {
    fn place(&self) -> String {
        let what = match &self.layout.index {
            Index::Dated(name, _) => format!("index {name}-YYYY.MM.DD"),
            Index::Stream(name) => format!("data stream {name}"),
        };
        format!("{}, {what}", self.client.urls().join(", "))
    }

    fn durability(&self) -> String {
        let how = match self.is_async.get() {
            None => "on disk there, unless index.translog.durability of its index is async: not asked yet",
            Some(false) => "on disk there (index.translog.durability is request)",
            Some(true) => "not on disk yet: index.translog.durability is async",
        };
        format!("acknowledged by the primary shard and every replica that is in sync; {how}")
    }

    fn send(&self, batch: Batch) -> Answer<'_, Outcome> {
        Box::pin(async move {
            match self.ready.get_or_try_init(|| self.prepare()).await {
                Ok(()) => self.store(batch).await,
                Err(Trouble(why)) => Outcome::Retry(why),
            }
        })
    }

    fn probe(&self) -> Answer<'_, Result<(), String>> {
        Box::pin(self.try_each())
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![("documents_with_extra", self.with_extra.load(Ordering::Relaxed))]
    }
}

impl Elasticsearch {
    /// What has to be done once, before the first document.
    async fn prepare(&self) -> Result<(), Trouble> {
        if self.puts_template {
            template::put(&self.client, &self.layout.index, &self.name).await?;
        }
        if let Index::Stream(name) = &self.layout.index {
            template::make_stream(&self.client, name).await?;
        }
        if let Some(is_async) = template::is_async(&self.client, &self.layout.index).await? {
            if is_async {
                warn!(
                    sink = self.name,
                    "index.translog.durability is async: the store may lose what it said it has stored; set it to request"
                );
            }
            // Only one call at a time, and none behind one that succeeds.
            let _ = self.is_async.set(is_async);
        }
        Ok(())
    }

    /// Sends a batch, and once or twice more what the store refuses because of a member: with that one, then with all
    /// of them, in `extra`.
    async fn store(&self, batch: Batch) -> Outcome {
        let mut verdicts = vec![Verdict::Delivered; batch.len()];
        let mut plan = encode::all(&batch);
        let mut is_first = true;
        while !plan.is_empty() {
            let (body, sent, rejected) = match self.encode(&batch, plan).await {
                Ok(encoded) => encoded,
                Err(why) => return Outcome::Retry(why),
            };
            for (place, rejection) in rejected {
                verdicts[place] = Verdict::Rejected(rejection);
            }
            if sent.is_empty() {
                break;
            }
            let reply = self.client.bulk(body, sent.len()).await;
            plan = match (reply, is_first) {
                (Reply::Each(fates), _) => self.decide(&batch, sent, fates, &mut verdicts),
                (Reply::Retry(why) | Reply::Unfit(why), true) => return Outcome::Retry(why),
                (Reply::Refused(rejection), true) => return Outcome::Refused(rejection),
                // The others are decided by what came before.
                (Reply::Refused(rejection), false) if sent.len() == 1 => {
                    verdicts[sent[0].place] = Verdict::Rejected(rejection);
                    Vec::new()
                }
                (
                    Reply::Retry(why) | Reply::Unfit(why) | Reply::Refused(Rejection { detail: why, .. }),
                    false,
                ) => {
                    for planned in sent {
                        verdicts[planned.place] = Verdict::Retry(why.clone());
                    }
                    Vec::new()
                }
            };
            is_first = false;
        }
        if verdicts.iter().all(|verdict| *verdict == Verdict::Delivered) {
            return Outcome::Delivered;
        }
        Outcome::Each(verdicts)
    }

    /// Milliseconds of work for a large batch: not on a thread that sockets wait for.
    async fn encode(
        &self,
        batch: &Batch,
        plan: Vec<Planned>,
    ) -> Result<(Body, Vec<Planned>, Vec<(usize, Rejection)>), String> {
        let (layout, batch, gzip) = (Arc::clone(&self.layout), batch.clone(), self.gzip);
        let work = tokio::task::spawn_blocking(move || {
            let Encoded { body, sent, rejected } = layout.encode(&batch, plan);
            (if gzip { Body::gzip(body) } else { Body::plain(body) }, sent, rejected)
        });
        work.await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => "the daemon is stopping".to_owned(),
        })
    }

    /// Takes the fate of each document that was sent. Returns what is to be sent once more, and how.
    fn decide(
        &self,
        batch: &Batch,
        sent: Vec<Planned>,
        fates: Vec<Fate>,
        verdicts: &mut [Verdict],
    ) -> Vec<Planned> {
        let mut places = batch.places().enumerate();
        let mut again = Vec::new();
        for (Planned { place, moved }, fate) in sent.into_iter().zip(fates) {
            verdicts[place] = match fate {
                Fate::Stored => {
                    if moved != Moved::Nothing {
                        self.with_extra.fetch_add(1, Ordering::Relaxed);
                    }
                    Verdict::Delivered
                }
                Fate::Later(why) | Fate::Missing(why) => Verdict::Retry(why),
                Fate::Refused { rejection, fields } => {
                    let found = places.find(|(found, _)| *found == place);
                    let record = found.map(|(_, (chunk, index))| chunk.received(index).record);
                    if let Some(moved) = record.and_then(|record| moved.more(&record, &fields)) {
                        again.push(Planned { place, moved });
                    }
                    Verdict::Rejected(rejection)
                }
            };
        }
        again
    }

    /// Whether each server is there, lets us in and would store a document. Stores nothing.
    async fn try_each(&self) -> Result<(), String> {
        let index = self.layout.index.of_1970();
        // The store looks at our rights first, and then finds that this is no alias.
        let lines = format!(
            "{{\"create\":{{\"_index\":\"{index}\",\"_id\":\"kaneda\",\"require_alias\":true}}}}\n\
             {{\"@timestamp\":\"1970-01-01T00:00:00Z\"}}\n"
        );
        for (url, answer) in self.client.bulk_to_each(&Body::plain(lines.into_bytes())).await {
            let tried = match answer {
                Ok((status, body)) => answer::may_write(status, &body),
                Err(Trouble(why)) => Err(why),
            };
            tried.map_err(|why| format!("{url}: {why}"))?;
        }
        if self.puts_template {
            template::try_read(&self.client, &self.layout.index).await.map_err(|Trouble(why)| why)?;
        }
        Ok(())
    }
}
