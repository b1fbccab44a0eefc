//! From a batch to the commands that store it, ready to be sent.
//!
//! Records with an id of ours are inserted; those with a client's id are upserted by `_id`, since a repeat replaces.
//! Both take many documents and go on behind one that is refused (`ordered: false`).

use mongodb::bson::RawDocumentBuf;

use super::bson::{Body, Open};
use super::encode::{self, MAX_DOCUMENT};
use crate::record::{Batch, Identity, Received, Text};
use crate::sink::{Rejection, Verdict};

/// Bytes that a command may have: it is a document itself, for which a server allows 16 KiB more than for one that is
/// stored. Of these the driver needs some hundred for a session and the cluster's time.
const MAX_COMMAND: usize = MAX_DOCUMENT + 12 * 1024;
/// Bytes of a document in a command beside the document: its type, its key in the array, `q`, `u` and `upsert`, and an
/// `_id` of 127 bytes.
const DOCUMENT_OVERHEAD: usize = 256;

/// Where documents go, and how safe they have to be there.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) database: String,
    pub(super) collection: String,
    /// The document `writeConcern` of a command.
    pub(super) write_concern: Vec<u8>,
    /// Whether a client's id is upserted: a time series takes inserts only.
    pub(super) upserts: bool,
}

impl Target {
    /// What an error of the server calls the collection.
    pub(super) fn namespace(&self) -> String {
        format!("{}.{}", self.database, self.collection)
    }
}

/// What a command does with its documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// One that is there already stays.
    Insert,
    /// One that is there already is replaced.
    Upsert,
}

/// One command.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) verb: Verb,
    /// The places of its documents in the batch.
    pub(super) places: Vec<usize>,
    pub(super) body: RawDocumentBuf,
}

/// The commands of a batch, and what is decided without them.
#[derive(Debug, Default)]
pub(super) struct Commands {
    pub(super) commands: Vec<Command>,
    /// The records that MongoDB would never take, by their place in the batch.
    pub(super) rejected: Vec<(usize, Verdict)>,
}

/// Makes the commands of `batch`; none has more than `max_documents`.
pub(super) fn commands(target: &Target, batch: &Batch, max_documents: usize) -> Commands {
    let mut all = Commands::default();
    let mut inserts = Writer::new(target, Verb::Insert, max_documents, batch.bytes());
    let mut upserts = Writer::new(target, Verb::Upsert, max_documents, 0);
    let mut document = Vec::new();
    for (place, received) in batch.records().enumerate() {
        document.clear();
        if let Err(rejection) = encode::encode(&received, &mut document) {
            all.reject(place, rejection);
            continue;
        }
        let is_clients = matches!(received.identity, Identity::Client(_));
        let writer = if is_clients && target.upserts { &mut upserts } else { &mut inserts };
        writer.add(place, &received, &document, &mut all.commands);
    }
    inserts.finish(&mut all.commands);
    upserts.finish(&mut all.commands);
    all
}

impl Commands {
    fn reject(&mut self, place: usize, rejection: Rejection) {
        self.rejected.push((place, Verdict::Rejected(rejection)));
    }
}

/// Fills one command after the other with documents.
struct Writer<'t> {
    target: &'t Target,
    verb: Verb,
    max_documents: usize,
    /// Bytes that a command is given room for at once.
    expected: usize,
    body: Option<Body>,
    places: Vec<usize>,
}

impl<'t> Writer<'t> {
    fn new(target: &'t Target, verb: Verb, max_documents: usize, expected: usize) -> Self {
        Writer { target, verb, max_documents, expected, body: None, places: Vec::new() }
    }

    /// Puts `document`, the one of `received`, into the command, or into a new one if it is full.
    fn add(&mut self, place: usize, received: &Received<'_>, document: &[u8], commands: &mut Vec<Command>) {
        let is_full = self.body.as_ref().is_some_and(|body| {
            self.places.len() >= self.max_documents
                || body.len() + document.len() + DOCUMENT_OVERHEAD > MAX_COMMAND
        });
        if is_full {
            self.finish(commands);
        }
        let body = self.body.get_or_insert_with(|| begin(self.target, self.verb, self.expected));
        body.push(|out| match self.verb {
            Verb::Insert => out.extend_from_slice(document),
            Verb::Upsert => {
                let mut update = Open::document(out);
                let mut query = update.open_document("q");
                encode::write_id(&mut query, &received.identity);
                query.close();
                update.raw_document("u", document);
                update.bool("upsert", true);
                update.close();
            }
        });
        self.places.push(place);
    }

    /// Ends the command that is begun.
    fn finish(&mut self, commands: &mut Vec<Command>) {
        let Some(body) = self.body.take() else { return };
        let places = std::mem::take(&mut self.places);
        // Fails only on a document without its length or its end.
        if let Ok(body) = RawDocumentBuf::from_bytes(body.finish()) {
            commands.push(Command { verb: self.verb, places, body });
        }
    }
}

fn begin(target: &Target, verb: Verb, expected: usize) -> Body {
    let (name, documents) = match verb {
        Verb::Insert => ("insert", "documents"),
        Verb::Upsert => ("update", "updates"),
    };
    Body::new(expected, documents, |command| {
        command.text(name, Text::plain(target.collection.as_bytes()));
        command.bool("ordered", false);
        command.raw_document("writeConcern", &target.write_concern);
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mongodb::bson::{Document, doc};

    use super::*;
    use crate::record::batch::Range;
    use crate::record::open::OpenChunk;
    use crate::record::{Dialect, Kind, Origin, Record, Value};

    fn target(upserts: bool) -> Target {
        let write_concern = vec![5, 0, 0, 0, 0];
        Target { database: "d".into(), collection: "c".into(), write_concern, upserts }
    }

    /// Events whose values are `values`, those of which begin with an `i` with that as their id.
    fn batch(values: &[&str]) -> Batch {
        let origin = Origin { source: "s".into(), dialect: Dialect::Kaneda, host: "h".into() };
        let mut open = OpenChunk::new(origin);
        open.begin_read(1_000_000);
        for value in values {
            let line = open.append(value.as_bytes());
            let (bytes, table) = open.parts();
            let text = Text::plain(&bytes[line.start..line.start + value.len()]);
            let mut record = Record::new(Kind::Event, text, Value::Text(text));
            record.id = value.starts_with('i').then_some(text);
            table.push(&record, bytes, line.start);
        }
        let chunk = open.close().unwrap();
        let last = chunk.len();
        let mut batch = Batch::new();
        batch.push(Range { chunk: Arc::new(chunk), first: 0, last });
        batch
    }

    fn made(target: &Target, values: &[&str], most: usize) -> Vec<(Verb, Vec<usize>, Document)> {
        let all = commands(target, &batch(values), most);
        assert_eq!(all.rejected, []);
        let read =
            |command: Command| (command.verb, command.places, Document::try_from(&*command.body).unwrap());
        all.commands.into_iter().map(read).collect()
    }

    #[test]
    fn ours_are_inserted_and_the_clients_upserted() {
        let mut all = made(&target(true), &["a", "i1", "b"], 10);
        let (verb, places, mut upsert) = all.pop().unwrap();
        assert_eq!((verb, places), (Verb::Upsert, vec![1]));
        let update = upsert.get_array_mut("updates").unwrap().remove(0);
        let mut update = update.as_document().unwrap().clone();
        assert_eq!(update.get_document("u").unwrap().get_str("_id").unwrap(), "i1");
        update.remove("u");
        assert_eq!(update, doc! {"q": {"_id": "i1"}, "upsert": true});
        assert_eq!(upsert, doc! {"update": "c", "ordered": false, "writeConcern": {}, "updates": []});

        let (verb, places, mut insert) = all.pop().unwrap();
        assert_eq!((verb, places), (Verb::Insert, vec![0, 2]));
        let documents = std::mem::take(insert.get_array_mut("documents").unwrap());
        let names: Vec<_> =
            documents.iter().map(|one| one.as_document().unwrap().get_str("name").unwrap()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(insert, doc! {"insert": "c", "ordered": false, "writeConcern": {}, "documents": []});
        assert!(all.is_empty());
    }

    #[test]
    fn a_time_series_is_only_inserted_into() {
        let all = made(&target(false), &["a", "i1"], 10);
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].0, &all[0].1), (Verb::Insert, &vec![0, 1]));
    }

    #[test]
    fn no_command_has_more_documents_than_the_server_takes() {
        let values = ["a", "i1", "b", "c", "i2", "d", "e", "i3"];
        let all = made(&target(true), &values, 2);
        let places: Vec<_> = all.iter().map(|(verb, places, _)| (*verb, places.clone())).collect();
        assert_eq!(
            places,
            [
                (Verb::Insert, vec![0, 2]),
                (Verb::Insert, vec![3, 5]),
                (Verb::Upsert, vec![1, 4]),
                (Verb::Insert, vec![6]),
                (Verb::Upsert, vec![7]),
            ]
        );
    }

    #[test]
    fn no_command_is_larger_than_a_server_takes() {
        // Name and value: each document is a little more than twice as long.
        let long = "x".repeat(3 * 1024 * 1024);
        let mut values = vec![long.as_str(); 5];
        values.insert(2, "i");
        let all = commands(&target(true), &batch(&values), 100);
        assert_eq!(all.rejected, []);
        let places: Vec<_> = all.commands.iter().map(|command| command.places.clone()).collect();
        assert_eq!(places, [vec![0, 1], vec![3, 4], vec![5], vec![2]]);
        assert!(all.commands.iter().all(|command| command.body.as_bytes().len() <= MAX_COMMAND));
    }

    #[test]
    fn what_mongodb_would_never_take_is_rejected_before_it_is_sent() {
        let long = "x".repeat(MAX_DOCUMENT / 2);
        let all = commands(&target(true), &batch(&["a", &long, "b"]), 100);
        assert_eq!(all.commands.len(), 1);
        assert_eq!(all.commands[0].places, [0, 2]);
        let [(1, Verdict::Rejected(rejection))] = &all.rejected[..] else { panic!("{:?}", all.rejected) };
        assert_eq!(rejection.reason, "too_large");
    }
}
