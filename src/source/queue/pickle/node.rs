//! The values of a pickle. They refer to each other by number, so that what is shared or holds itself is no trouble.

use std::borrow::Cow;

use uuid::Uuid;

use super::Error;
use super::name::Name;

/// The number of a node.
pub(super) type Id = u32;

/// One value.
#[derive(Debug, Clone)]
pub(super) enum Node<'p> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// A number as JSON spells it: an integer that is too large for `Int`, or a Decimal.
    Digits(String),
    Text(Cow<'p, str>),
    Bytes(Cow<'p, [u8]>),
    /// Tuples and sets too: JSON has nothing else for them.
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A timedelta, in microseconds: more than 64 bits hold.
    Delta(i128),
    /// A timezone: seconds east of Greenwich.
    Zone(i32),
    /// A UUID before BUILD, which gives it its number.
    Uuid,
    /// A class or function that is on the list; never a value of its own.
    Name(Name),
}

/// All values of a pickle.
#[derive(Debug, Default)]
pub(super) struct Nodes<'p>(Vec<Node<'p>>);

/// What a pickle describes.
#[derive(Debug)]
pub(super) struct Value<'p> {
    pub(super) nodes: Nodes<'p>,
    pub(super) root: Id,
}

impl<'p> Nodes<'p> {
    /// Adds a value. There are no more of them than operations, each of which adds one at most.
    pub(super) fn add(&mut self, node: Node<'p>) -> Id {
        self.0.push(node);
        (self.0.len() - 1) as Id
    }

    pub(super) fn get(&self, id: Id) -> &Node<'p> {
        &self.0[id as usize]
    }

    /// What looking at the members of the dict at `id` may cost, or copying the items of a list, one level deep.
    pub(super) fn cost(&self, id: Id) -> usize {
        let items = match self.get(id) {
            Node::List(items) => items,
            Node::Dict(members) => return members.len(),
            _ => return 0,
        };
        let size = |id: &Id| match self.get(*id) {
            Node::List(items) => items.len(),
            Node::Dict(members) => members.len(),
            Node::Text(text) => text.len(),
            _ => 0,
        };
        items.iter().map(size).fold(items.len(), usize::saturating_add)
    }

    /// Gives what was built without its state the one at `state`.
    pub(super) fn complete(&mut self, id: Id, state: Id) -> Result<(), Error> {
        let (Node::Uuid, Node::Dict(members)) = (self.get(id), self.get(state)) else {
            return Err(Error::Operation(b'b'));
        };
        let is_number = |key| match self.get(key) {
            Node::Text(text) => text == "int",
            Node::Bytes(bytes) => **bytes == *b"int",
            _ => false,
        };
        let number = members.iter().find(|(key, _)| is_number(*key)).map(|(_, number)| self.get(*number));
        let number = match number {
            Some(Node::Int(int)) => u128::try_from(*int).ok(),
            Some(Node::Digits(digits)) => digits.parse().ok(),
            _ => None,
        };
        let uuid = Uuid::from_u128(number.ok_or(Error::Broken("a UUID has no number"))?);
        self.0[id as usize] = Node::Text(uuid.hyphenated().to_string().into());
        Ok(())
    }

    /// The items of a list.
    pub(super) fn list(&mut self, id: Id) -> Result<&mut Vec<Id>, Error> {
        match &mut self.0[id as usize] {
            Node::List(items) => Ok(items),
            _ => Err(Error::Broken("something is put into what is no list")),
        }
    }

    /// The members of a dict.
    pub(super) fn dict(&mut self, id: Id) -> Result<&mut Vec<(Id, Id)>, Error> {
        match &mut self.0[id as usize] {
            Node::Dict(members) => Ok(members),
            _ => Err(Error::Broken("something is put into what is no dict")),
        }
    }
}
