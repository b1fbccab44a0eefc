//! A Python module as its assignments of literals; nothing of it is run.

use super::token::{Statement, Token, statements};

/// Levels of brackets in a literal.
const MAX_DEPTH: usize = 64;
const NO_LITERAL: &str = "it is no literal";

/// A value that needs nothing to be run.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// A list, a tuple or a set.
    List(Vec<Literal>),
    Dict(Vec<(Literal, Literal)>),
}

/// What a name is set to.
#[derive(Debug, PartialEq)]
pub(super) struct Assignment {
    pub(super) name: String,
    /// From 1.
    pub(super) line: usize,
    /// Or why it is not read.
    pub(super) value: Result<Literal, &'static str>,
}

/// What was found in a module.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// In their order: of several with one name the last holds.
    pub(super) assignments: Vec<Assignment>,
    /// Lines of statements that assign nothing.
    pub(super) others: Vec<usize>,
    /// Those of them that take all names of another module.
    pub(super) stars: Vec<usize>,
}

/// Reads a module; whatever it is, something comes of it.
pub(super) fn read(text: &str) -> Module {
    let mut module = Module::default();
    for Statement { line, is_inner, tokens } in statements(text) {
        let mut parser = Parser { rest: &tokens };
        let names = parser.targets();
        let value = parser.whole();
        let value = if is_inner { Err("it stands in a block, which is not run") } else { value };
        let names = match (names, &value) {
            // A docstring.
            (names, Ok(_)) if names.is_empty() => continue,
            (names, Ok(_)) => names,
            (_, Err(_)) => assigned(&tokens),
        };
        if names.is_empty() {
            module.others.push(line);
            let is_import = matches!(tokens.first(), Some(Token::Name(name)) if name == "from");
            module.stars.extend((is_import && tokens.last() == Some(&Token::Operator)).then_some(line));
        }
        let assignment = |name| Assignment { name, line, value: value.clone() };
        module.assignments.extend(names.into_iter().map(assignment));
    }
    module
}

/// The names that a statement may assign to, whatever it is.
fn assigned(tokens: &[Token]) -> Vec<String> {
    let mut depth = 0_usize;
    let mut last = None;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth = depth.saturating_sub(1),
            Token::Mark('=') | Token::Change if depth == 0 => last = Some(at),
            _ => {}
        }
    }
    let name = |token: &Token| if let Token::Name(name) = token { Some(name.clone()) } else { None };
    tokens[..last.unwrap_or(0)].iter().filter_map(name).collect()
}

struct Parser<'a> {
    rest: &'a [Token],
}

impl Parser<'_> {
    /// Takes `a = b: int =` off.
    fn targets(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let [Token::Name(name), after @ ..] = self.rest {
            let end = match after {
                [Token::Mark('='), ..] => 0,
                // The annotation is of no interest.
                [Token::Mark(':'), ..] => match after.iter().position(|token| *token == Token::Mark('=')) {
                    Some(end) => end,
                    None => break,
                },
                _ => break,
            };
            names.push(name.clone());
            self.rest = &after[end + 1..];
        }
        names
    }

    /// All that is left, which is one literal, or several with commas.
    fn whole(&mut self) -> Result<Literal, &'static str> {
        let first = self.literal(0)?;
        if self.rest.is_empty() {
            return Ok(first);
        }
        let mut list = vec![first];
        while self.is_next(',') {
            if !self.rest.is_empty() {
                list.push(self.literal(0)?);
            }
        }
        if self.rest.is_empty() { Ok(Literal::List(list)) } else { Err(self.trouble()) }
    }

    fn literal(&mut self, depth: usize) -> Result<Literal, &'static str> {
        if depth > MAX_DEPTH {
            return Err("it has too many levels of brackets");
        }
        let [first, rest @ ..] = self.rest else { return Err(NO_LITERAL) };
        let is_before = |c| rest.first() == Some(&Token::Mark(c));
        if let (Token::Name(_), true) = (first, is_before('(')) {
            return Err("it is a call, which is not run");
        }
        let trouble = self.trouble();
        self.rest = rest;
        match first {
            Token::Name(name) => match name.as_str() {
                "None" => Ok(Literal::None),
                "True" => Ok(Literal::Bool(true)),
                "False" => Ok(Literal::Bool(false)),
                _ => Err(trouble),
            },
            Token::Int(number) => Ok(Literal::Int(*number)),
            Token::Float(number) => Ok(Literal::Float(*number)),
            Token::Mark(sign @ ('+' | '-')) => match (self.literal(depth + 1)?, *sign) {
                (number @ (Literal::Int(_) | Literal::Float(_)), '+') => Ok(number),
                (Literal::Int(number), _) => Ok(Literal::Int(-number)),
                (Literal::Float(number), _) => Ok(Literal::Float(-number)),
                _ => Err(NO_LITERAL),
            },
            Token::Text(text) => {
                let mut text = text.clone();
                while let [Token::Text(more), rest @ ..] = self.rest {
                    text.push_str(more);
                    self.rest = rest;
                }
                Ok(Literal::Text(text))
            }
            Token::Mark('(') => {
                let (mut list, has_comma) = self.list(')', depth)?;
                match list.pop() {
                    Some(only) if list.is_empty() && !has_comma => Ok(only),
                    last => Ok(Literal::List(list.into_iter().chain(last).collect())),
                }
            }
            Token::Mark('[') => self.list(']', depth).map(|(list, _)| Literal::List(list)),
            Token::Mark('{') => self.braces(depth),
            _ => Err(trouble),
        }
    }

    /// Literals up to `end`; and whether there was a comma.
    fn list(&mut self, end: char, depth: usize) -> Result<(Vec<Literal>, bool), &'static str> {
        let (mut list, mut has_comma) = (Vec::new(), false);
        while !self.is_next(end) {
            list.push(self.literal(depth + 1)?);
            if self.is_next(',') {
                has_comma = true;
            } else if self.rest.first() != Some(&Token::Mark(end)) {
                return Err(self.trouble());
            }
        }
        Ok((list, has_comma))
    }

    /// A dict or a set.
    fn braces(&mut self, depth: usize) -> Result<Literal, &'static str> {
        let mut members = Vec::new();
        while !self.is_next('}') {
            let key = self.literal(depth + 1)?;
            if !self.is_next(':') {
                let is_set = self.is_next(',') || self.rest.first() == Some(&Token::Mark('}'));
                if !is_set || !members.is_empty() {
                    return Err(self.trouble());
                }
                let (rest, _) = self.list('}', depth)?;
                return Ok(Literal::List([vec![key], rest].concat()));
            }
            members.push((key, self.literal(depth + 1)?));
            if !self.is_next(',') && self.rest.first() != Some(&Token::Mark('}')) {
                return Err(self.trouble());
            }
        }
        Ok(Literal::Dict(members))
    }

    fn is_next(&mut self, mark: char) -> bool {
        let is_next = self.rest.first() == Some(&Token::Mark(mark));
        if is_next {
            self.rest = &self.rest[1..];
        }
        is_next
    }

    /// What is wrong with what comes next.
    fn trouble(&self) -> &'static str {
        if let Some(Token::Unread(why)) = self.rest.first() { why } else { NO_LITERAL }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str) -> Result<Literal, &'static str> {
        let mut module = read(&format!("X = {text}\n"));
        assert_eq!(module.assignments.len(), 1, "{text}: {module:?}");
        module.assignments.remove(0).value
    }

    fn text(of: &str) -> Literal {
        Literal::Text(of.to_owned())
    }

    #[test]
    fn every_form_of_text_is_read_as_python_does() {
        for (written, meant) in [
            ("'a'", "a"),
            ("\"it's\"", "it's"),
            ("'''a\n'b''c'''", "a\n'b''c"),
            ("\"\"\"\"a\"\"\"", "\"a"),
            ("''", ""),
            (r#"'\'\"\\\a\b\t\n\v\f\r'"#, "'\"\\\u{7}\u{8}\t\n\u{b}\u{c}\r"),
            (r"'\x41\u00e9\U0001f600\101\0\q'", "Aé😀A\0\\q"),
            (r"r'\d\'\x'", r"\d\'\x"),
            (r"u'\u2603'", "☃"),
            (r"b'\xc3\xa9\u'", r"é\u"),
            ("Rb'\\n'", "\\n"),
            ("'a' \"b\" u'c'", "abc"),
            ("('a'\n   'b')", "ab"),
            ("'a\\\nb'", "ab"),
            ("'a' \\\n  'b'", "ab"),
            ("'# no comment' # one", "# no comment"),
        ] {
            assert_eq!(value(written), Ok(text(meant)), "{written}");
        }
    }

    #[test]
    fn every_other_literal_is_read_too() {
        let list = |of: &[i64]| Literal::List(of.iter().copied().map(Literal::Int).collect());
        for (written, meant) in [
            ("None", Literal::None),
            ("True", Literal::Bool(true)),
            ("False", Literal::Bool(false)),
            ("1_000", Literal::Int(1000)),
            ("0x1F", Literal::Int(31)),
            ("0o17", Literal::Int(15)),
            ("0b11", Literal::Int(3)),
            ("00", Literal::Int(0)),
            ("27017L", Literal::Int(27017)),
            ("- 1", Literal::Int(-1)),
            ("(+2)", Literal::Int(2)),
            ("0.3", Literal::Float(0.3)),
            (".5", Literal::Float(0.5)),
            ("5.", Literal::Float(5.0)),
            ("1e-3", Literal::Float(0.001)),
            ("[1, 2,]", list(&[1, 2])),
            ("(1, 2)", list(&[1, 2])),
            ("(1,)", list(&[1])),
            ("1, 2", list(&[1, 2])),
            ("1,", list(&[1])),
            ("()", list(&[])),
            ("{1, 2}", list(&[1, 2])),
            ("[ # why\n 1,\n\n 2 # that\n]", list(&[1, 2])),
            ("{}", Literal::Dict(vec![])),
            (
                "{'a': [1], 'b': {'c': None},}",
                Literal::Dict(vec![
                    (text("a"), list(&[1])),
                    (text("b"), Literal::Dict(vec![(text("c"), Literal::None)])),
                ]),
            ),
        ] {
            assert_eq!(value(written), Ok(meant), "{written}");
        }
    }

    #[test]
    fn what_would_have_to_be_run_is_named_and_not_read() {
        for written in [
            "os.environ['X']",
            "'a' + 'b'",
            "'%s' % x",
            "60 * 5",
            "[1, y]",
            "{**z}",
            "{'a': 1, 2}",
            "[1 for x in y]",
            "lambda: 1",
            "'a' if b else 'c'",
            "1j",
            "0777",
            "99999999999999999999",
            "1e999",
            "'a'.upper()",
            "-'a'",
            "(1",
            "{'a' 1}",
            "",
        ] {
            assert!(value(written).is_err(), "{written}");
        }
        assert_eq!(value("env('X')"), Err("it is a call, which is not run"));
        assert_eq!(value("f'{x}'"), Err("it is a text with expressions in it"));
        assert_eq!(value(r"'\N{SNOWMAN}'"), Err("a character is given by its name (\\N{..})"));
        assert_eq!(value(r"'\ud800'"), Err("an escape in a text is no character"));
        assert_eq!(value(r"b'\xff'"), Err("it is bytes that are no UTF-8"));
        assert_eq!(value("'open"), Err("a text has no end"));
        assert_eq!(value(&"[".repeat(1 << 16)), Err("it has too many levels of brackets"));
        assert_eq!(value(&"-".repeat(1 << 16)), Err("it has too many levels of brackets"));
    }

    #[test]
    fn statements_have_their_line_and_what_stands_in_a_block_is_not_taken() {
        let module = read(
            "\u{feff}'''doc'''\r\nimport os\nA = B = 1; C: str = 'c'\nD = 'open\nif x:\n    E = 2\nif y: F = 3; G = 4\n\
             H += 5\nfrom base import *\nI, J = (\n1, 2)\nos.x(k=1)\n",
        );
        let seen: Vec<_> = module
            .assignments
            .iter()
            .map(|found| (found.name.as_str(), found.line, found.value.is_ok()))
            .filter(|(name, ..)| name.len() == 1 && name.chars().all(char::is_uppercase))
            .collect();
        let good = |name, line| (name, line, true);
        let bad = |name, line| (name, line, false);
        let first = [good("A", 3), good("B", 3), good("C", 3), bad("D", 4), bad("E", 6), bad("F", 7)];
        assert_eq!(seen[..6], first);
        assert_eq!(seen[6..], [bad("G", 7), bad("H", 8), bad("I", 10), bad("J", 10)]);
        assert_eq!((module.others, module.stars), (vec![2, 5, 9, 12], vec![9]));
    }

    proptest! {
        #[test]
        fn whatever_the_file_is_something_comes_of_it(text in "(?s).{0,200}") {
            read(&text);
        }

        #[test]
        fn rows_of_pythons_own_parts_never_panic(
            parts in proptest::collection::vec(proptest::sample::select(vec![
                "X", "=", "'", "\"", "'''", "\\", "\n", "\r", " ", "(", ")", "[", "]", "{", "}", ",", ":", ";", "-", "#",
                "1", "0x", ".", "e", "b", "r", "\\x", "\\u12", "\\7", "é", "None", "if", "from a import *", "+=",
            ]), 0..60),
        ) {
            read(&parts.concat());
        }

        #[test]
        fn a_text_comes_back_as_it_was_written(meant in any::<String>()) {
            let escaped: String = meant.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
            prop_assert_eq!(value(&format!("'{escaped}'")), Ok(text(&meant)));
        }
    }
}
