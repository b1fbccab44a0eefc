//! The collection: what is made of it where the configuration asks for more than documents.

use mongodb::Database;
use mongodb::bson::{Document, doc};
use mongodb::error::{Error, ErrorKind};

use super::config::Store;
use super::{answer, failure};

/// Codes of the server's errors.
const NAMESPACE_EXISTS: i32 = 48;
const INDEX_OPTIONS_CONFLICT: i32 = 85;
const INDEX_KEY_SPECS_CONFLICT: i32 = 86;

/// Makes the collection as a time series. One that is there already has to be such. The error says what to do.
pub(super) async fn make_time_series(database: &Database, store: &Store) -> Result<(), String> {
    let name = store.target.collection.as_str();
    let mut create = doc! {
        "create": name,
        "timeseries": { "timeField": "timestamp", "metaField": "name", "granularity": "seconds" },
    };
    if let Some(seconds) = store.retention_seconds {
        create.insert("expireAfterSeconds", seconds);
    }
    match database.run_command(create).await {
        Ok(_) => Ok(()),
        Err(error) if code(&error) == Some(NAMESPACE_EXISTS) => {
            let list = doc! {"listCollections": 1, "filter": {"name": name}};
            let listed = database.run_command(list).await.map_err(|error| failure::text(&error))?;
            if is_time_series(&listed) {
                return Ok(());
            }
            Err(format!(
                "the collection {name} is there and is no time series: unset `time_series`, or name another collection by \
                 `collection_name`"
            ))
        }
        Err(error) => Err(format!(
            "the collection {name} cannot be made a time series: {}; that takes MongoDB 5.0",
            failure::text(&error)
        )),
    }
}

fn is_time_series(listed: &Document) -> bool {
    let first = || {
        let batch = listed.get_document("cursor").ok()?.get_array("firstBatch").ok()?;
        batch.first()?.as_document()?.get_str("type").ok()
    };
    first() == Some("timeseries")
}

/// Makes the indexes that are asked for. One on the same keys that is there already is let be; how long reports stay
/// is changed where it differs.
pub(super) async fn make_indexes(database: &Database, store: &Store) -> Result<(), Error> {
    let name = store.target.collection.as_str();
    if store.indexes {
        let index = doc! {"key": {"name": 1, "timestamp": 1}, "name": "name_1_timestamp_1"};
        match database.run_command(doc! {"createIndexes": name, "indexes": [index]}).await {
            Err(error) if !is_conflict(&error) => return Err(error),
            _ => {}
        }
    }
    let Some(seconds) = store.retention_seconds else { return Ok(()) };
    if store.time_series {
        let change = doc! {"collMod": name, "expireAfterSeconds": i64::from(seconds)};
        return database.run_command(change).await.map(drop);
    }
    let key = doc! {"timestamp": 1};
    let index = doc! {"key": key.clone(), "name": "timestamp_1", "expireAfterSeconds": seconds};
    match database.run_command(doc! {"createIndexes": name, "indexes": [index]}).await {
        Err(error) if is_conflict(&error) => {
            let index = doc! {"keyPattern": key, "expireAfterSeconds": i64::from(seconds)};
            database.run_command(doc! {"collMod": name, "index": index}).await.map(drop)
        }
        other => other.map(drop),
    }
}

/// There is another index with its name or its keys.
fn is_conflict(error: &Error) -> bool {
    matches!(code(error), Some(INDEX_OPTIONS_CONFLICT | INDEX_KEY_SPECS_CONFLICT))
}

/// The code of an answer of the server; `None`: there was no answer.
pub(super) fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(error) => Some(error.code),
        _ => None,
    }
}

/// Tries whether documents may be inserted and replaced, and leaves nothing behind. The error says what to do.
pub(super) async fn try_to_write(database: &Database, store: &Store) -> Result<(), String> {
    let name = store.target.collection.as_str();
    // No document may have a list as its id: it is refused, but only after it was asked whether the user may insert.
    let insert = doc! {"insert": name, "documents": [{"_id": [], "name": "kaneda check"}]};
    let reply = database.run_command(insert).await.map_err(|error| failure::text(&error))?;
    if answer::int(&reply, "n") != Some(0) {
        // A server that is not MongoDB's.
        let delete = doc! {"delete": name, "deletes": [{"q": {"_id": []}, "limit": 1}]};
        database.run_command(delete).await.map_err(|error| failure::text(&error))?;
    }
    if store.target.upserts {
        // No report has an empty id: nothing is found, and nothing changed.
        let update = doc! {"update": name, "updates": [{"q": {"_id": ""}, "u": {"$set": {"name": ""}}}]};
        database.run_command(update).await.map_err(|error| failure::text(&error))?;
    }
    Ok(())
}
