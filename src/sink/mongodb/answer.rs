//! What an answer of the server to a write means: pure.
//!
//! A write of many documents is answered `ok: 1` also when some were refused: they stand in `writeErrors`, by their
//! place in the command, and every other one is stored. What the server could not wait for is a `writeConcernError`
//! (<https://github.com/mongodb/specifications/blob/master/source/server_write_commands.md>).

use mongodb::bson::{Bson, Document};

use super::command::Verb;
use crate::sink::{Rejection, Verdict};

/// How much of the server's text goes into logs and dead letters. It may quote a value of any length.
const DETAIL_BYTES: usize = 300;

/// A value that a unique index has already.
const DUPLICATE_KEY: i32 = 11000;
/// A validator of the collection refuses the document.
const VALIDATION: i32 = 121;

/// Codes of errors that no document causes: the server, its disk, its replica set or its router is to blame.
const NOT_NOW: [i32; 28] = [
    6,     // HostUnreachable
    7,     // HostNotFound
    11,    // UserNotFound
    13,    // Unauthorized
    24,    // LockTimeout
    46,    // LockBusy
    50,    // MaxTimeMSExpired
    63,    // StaleShardVersion
    70,    // ShardNotFound
    74,    // NodeNotFound
    82,    // NoProgressMade
    89,    // NetworkTimeout
    91,    // ShutdownInProgress
    112,   // WriteConflict
    133,   // FailedToSatisfyReadPreference
    150,   // StaleEpoch
    189,   // PrimarySteppedDown
    202,   // NetworkInterfaceExceededTimeLimit
    262,   // ExceededTimeLimit
    9001,  // SocketException
    10107, // NotWritablePrimary
    11600, // InterruptedAtShutdown
    11601, // Interrupted
    11602, // InterruptedDueToReplStateChange
    13388, // StaleConfig
    13435, // NotPrimaryNoSecondaryOk
    13436, // NotPrimaryOrSecondary
    14031, // OutOfDiskSpace
];

/// Codes of errors with which a server refuses a whole command for one of its documents.
const DOCUMENT_TO_BLAME: [i32; 8] = [
    15,    // Overflow: too many levels
    22,    // InvalidBSON
    52,    // DollarPrefixedFieldName
    53,    // InvalidIdField
    55,    // InvalidDBRef
    57,    // DottedFieldName
    121,   // DocumentValidationFailure
    10334, // BSONObjectTooLarge
];

/// What came of the documents of one command.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    /// One a document.
    pub(super) verdicts: Vec<Verdict>,
    /// How many were there already, under the ids that we gave them.
    pub(super) already_there: u64,
}

/// What `reply` says of a command with `count` documents for the collection `namespace`.
pub(super) fn read(reply: &Document, verb: Verb, count: usize, namespace: &str) -> Answer {
    let mut answer = Answer { verdicts: vec![Verdict::Delivered; count], already_there: 0 };
    let errors = reply.get_array("writeErrors").map_or(&[][..], Vec::as_slice);
    let mut known = 0;
    for error in errors.iter().filter_map(Bson::as_document) {
        let place = int(error, "index").and_then(|index| usize::try_from(index).ok());
        let Some(place) = place.filter(|place| *place < count) else { continue };
        known += 1;
        answer.verdicts[place] = verdict(error, verb, namespace);
        answer.already_there += u64::from(answer.verdicts[place] == Verdict::Delivered);
    }
    let unsure = match (reply.get_document("writeConcernError"), int(reply, "n")) {
        // They may be stored, but not as safely as was asked for.
        (Ok(error), _) => Some(concern(error)),
        // No server should; but what nobody vouches for is not delivered.
        (_, Some(stored)) if usize::try_from(stored).unwrap_or(0) + known < count => {
            Some(format!("the server stored {stored} of {count} documents and does not say why"))
        }
        (_, None) => Some("the server does not say how many documents it stored".to_owned()),
        (_, Some(_)) => None,
    };
    if let Some(why) = unsure {
        answer.already_there = 0;
        for verdict in &mut answer.verdicts {
            if *verdict == Verdict::Delivered {
                *verdict = Verdict::Retry(why.clone());
            }
        }
    }
    answer
}

/// One of `writeErrors`.
fn verdict(error: &Document, verb: Verb, namespace: &str) -> Verdict {
    let code = int(error, "code").unwrap_or(0);
    let text = error.get_str("errmsg").unwrap_or_default();
    let detail = cut(&format!("{text} (code {code})"));
    if code == DUPLICATE_KEY {
        return match (is_of_id(error, text, namespace), verb) {
            (Some(true), Verb::Insert) => Verdict::Delivered,
            // Another writer upserted the same id at the same moment.
            (Some(true), Verb::Upsert) => Verdict::Retry(detail),
            (Some(false), _) => Verdict::Rejected(Rejection { reason: "duplicate_key", detail }),
            // Behind a megabyte of errors a server leaves their texts out; in a smaller batch it will not.
            (None, _) => Verdict::Retry(detail),
        };
    }
    if NOT_NOW.contains(&code) {
        return Verdict::Retry(detail);
    }
    Verdict::Rejected(Rejection { reason: reason(code), detail })
}

/// Whether a duplicate key is one of the index on `_id`. A unique index of the user's is another matter: there it is
/// another report that stands in the way. `None`: the error does not say.
fn is_of_id(error: &Document, text: &str, namespace: &str) -> Option<bool> {
    if let Ok(keys) = error.get_document("keyPattern") {
        return Some(keys.keys().eq(["_id"]));
    }
    // `E11000 duplicate key error collection: db.collection index: _id_ dup key: { _id: "x" }`
    let rest = text.strip_prefix("E11000 duplicate key error collection: ")?;
    let index = rest.strip_prefix(namespace)?.strip_prefix(" index: ")?;
    Some(index.starts_with("_id_ "))
}

/// Why a document is refused, in one word.
fn reason(code: i32) -> &'static str {
    match code {
        VALIDATION => "validation",
        10334 => "too_large",
        15 => "too_deep",
        _ => "refused",
    }
}

/// What the server says of the write concern.
fn concern(error: &Document) -> String {
    let text = error.get_str("errmsg").unwrap_or("unknown");
    format!(
        "the documents are not as safe as `w` and `journal` ask: {} (code {})",
        cut(text),
        int(error, "code").unwrap_or(0)
    )
}

/// What an error of the server to a whole command means.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// It may be for one of the documents.
    Documents(Rejection),
    /// It is not.
    NotNow(String),
}

/// What a server's error `code` with `text` to a whole command means.
pub(super) fn refusal(code: i32, text: &str) -> Refusal {
    let text = cut(text);
    match code {
        _ if DOCUMENT_TO_BLAME.contains(&code) => {
            Refusal::Documents(Rejection { reason: reason(code), detail: format!("{text} (code {code})") })
        }
        13 => Refusal::NotNow(format!(
            "the user may not do this: {text}; give it the role readWrite on `db_name`"
        )),
        11 | 18 => Refusal::NotNow(format!("the server does not accept this login: {text}; {LOGIN}")),
        79 | 100 => Refusal::NotNow(format!("the replica set cannot do what `w` asks: {text}; mend `w`")),
        _ => Refusal::NotNow(format!("{text} (code {code})")),
    }
}

/// What to do about a login that is not accepted.
pub(super) const LOGIN: &str =
    "mend `user` and `password`, or name the user's database by `authSource` in `connection_url`";

/// A number of a reply: servers write it in 32 bits, in 64, or as a double.
pub(super) fn int(document: &Document, key: &str) -> Option<i32> {
    match document.get(key)? {
        Bson::Int32(int) => Some(*int),
        Bson::Int64(int) => i32::try_from(*int).ok(),
        Bson::Double(double) => Some(*double as i32),
        _ => None,
    }
}

/// Beginning and end of a long text: the reason stands at either.
pub(super) fn cut(text: &str) -> String {
    if text.len() <= DETAIL_BYTES {
        return text.to_owned();
    }
    let half = DETAIL_BYTES / 2;
    format!(
        "{} … {}",
        &text[..text.floor_char_boundary(half)],
        &text[text.ceil_char_boundary(text.len() - half)..]
    )
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    fn answer(verb: Verb, reply: Document) -> Answer {
        read(&reply, verb, 3, "db.reports")
    }

    fn reasons(answer: &Answer) -> Vec<&str> {
        let word = |verdict: &Verdict| match verdict {
            Verdict::Delivered => "delivered",
            Verdict::Retry(_) => "retry",
            Verdict::Rejected(rejection) => rejection.reason,
        };
        answer.verdicts.iter().map(word).collect()
    }

    /// What the second of three documents is, for an error.
    fn second(verb: Verb, error: Document) -> (String, u64) {
        let mut error = error;
        error.insert("index", 1);
        let answer = answer(verb, doc! {"ok": 1.0, "n": 2, "writeErrors": [error]});
        let reasons = reasons(&answer);
        assert_eq!((reasons[0], reasons[2]), ("delivered", "delivered"), "its neighbours are stored");
        (reasons[1].to_owned(), answer.already_there)
    }

    #[test]
    fn what_no_error_names_is_delivered() {
        for n in [doc! {"n": 3}, doc! {"n": 3_i64}, doc! {"n": 3.0}] {
            assert_eq!(reasons(&answer(Verb::Insert, n)), ["delivered"; 3]);
        }
    }

    #[test]
    fn a_duplicate_key_is_already_there_only_for_our_id_and_the_index_on_it() {
        let duplicate = |index: &str, keys: Option<Document>| {
            let text = format!(
                "E11000 duplicate key error collection: db.reports index: {index} dup key: {{ x: 1 }}"
            );
            let mut error = doc! {"code": DUPLICATE_KEY, "errmsg": text};
            error.extend(keys.map(|keys| doc! {"keyPattern": keys}).unwrap_or_default());
            error
        };
        // Of MongoDB 4.4 and newer, and of one that leaves the pattern out.
        for keys in [Some(doc! {"_id": 1}), None] {
            assert_eq!(second(Verb::Insert, duplicate("_id_", keys.clone())), ("delivered".into(), 1));
            assert_eq!(second(Verb::Upsert, duplicate("_id_", keys)), ("retry".into(), 0));
        }
        for keys in [Some(doc! {"name": 1}), Some(doc! {"_id": 1, "name": 1}), None] {
            assert_eq!(second(Verb::Insert, duplicate("name_1", keys.clone())), ("duplicate_key".into(), 0));
            assert_eq!(second(Verb::Upsert, duplicate("name_1", keys)), ("duplicate_key".into(), 0));
        }
        // A key is a text of the report, and says what it likes.
        let forged = doc! {
            "code": DUPLICATE_KEY,
            "errmsg": "E11000 duplicate key error collection: db.reports index: name_1 dup key: { name: \"index: _id_ dup key\" }"
        };
        assert_eq!(second(Verb::Insert, forged).0, "duplicate_key");
        // Behind a megabyte of errors there is no text.
        assert_eq!(second(Verb::Insert, doc! {"code": DUPLICATE_KEY, "errmsg": ""}).0, "retry");
    }

    #[test]
    fn an_error_of_the_document_rejects_it_and_one_of_the_server_waits() {
        assert_eq!(second(Verb::Insert, doc! {"code": 121, "errmsg": "x"}).0, "validation");
        assert_eq!(second(Verb::Insert, doc! {"code": 10334, "errmsg": "x"}).0, "too_large");
        assert_eq!(second(Verb::Insert, doc! {"code": 2, "errmsg": "x"}).0, "refused");
        for code in NOT_NOW {
            assert_eq!(second(Verb::Insert, doc! {"code": code, "errmsg": "x"}).0, "retry");
        }
    }

    #[test]
    fn what_is_less_safe_than_asked_for_is_sent_again() {
        let reply = doc! {
            "n": 1,
            "writeErrors": [
                {"index": 0, "code": 121, "errmsg": "x"},
                {"index": 1, "code": DUPLICATE_KEY, "keyPattern": {"_id": 1}, "errmsg": ""},
            ],
            "writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"},
        };
        let answer = answer(Verb::Insert, reply);
        assert_eq!(reasons(&answer), ["validation", "retry", "retry"]);
        assert_eq!(answer.already_there, 0);
        let Verdict::Retry(why) = &answer.verdicts[2] else { panic!() };
        assert!(why.contains("`w`") && why.contains("timed out"), "{why}");
    }

    #[test]
    fn what_nobody_vouches_for_is_sent_again() {
        assert_eq!(reasons(&answer(Verb::Insert, doc! {"n": 2})), ["retry"; 3]);
        assert_eq!(reasons(&answer(Verb::Insert, doc! {"ok": 1.0})), ["retry"; 3]);
        let elsewhere = doc! {"n": 2, "writeErrors": [{"index": 3, "code": 121, "errmsg": "x"}]};
        assert_eq!(reasons(&answer(Verb::Insert, elsewhere)), ["retry"; 3]);
    }

    #[test]
    fn a_command_is_refused_for_a_document_or_waits() {
        for code in DOCUMENT_TO_BLAME {
            assert!(matches!(refusal(code, "x"), Refusal::Documents(_)));
        }
        // Bad values of our own making too: a configuration can be mended while the reports wait.
        for (code, part) in [
            (13, "readWrite"),
            (18, "`password`"),
            (100, "mend `w`"),
            (2, "cannot use 'w' > 1"),
            (10107, "(code 10107)"),
        ] {
            let Refusal::NotNow(why) = refusal(code, "cannot use 'w' > 1") else { panic!("{code}") };
            assert!(why.contains(part), "{why}");
        }
    }

    #[test]
    fn a_quoted_value_does_not_flood_the_log() {
        let text = format!("dup key: {}", "é".repeat(60_000));
        let Refusal::Documents(rejection) = refusal(22, &text) else { panic!() };
        assert!(rejection.detail.len() < 400);
    }
}
