//! The way to the servers: the driver's client, made when the first batch comes.

use std::time::Duration;

use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::error::Error;
use mongodb::options::ClientOptions;
use mongodb::{Client as Driver, Database};
use tokio::sync::OnceCell;
use tracing::warn;

use super::answer::int;
use super::config::Store;
use super::{collection, failure};

/// Documents of a command, where the server does not say how many it takes: so many since MongoDB 3.6.
const MAX_DOCUMENTS: usize = 100_000;

/// The servers, or the one.
#[derive(Debug)]
pub(super) struct Client {
    store: Store,
    /// Waits for the first use: an address with `+srv` has to be looked up, and the servers be there to say what they take.
    connected: OnceCell<Connected>,
}

/// A client that has met a server.
#[derive(Debug)]
struct Connected {
    driver: Driver,
    database: Database,
    max_documents: usize,
}

impl Client {
    /// Connects to nothing yet.
    pub(super) fn new(store: Store) -> Self {
        Client { store, connected: OnceCell::new() }
    }

    /// What the configuration says.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// How many documents a command may have. Connects if that was not done yet, and prepares the collection.
    pub(super) async fn max_documents(&self) -> Result<usize, String> {
        Ok(self.connected().await?.max_documents)
    }

    /// Sends one command.
    pub(super) async fn run(&self, command: RawDocumentBuf) -> Result<Document, Error> {
        let connected = self.connected.get().ok_or_else(|| Error::custom("not connected"))?;
        connected.database.run_raw_command(command).await
    }

    /// Tries all that the configuration asks for.
    pub(super) async fn probe(&self) -> Result<(), String> {
        let database = &self.connected().await?.database;
        collection::try_to_write(database, &self.store).await?;
        collection::make_indexes(database, &self.store)
            .await
            .map_err(|error| format!("`indexes`, `retention`: {}", failure::text(&error)))
    }

    /// Ends the driver's own tasks.
    pub(super) async fn close(&self) {
        if let Some(connected) = self.connected.get() {
            connected.driver.clone().shutdown().immediate(true).await;
        }
    }

    async fn connected(&self) -> Result<&Connected, String> {
        self.connected.get_or_try_init(|| self.connect()).await
    }

    async fn connect(&self) -> Result<Connected, String> {
        let text = |error: Error| failure::text(&error);
        let mut options = ClientOptions::parse(self.store.url.clone()).await.map_err(text)?;
        bound(&mut options, self.store.timeout);
        let driver = Driver::with_options(options).map_err(text)?;
        let database = driver.database(&self.store.target.database);
        let hello = database.run_command(doc! {"isMaster": 1}).await.map_err(text)?;
        let max_documents = int(&hello, "maxWriteBatchSize")
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or(MAX_DOCUMENTS);
        if self.store.time_series {
            collection::make_time_series(&database, &self.store).await?;
        }
        match collection::make_indexes(&database, &self.store).await {
            // Reports are worth more than an index. `kaneda check --connect` does not let it pass.
            Err(error) if collection::code(&error).is_some() => {
                let (collection, why) = (self.store.target.namespace(), failure::text(&error));
                warn!(
                    collection,
                    why, "an index is not as the configuration asks; reports are stored without it"
                );
            }
            indexed => indexed.map_err(text)?,
        }
        Ok(Connected { driver, database, max_documents: max_documents.max(1) })
    }
}

/// The driver's own patience ends before ours does, so that its word, which says more, comes first.
fn bound(options: &mut ClientOptions, timeout: Duration) {
    options.server_selection_timeout.get_or_insert(timeout / 2);
    options.connect_timeout.get_or_insert(timeout / 2);
    options.app_name.get_or_insert_with(|| "kaneda".to_owned());
}
