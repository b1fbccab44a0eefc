//! From the values of a pickle to JSON, with a stack of its own in place of recursion.

use std::slice::Iter;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::node::{Id, Node, Nodes, Value};
use super::{Error, Limits};
use crate::record::Text;

/// A list or dict that is being written.
enum Open<'n> {
    List(Iter<'n, Id>),
    Dict(Iter<'n, (Id, Id)>),
}

/// Appends `value`. It may leave half of it behind when it fails.
pub(super) fn json(value: &Value<'_>, limits: Limits, out: &mut Vec<u8>) -> Result<(), Error> {
    let end = out.len() + limits.json;
    let nodes = &value.nodes;
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut next = value.root;
    loop {
        match nodes.get(next) {
            Node::List(_) | Node::Dict(_) if open.len() == limits.depth => {
                return Err(Error::TooMany("levels of lists and dicts"));
            }
            Node::List(items) => {
                out.push(b'[');
                open.push(Open::List(items.iter()));
            }
            Node::Dict(members) => {
                out.push(b'{');
                open.push(Open::Dict(members.iter()));
            }
            node => scalar(node, out)?,
        }
        // What is complete is closed, until one has another item.
        next = loop {
            if out.len() > end {
                return Err(Error::TooMany("bytes as JSON"));
            }
            let Some(last) = open.last_mut() else { return Ok(()) };
            let (item, bracket) = match last {
                Open::List(items) => (items.next().map(|item| (None, *item)), b']'),
                Open::Dict(members) => (members.next().map(|(key, item)| (Some(*key), *item)), b'}'),
            };
            let Some((key, item)) = item else {
                out.push(bracket);
                open.pop();
                continue;
            };
            if !matches!(out.last(), Some(b'[' | b'{')) {
                out.push(b',');
            }
            if let Some(key) = key {
                name(nodes, key, out)?;
                out.push(b':');
            }
            break item;
        };
    }
}

/// Appends what is neither a list nor a dict.
fn scalar(node: &Node<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    match node {
        Node::None => out.extend_from_slice(b"null"),
        Node::Bool(is_true) => out.extend_from_slice(if *is_true { b"true" } else { b"false" }),
        Node::Int(int) => out.extend_from_slice(int.to_string().as_bytes()),
        // With `.0` where it is whole, so that it stays a float, and an exponent where it is large.
        Node::Float(float) if float.is_finite() => out.extend_from_slice(format!("{float:?}").as_bytes()),
        Node::Float(_) => return Err(Error::NotFinite),
        Node::Digits(digits) => out.extend_from_slice(digits.as_bytes()),
        Node::Text(text) => Text::plain(text.as_bytes()).write_json(out),
        Node::Bytes(bytes) => match str::from_utf8(bytes) {
            Ok(_) => Text::plain(bytes).write_json(out),
            Err(_) => Text::plain(STANDARD.encode(bytes).as_bytes()).write_json(out),
        },
        Node::Delta(micros) => {
            let (sign, micros) = (if *micros < 0 { "-" } else { "" }, micros.unsigned_abs());
            let text = format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            let text = text.trim_end_matches('0').trim_end_matches('.');
            out.extend_from_slice(text.as_bytes());
        }
        Node::Uuid => return Err(Error::Unwritable("a UUID without its number")),
        Node::Zone(_) => return Err(Error::Unwritable("a timezone")),
        Node::Name(_) => return Err(Error::Unwritable("a class")),
        Node::List(_) | Node::Dict(_) => return Err(Error::Unwritable("a list or dict as a key")),
    }
    Ok(())
}

/// Appends a key as Python's `json` spells it: a text always.
fn name(nodes: &Nodes<'_>, key: Id, out: &mut Vec<u8>) -> Result<(), Error> {
    let node = nodes.get(key);
    if matches!(node, Node::Text(_) | Node::Bytes(_)) {
        return scalar(node, out);
    }
    out.push(b'"');
    scalar(node, out)?;
    out.push(b'"');
    Ok(())
}
