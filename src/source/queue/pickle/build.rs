//! The values that a name and its arguments stand for.

use super::Error;
use super::name::Name;
use super::node::{Id, Node, Nodes};
use crate::record::json;

const BAD_ARGUMENTS: Error = Error::Broken("a name has arguments that do not fit it");

/// The value that the name at `name` with the arguments at `arguments` stands for.
pub(super) fn build<'p>(nodes: &Nodes<'p>, name: Id, arguments: Id) -> Result<Node<'p>, Error> {
    let Node::Name(name) = nodes.get(name) else {
        return Err(Error::Broken("something is called that is no name"));
    };
    let Node::List(arguments) = nodes.get(arguments) else { return Err(BAD_ARGUMENTS) };
    let arguments: Vec<_> = arguments.iter().map(|&id| nodes.get(id)).collect();
    match (name, arguments.as_slice()) {
        (Name::DateTime, [Node::Bytes(state)]) => date_time(state, None),
        (Name::DateTime, [Node::Bytes(state), Node::Zone(east)]) => date_time(state, Some(*east)),
        (Name::Date, [Node::Bytes(state)]) => date(state),
        (Name::TimeDelta, [Node::Int(days), Node::Int(seconds), Node::Int(micros)]) => {
            let [days, seconds, micros] = [days, seconds, micros].map(|&part| i128::from(part));
            Ok(Node::Delta((days * 86_400 + seconds) * 1_000_000 + micros))
        }
        // A second argument is its name.
        (Name::TimeZone, [Node::Delta(east)] | [Node::Delta(east), _]) => {
            let seconds = i32::try_from(east / 1_000_000).ok().filter(|seconds| seconds.abs() < 86_400);
            seconds.map(Node::Zone).ok_or(BAD_ARGUMENTS)
        }
        (Name::Decimal, [Node::Text(text)]) => decimal(text),
        (Name::Decimal, [Node::Bytes(text)]) => decimal(&String::from_utf8_lossy(text)),
        (Name::OrderedDict, []) | (Name::DefaultDict, [] | [Node::Name(_) | Node::None]) => {
            Ok(Node::Dict(Vec::new()))
        }
        (Name::OrderedDict, [Node::List(items)]) => {
            let pair = |&item| match nodes.get(item) {
                Node::List(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
                _ => Err(BAD_ARGUMENTS),
            };
            items.iter().map(pair).collect::<Result<_, _>>().map(Node::Dict)
        }
        (Name::Counter, [Node::Dict(members)]) => Ok(Node::Dict(members.clone())),
        (Name::Uuid, []) => Ok(Node::Uuid),
        (Name::Set, []) => Ok(Node::List(Vec::new())),
        (Name::Set, [Node::List(items)]) => Ok(Node::List(items.clone())),
        (Name::Bytes, []) => Ok(Node::Bytes(Vec::new().into())),
        (Name::Bytes, [Node::Text(text), Node::Text(encoding)]) if encoding == "latin1" => {
            let bytes = text.chars().map(|letter| u8::try_from(letter).map_err(|_| BAD_ARGUMENTS));
            bytes.collect::<Result<Vec<u8>, _>>().map(|bytes| Node::Bytes(bytes.into()))
        }
        _ => Err(BAD_ARGUMENTS),
    }
}

/// A datetime's state: year, month (its highest bit is the fold), day, hour, minute, second and microseconds.
fn date_time<'p>(state: &[u8], east: Option<i32>) -> Result<Node<'p>, Error> {
    let &[y0, y1, month, day, hour, minute, second, u0, u1, u2] = state else { return Err(BAD_ARGUMENTS) };
    let mut text = calendar([y0, y1, month & 0x7f, day])?;
    let micros = u32::from_be_bytes([0, u0, u1, u2]);
    if hour > 23 || minute > 59 || second > 59 || micros > 999_999 {
        return Err(BAD_ARGUMENTS);
    }
    text += &format!("T{hour:02}:{minute:02}:{second:02}");
    if micros > 0 {
        text += &format!(".{micros:06}");
    }
    if let Some(east) = east {
        let (sign, east) = (if east < 0 { '-' } else { '+' }, east.unsigned_abs());
        text += &format!("{sign}{:02}:{:02}", east / 3600, east / 60 % 60);
        if east % 60 > 0 {
            text += &format!(":{:02}", east % 60);
        }
    }
    Ok(Node::Text(text.into()))
}

/// A date's state: year, month and day.
fn date<'p>(state: &[u8]) -> Result<Node<'p>, Error> {
    let state = state.try_into().map_err(|_| BAD_ARGUMENTS)?;
    calendar(state).map(|text| Node::Text(text.into()))
}

fn calendar([y0, y1, month, day]: [u8; 4]) -> Result<String, Error> {
    let year = u16::from_be_bytes([y0, y1]);
    let is_date = (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if is_date { Ok(format!("{year:04}-{month:02}-{day:02}")) } else { Err(BAD_ARGUMENTS) }
}

/// A Decimal from its text.
fn decimal<'p>(text: &str) -> Result<Node<'p>, Error> {
    if json::is_number(text.as_bytes()) {
        return Ok(Node::Digits(text.to_owned()));
    }
    match text.trim_start_matches(['-', '+']) {
        "Infinity" => Ok(Node::Float(f64::INFINITY)),
        rest if rest.trim_start_matches('s').starts_with("NaN") => Ok(Node::Float(f64::NAN)),
        _ => Err(BAD_ARGUMENTS),
    }
}
