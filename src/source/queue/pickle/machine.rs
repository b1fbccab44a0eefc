//! The stack machine: one step for each operation.

use std::borrow::Cow;

use super::build::build;
use super::cursor::Cursor;
use super::name::Name;
use super::node::{Id, Node, Nodes, Value};
use super::{Error, MAX_OPERATIONS, number, text};

/// The newest protocol there is.
const NEWEST: u8 = 5;

/// A machine that runs one pickle.
#[derive(Debug)]
pub(super) struct Machine<'p> {
    input: Cursor<'p>,
    nodes: Nodes<'p>,
    stack: Vec<Id>,
    /// Where in the stack the marks stand.
    marks: Vec<usize>,
    memo: Vec<Option<Id>>,
    /// Values in the memo: MEMOIZE puts the next one behind them.
    memoized: usize,
    /// Operations that are left. What a name copies of its arguments counts as so many.
    left: usize,
}

impl<'p> Machine<'p> {
    pub(super) fn new(pickle: &'p [u8]) -> Self {
        Machine {
            input: Cursor::new(pickle),
            nodes: Nodes::default(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
            memoized: 0,
            left: MAX_OPERATIONS,
        }
    }

    /// Runs to the end, which is STOP; what stands behind it is not looked at, as in Python.
    pub(super) fn run(mut self) -> Result<Value<'p>, Error> {
        loop {
            self.spend(1)?;
            let operation = self.input.byte()?;
            if operation == b'.' {
                let root = self.pop()?;
                return Ok(Value { nodes: self.nodes, root });
            }
            self.step(operation)?;
        }
    }

    /// Runs until there is a first value, and gives it if it is a text.
    pub(super) fn first_text(mut self) -> Option<String> {
        while self.stack.is_empty() {
            self.spend(1).ok()?;
            let operation = self.input.byte().ok()?;
            self.step(operation).ok()?;
        }
        match self.nodes.get(self.stack[0]) {
            Node::Text(text) => Some(text.clone().into_owned()),
            Node::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok(),
            _ => None,
        }
    }

    fn spend(&mut self, operations: usize) -> Result<(), Error> {
        self.left = self.left.checked_sub(operations).ok_or(Error::TooMany("operations"))?;
        Ok(())
    }

    fn step(&mut self, operation: u8) -> Result<(), Error> {
        match operation {
            // PROTO, FRAME
            0x80 if self.input.byte()? <= NEWEST => Ok(()),
            0x80 => Err(Error::Broken("its protocol is not known")),
            0x95 => self.input.u64().map(drop),

            // NONE, NEWTRUE, NEWFALSE
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            // INT, LONG, BININT, BININT1, BININT2, LONG1, LONG4
            b'I' => match self.input.line()? {
                b"00" => self.push(Node::Bool(false)),
                b"01" => self.push(Node::Bool(true)),
                digits => self.push(number::decimal(digits)?),
            },
            b'L' => {
                let line = self.input.line()?;
                self.push(number::decimal(line.strip_suffix(b"L").unwrap_or(line))?)
            }
            b'J' => {
                let int = self.input.i32()?;
                self.push(Node::Int(int.into()))
            }
            b'K' => {
                let int = self.input.byte()?;
                self.push(Node::Int(int.into()))
            }
            b'M' => {
                let int = self.input.array().map(u16::from_le_bytes)?;
                self.push(Node::Int(int.into()))
            }
            0x8a => {
                let length = self.input.byte()?;
                let bytes = self.input.bytes(length.into())?;
                self.push(number::little_endian(bytes)?)
            }
            0x8b => {
                let bytes = self.take_signed()?;
                self.push(number::little_endian(bytes)?)
            }
            // FLOAT, BINFLOAT
            b'F' => {
                let float = number::float(self.input.line()?)?;
                self.push(Node::Float(float))
            }
            b'G' => {
                let float = self.input.array().map(f64::from_be_bytes)?;
                self.push(Node::Float(float))
            }

            // STRING, BINSTRING, SHORT_BINSTRING: the `str` of Python 2
            b'S' => {
                let bytes = text::quoted(self.input.line()?)?;
                self.push(Node::Bytes(bytes))
            }
            b'T' => {
                let bytes = self.take_signed()?;
                self.push(Node::Bytes(bytes.into()))
            }
            b'U' => self.bytes_of_short(),
            // BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
            b'B' => {
                let length = self.input.u32()?;
                self.bytes_of(length)
            }
            b'C' => self.bytes_of_short(),
            0x8e | 0x96 => {
                let length = self.input.u64()?;
                self.bytes_of(length)
            }
            // UNICODE, BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
            b'V' => {
                let text = text::raw_unicode_escape(self.input.line()?)?;
                self.push(Node::Text(text))
            }
            b'X' => {
                let length = self.input.u32()?;
                self.text_of(length)
            }
            0x8c => {
                let length = self.input.byte()?;
                self.text_of(length.into())
            }
            0x8d => {
                let length = self.input.u64()?;
                self.text_of(length)
            }

            // EMPTY_LIST, EMPTY_TUPLE, EMPTY_SET, LIST, TUPLE, FROZENSET, TUPLE1, TUPLE2, TUPLE3
            b']' | b')' | 0x8f => self.push(Node::List(Vec::new())),
            b'l' | b't' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push(Node::List(items))
            }
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(operation - 0x84))?;
                self.push(Node::List(items))
            }
            // APPEND, APPENDS, ADDITEMS
            b'a' => {
                let item = self.pop()?;
                let list = self.top()?;
                self.nodes.list(list)?.push(item);
                Ok(())
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                let list = self.top()?;
                self.nodes.list(list)?.extend(items);
                Ok(())
            }
            // EMPTY_DICT, DICT, SETITEM, SETITEMS
            b'}' => self.push(Node::Dict(Vec::new())),
            b'd' => {
                let members = pairs(&self.pop_to_mark()?)?;
                self.push(Node::Dict(members))
            }
            b's' => {
                let members = pairs(&self.pop_many(2)?)?;
                self.put(members)
            }
            b'u' => {
                let members = pairs(&self.pop_to_mark()?)?;
                self.put(members)
            }

            // MARK, POP, POP_MARK, DUP
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' if self.marks.last() == Some(&self.stack.len()) => {
                self.marks.pop();
                Ok(())
            }
            b'0' => self.pop().map(drop),
            b'1' => self.pop_to_mark().map(drop),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            // GET, BINGET, LONG_BINGET
            b'g' => {
                let index = number::index(self.input.line()?)?;
                self.recall(index)
            }
            b'h' => {
                let index = self.input.byte()?;
                self.recall(index.into())
            }
            b'j' => {
                let index = self.input.u32()?;
                self.recall(index)
            }
            // PUT, BINPUT, LONG_BINPUT, MEMOIZE
            b'p' => {
                let index = number::index(self.input.line()?)?;
                self.memoize(index)
            }
            b'q' => {
                let index = self.input.byte()?;
                self.memoize(index.into())
            }
            b'r' => {
                let index = self.input.u32()?;
                self.memoize(index)
            }
            0x94 => self.memoize(self.memoized as u64),

            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.input.line()?, self.input.line()?);
                let name = Name::of(&String::from_utf8_lossy(module), &String::from_utf8_lossy(name))?;
                self.push(Node::Name(name))
            }
            0x93 => {
                let parts = self.pop_many(2)?;
                let text = |id| match self.nodes.get(id) {
                    Node::Text(text) => Ok(text),
                    _ => Err(Error::Broken("a name is no text")),
                };
                let name = Name::of(text(parts[0])?, text(parts[1])?)?;
                self.push(Node::Name(name))
            }
            // REDUCE, NEWOBJ: a name with its arguments
            b'R' | 0x81 => {
                let parts = self.pop_many(2)?;
                self.spend(self.nodes.cost(parts[1]))?;
                let node = build(&self.nodes, parts[0], parts[1])?;
                self.push(node)
            }
            // BUILD
            b'b' => {
                let state = self.pop()?;
                self.spend(self.nodes.cost(state))?;
                let built = self.top()?;
                self.nodes.complete(built, state)
            }
            // All others: INST, OBJ, NEWOBJ_EX, PERSID, BINPERSID, EXT1 and so on.
            other => Err(Error::Operation(other)),
        }
    }

    fn push(&mut self, node: Node<'p>) -> Result<(), Error> {
        let id = self.nodes.add(node);
        self.stack.push(id);
        Ok(())
    }

    /// Where the stack ends for who takes from it: at the last mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, Error> {
        self.stack[self.floor()..].last().copied().ok_or(Error::Broken("its stack is empty"))
    }

    fn pop(&mut self) -> Result<Id, Error> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, Error> {
        let from = self.stack.len().checked_sub(count).filter(|from| *from >= self.floor());
        Ok(self.stack.split_off(from.ok_or(Error::Broken("its stack is empty"))?))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Error> {
        let mark = self.marks.pop().ok_or(Error::Broken("a mark is missing"))?;
        Ok(self.stack.split_off(mark))
    }

    /// Puts members into the dict on top.
    fn put(&mut self, members: Vec<(Id, Id)>) -> Result<(), Error> {
        let dict = self.top()?;
        self.nodes.dict(dict)?.extend(members);
        Ok(())
    }

    fn memoize(&mut self, index: u64) -> Result<(), Error> {
        let top = self.top()?;
        // Pickles number from 0 or 1 on, one more with each value.
        let index = usize::try_from(index).ok().filter(|index| *index <= MAX_OPERATIONS);
        let index = index.ok_or(Error::TooMany("values in its memo"))?;
        if index >= self.memo.len() {
            self.memo.resize(index + 1, None);
        }
        self.memoized += usize::from(self.memo[index].is_none());
        self.memo[index] = Some(top);
        Ok(())
    }

    fn recall(&mut self, index: u64) -> Result<(), Error> {
        let found = usize::try_from(index).ok().and_then(|index| *self.memo.get(index)?);
        self.stack.push(found.ok_or(Error::Broken("its memo has no such value"))?);
        Ok(())
    }

    /// Bytes behind a length with a sign.
    fn take_signed(&mut self) -> Result<&'p [u8], Error> {
        let length = u64::try_from(self.input.i32()?);
        self.input.bytes(length.map_err(|_| Error::Broken("a length is below 0"))?)
    }

    fn bytes_of(&mut self, length: u64) -> Result<(), Error> {
        let bytes = self.input.bytes(length)?;
        self.push(Node::Bytes(bytes.into()))
    }

    fn bytes_of_short(&mut self) -> Result<(), Error> {
        let length = self.input.byte()?;
        self.bytes_of(length.into())
    }

    /// A text in UTF-8. Python lets halves of surrogate pairs through: they read as U+FFFD, as in the protocol.
    fn text_of(&mut self, length: u64) -> Result<(), Error> {
        let text: Cow<'p, str> = String::from_utf8_lossy(self.input.bytes(length)?);
        self.push(Node::Text(text))
    }
}

/// Items two by two.
fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, Error> {
    match items.as_chunks() {
        (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err(Error::Broken("a key has no value")),
    }
}
