//! JSON as the server reads it, and what it makes of it. After `rapidjson/reader.h` and `rdb_protocol/datum.cc`.

use serde_json::{Map, Number, Value};

/// JSON as it was sent: names may repeat, and every number is a double.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Scalar(Value),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Reads all of `bytes`. None: it is no JSON to the server.
pub(super) fn parse(bytes: &[u8]) -> Option<Json> {
    let mut parser = Parser { bytes, at: 0 };
    let json = parser.value()?;
    parser.space();
    (parser.at == bytes.len()).then_some(json)
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.space();
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Option<Json> {
        self.space();
        match self.peek()? {
            b'[' => {
                let mut elements = Vec::new();
                self.list(b'[', b']', |parser| {
                    elements.push(parser.value()?);
                    Some(())
                })?;
                Some(Json::Array(elements))
            }
            b'{' => {
                let mut members = Vec::new();
                self.list(b'{', b'}', |parser| {
                    parser.space();
                    let name = parser.string()?;
                    parser.take(b':')?;
                    members.push((name, parser.value()?));
                    Some(())
                })?;
                Some(Json::Object(members))
            }
            b'"' => Some(Json::Scalar(Value::String(self.string()?))),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.word(),
        }
    }

    fn list(&mut self, open: u8, close: u8, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(open)?;
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            each(self)?;
            if self.take(close).is_some() {
                return Some(());
            }
            self.take(b',')?;
        }
    }

    fn string(&mut self) -> Option<String> {
        let from = self.at;
        self.take(b'"')?;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        serde_json::from_slice(&self.bytes[from..self.at]).ok()
    }

    fn number(&mut self) -> Option<Json> {
        let rest = &self.bytes[self.at..];
        let is_part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
        let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        self.at += length;
        let text = str::from_utf8(&rest[..length]).ok()?;
        let number: f64 = serde_json::from_str(text).ok()?;
        // `kParseErrorNumberTooBig`: whatever stands before it.
        if let Some((_, exponent)) = text.split_once(['e', 'E'])
            && exponent.trim_start_matches('+').parse::<i64>().is_ok_and(|exponent| exponent > 308)
        {
            return None;
        }
        Some(Json::Scalar(double(number)))
    }

    fn word(&mut self) -> Option<Json> {
        for (word, value) in [("null", Value::Null), ("true", true.into()), ("false", false.into())] {
            if self.bytes[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Some(Json::Scalar(value));
            }
        }
        None
    }
}

/// A number as the server prints it: an integer without a point, if it is one that a double holds.
pub(super) fn double(number: f64) -> Value {
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= LARGEST && !(number == 0.0 && number.is_sign_negative()) {
        return Value::Number((number as i64).into());
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// The datum that a piece of JSON stands for, or the text of what is wrong with it (`to_datum`).
pub(super) fn datum(json: &Json) -> Result<Value, String> {
    match json {
        Json::Scalar(value) => Ok(value.clone()),
        Json::Array(elements) => elements.iter().map(datum).collect(),
        Json::Object(members) => {
            let mut object = Map::new();
            for (name, value) in members {
                if object.insert(name.clone(), datum(value)?).is_some() {
                    return Err(format!("Duplicate key {} in JSON.", Value::from(&**name)));
                }
            }
            pseudotype(object)
        }
    }
}

/// `maybe_sanitize_ptype`: what an object with `$reql_type$` is.
fn pseudotype(mut object: Map<String, Value>) -> Result<Value, String> {
    let Some(kind) = object.get("$reql_type$") else { return Ok(object.into()) };
    let Some(kind) = kind.as_str() else {
        return Err(format!("Error: Field `$reql_type$` must be a string (got `{kind}`)"));
    };
    match kind {
        "TIME" => {
            let wrong = |why: &str| Err(format!("Invalid time object constructed ({why}):"));
            let allowed = ["$reql_type$", "epoch_time", "timezone"];
            if let Some(name) = object.keys().find(|name| !allowed.contains(&name.as_str())) {
                return wrong(&format!("unrecognized field `{name}`"));
            }
            let Some(epoch) = object.get("epoch_time").and_then(Value::as_f64) else {
                return wrong("no field `epoch_time`");
            };
            if !object.get("timezone").and_then(Value::as_str).is_some_and(is_timezone) {
                return wrong("no field `timezone`");
            }
            // A time has milliseconds.
            object.insert("epoch_time".to_owned(), double((epoch * 1000.0).round() / 1000.0));
            Ok(object.into())
        }
        "BINARY" | "GEOMETRY" => Ok(object.into()),
        "LITERAL" => {
            Err("Stray literal keyword found: literal is only legal inside of the object passed to merge \
                          or update and cannot nest inside other literals."
                .to_owned())
        }
        _ => Err(format!("Unknown $reql_type$ `PTYPE<{kind}>`.")),
    }
}

fn is_timezone(text: &str) -> bool {
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.strip_prefix(['+', '-']).and_then(|rest| rest.split_once(':')) {
        Some((hours, minutes)) => digits(hours) && digits(minutes),
        None => text == "Z",
    }
}
