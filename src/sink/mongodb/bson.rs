//! Writing BSON: documents go straight into a body, field by field. The format is <https://bsonspec.org/spec.html>.

use crate::record::{Number, Text};

/// Types of elements.
const DOUBLE: u8 = 0x01;
const STRING: u8 = 0x02;
const DOCUMENT: u8 = 0x03;
const ARRAY: u8 = 0x04;
const BOOL: u8 = 0x08;
const DATE: u8 = 0x09;
const NULL: u8 = 0x0a;
const INT_32: u8 = 0x10;
const INT_64: u8 = 0x12;

/// A document or an array on its way into a body. It is whole when it is closed.
#[derive(Debug)]
pub(super) struct Open<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    /// Elements of an array so far; its keys are their numbers.
    elements: u32,
}

impl<'a> Open<'a> {
    /// Begins a document behind what is in `out`.
    pub(super) fn document(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        Open { out, start, elements: 0 }
    }

    /// Ends it.
    pub(super) fn close(self) {
        self.out.push(0);
        set_length(self.out, self.start);
    }

    /// Begins a document in this one.
    pub(super) fn open_document(&mut self, key: &str) -> Open<'_> {
        self.key(DOCUMENT, key);
        Open::document(self.out)
    }

    /// Begins an array in this document.
    pub(super) fn open_array(&mut self, key: &str) -> Open<'_> {
        self.key(ARRAY, key);
        Open::document(self.out)
    }

    /// Writes a text as it reads.
    pub(super) fn text(&mut self, key: &str, text: Text<'_>) {
        self.string(key, |out| text.write(out));
    }

    /// Writes what `write` appends, which must be UTF-8.
    pub(super) fn string(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(STRING, key);
        let start = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        write(self.out);
        self.out.push(0);
        let length = (self.out.len() - start - 4) as u32;
        self.out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// Writes an integer of 64 bits as one, in 32 where it fits, as MongoDB's drivers do; any other number as a double.
    pub(super) fn number(&mut self, key: &str, number: Number) {
        match number {
            Number::Int(int) => match i32::try_from(int) {
                Ok(int) => self.bytes(INT_32, key, &int.to_le_bytes()),
                Err(_) => self.int_64(key, int),
            },
            Number::Uint(_) | Number::Float(_) => self.bytes(DOUBLE, key, &number.as_f64().to_le_bytes()),
        }
    }

    /// Writes an integer in 64 bits.
    pub(super) fn int_64(&mut self, key: &str, int: i64) {
        self.bytes(INT_64, key, &int.to_le_bytes());
    }

    /// Writes true or false.
    pub(super) fn bool(&mut self, key: &str, bool: bool) {
        self.bytes(BOOL, key, &[u8::from(bool)]);
    }

    /// Writes milliseconds since 1970.
    pub(super) fn date(&mut self, key: &str, millis: i64) {
        self.bytes(DATE, key, &millis.to_le_bytes());
    }

    /// Writes null.
    pub(super) fn null(&mut self, key: &str) {
        self.key(NULL, key);
    }

    /// Writes a whole document.
    pub(super) fn raw_document(&mut self, key: &str, document: &[u8]) {
        self.bytes(DOCUMENT, key, document);
    }

    /// The key of the next element of this array.
    pub(super) fn next_key<'d>(&mut self, digits: &'d mut [u8; 10]) -> &'d str {
        let number = self.elements;
        self.elements += 1;
        decimal(number, digits)
    }

    fn bytes(&mut self, kind: u8, key: &str, bytes: &[u8]) {
        self.key(kind, key);
        self.out.extend_from_slice(bytes);
    }

    /// Writes a type and a key, which must not hold NUL: it ends there.
    fn key(&mut self, kind: u8, key: &str) {
        debug_assert!(!key.contains('\0'), "{key:?}");
        self.out.push(kind);
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(0);
    }
}

/// A document whose last field is an array of documents that grows.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Vec<u8>,
    array: usize,
    elements: u32,
}

impl Body {
    /// One with the fields that `fill` writes and an empty array `key`, with room for `capacity` bytes.
    pub(super) fn new(capacity: usize, key: &str, fill: impl FnOnce(&mut Open<'_>)) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        let mut document = Open::document(&mut bytes);
        fill(&mut document);
        let array = document.open_array(key).start;
        Body { bytes, array, elements: 0 }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Puts the document that `write` appends behind the others.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.bytes.push(DOCUMENT);
        self.bytes.extend_from_slice(decimal(self.elements, &mut [0; 10]).as_bytes());
        self.bytes.push(0);
        write(&mut self.bytes);
        self.elements += 1;
    }

    /// The whole document.
    pub(super) fn finish(mut self) -> Vec<u8> {
        for start in [self.array, 0] {
            self.bytes.push(0);
            set_length(&mut self.bytes, start);
        }
        self.bytes
    }
}

/// Writes the length of the document that begins at `start` and ends here: 4 bytes of its own included.
fn set_length(out: &mut [u8], start: usize) {
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &str {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            // Digits are ASCII.
            return str::from_utf8(&digits[at..]).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Bson, Document, doc};

    use super::*;

    #[test]
    fn every_type_reads_back() {
        let mut out = b"before".to_vec();
        let mut document = Open::document(&mut out);
        document.text("text", Text::plain(b"a\0\xff"));
        document.number("small", Number::Int(-7));
        document.number("large", Number::Int(i64::MIN));
        document.number("larger", Number::Uint(u64::MAX));
        document.number("float", Number::Float(0.5));
        document.bool("bool", true);
        document.date("date", -1);
        document.null("null");
        let mut array = document.open_array("array");
        for n in 0..12 {
            let mut digits = [0; 10];
            let key = array.next_key(&mut digits);
            array.number(key, Number::Int(n));
        }
        array.raw_document("12", &[5, 0, 0, 0, 0]);
        array.close();
        document.open_document("").close();
        document.close();
        let read = Document::from_reader(&out[6..]).unwrap();
        let mut array: Vec<Bson> = (0..12).map(Bson::Int32).collect();
        array.push(doc! {}.into());
        let expected = doc! {
            "text": "a\0\u{fffd}", "small": -7, "large": i64::MIN, "larger": u64::MAX as f64, "float": 0.5, "bool": true,
            "date": mongodb::bson::DateTime::from_millis(-1), "null": null, "array": array, "": {},
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn a_body_grows_by_whole_documents() {
        let mut body = Body::new(0, "all", |document| document.number("n", Number::Int(1)));
        let empty = body.len();
        for n in 0..11 {
            body.push(|out| {
                let mut element = Open::document(out);
                element.number("n", Number::Int(n));
                element.close();
            });
        }
        assert!(body.len() > empty);
        let read = Document::from_reader(&body.finish()[..]).unwrap();
        let all: Vec<Document> = (0..11).map(|n| doc! {"n": n}).collect();
        assert_eq!(read, doc! {"n": 1, "all": all});
    }

    #[test]
    fn keys_of_an_array_are_its_numbers() {
        let mut digits = [0; 10];
        for (number, text) in [(0, "0"), (10, "10"), (u32::MAX, "4294967295")] {
            assert_eq!(decimal(number, &mut digits), text);
        }
    }
}
