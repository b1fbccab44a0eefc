//! Python's text as statements, each a row of tokens: what a literal can be made of, and marks for all else.

/// The longest prefix of a text, as in `Rb'..'`.
const PREFIX_CHARS: usize = 2;
/// What begins a statement that has others in it, also on its own line.
const COMPOUND: [&str; 12] =
    ["if", "elif", "else", "for", "while", "with", "try", "except", "finally", "class", "def", "async"];

/// A part of a statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword.
    Name(String),
    /// A text or bytes, without quotes and escapes.
    Text(String),
    /// An integer.
    Int(i64),
    /// Any other number, finite.
    Float(f64),
    /// One of `( ) [ ] { } , : = + -`.
    Mark(char),
    /// An assignment that changes a value, as `+=`.
    Change,
    /// Anything else that is Python: `*`, `==`, `@`, a dot.
    Operator,
    /// What is not read, and why.
    Unread(&'static str),
}

/// A statement of one logical line.
#[derive(Debug, PartialEq)]
pub(super) struct Statement {
    /// The line it begins at, from 1.
    pub(super) line: usize,
    /// Whether it stands in a block, so that it may never run.
    pub(super) is_inner: bool,
    /// At least one.
    pub(super) tokens: Vec<Token>,
}

/// Cuts `text` into statements; whatever it is, something comes of it.
pub(super) fn statements(text: &str) -> Vec<Statement> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    let mut scanner = Scanner { rest: &text, line: 1 };
    let mut all = Vec::new();
    while !scanner.rest.is_empty() {
        let is_indented = scanner.skip(|c| matches!(c, ' ' | '\t' | '\x0c')) > 0;
        scanner.logical_line(is_indented, &mut all);
    }
    all
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
}

impl Scanner<'_> {
    /// All up to the end of a logical line: one outside of brackets, and without `\` before it.
    fn logical_line(&mut self, is_indented: bool, all: &mut Vec<Statement>) {
        let mut is_inner = is_indented;
        let mut statement = Statement { line: self.line, is_inner, tokens: Vec::new() };
        let mut depth = 0_usize;
        while let Some(c) = self.peek() {
            match c {
                '\n' if depth == 0 => break,
                ';' if depth == 0 => {
                    is_inner |= is_compound(&statement.tokens);
                    keep(statement, all);
                    statement = Statement { line: self.line, is_inner, tokens: Vec::new() };
                }
                '#' => {
                    self.skip(|c| c != '\n');
                    continue;
                }
                '\\' if self.rest.starts_with("\\\n") => {
                    self.bump();
                }
                c if c.is_whitespace() => {}
                c => {
                    match c {
                        '(' | '[' | '{' => depth += 1,
                        ')' | ']' | '}' => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                    let token = self.token(c);
                    statement.tokens.push(token);
                    continue;
                }
            }
            self.bump();
        }
        self.bump();
        keep(statement, all);
    }

    /// The token that begins with `c`.
    fn token(&mut self, c: char) -> Token {
        let mut next = self.rest.chars().skip(1);
        match c {
            '\'' | '"' => self.text(""),
            '0'..='9' => self.number(),
            '.' if next.next().is_some_and(|c| c.is_ascii_digit()) => self.number(),
            c if c.is_alphabetic() || c == '_' => {
                let name = self.take(|c| c.is_alphanumeric() || c == '_');
                let is_prefix = name.len() <= PREFIX_CHARS && name.chars().all(|c| "rbuftRBUFT".contains(c));
                match self.peek() {
                    Some('\'' | '"') if is_prefix => self.text(&name.to_lowercase()),
                    _ => Token::Name(name),
                }
            }
            c => {
                self.bump();
                if self.peek() == Some('=') && "=!<>:+-*/%&|^@".contains(c) {
                    self.bump();
                    return if "=!<>:".contains(c) { Token::Operator } else { Token::Change };
                }
                if "()[]{},:=+-".contains(c) { Token::Mark(c) } else { Token::Operator }
            }
        }
    }

    /// A text, from its quote on.
    fn text(&mut self, prefix: &str) -> Token {
        let Some(quote) = self.bump() else { return Token::Operator };
        let long = [quote; 3].iter().collect::<String>();
        let is_long = self.rest.starts_with(&long[1..]);
        let end = if is_long { long.as_str() } else { &long[..1] };
        if is_long {
            self.rest = &self.rest[2..];
        }
        let (is_raw, is_bytes) = (prefix.contains('r'), prefix.contains('b'));
        let mut unread = prefix.contains(['f', 't']).then_some("it is a text with expressions in it");
        let mut bytes = Vec::new();
        while !self.rest.starts_with(end) {
            // The end of the line is that of the statement too.
            if !is_long && self.peek() == Some('\n') {
                return Token::Unread("a text has no end");
            }
            match self.bump() {
                None => return Token::Unread("a text has no end"),
                Some('\\') if is_raw => {
                    bytes.push(b'\\');
                    self.bump().into_iter().for_each(|c| push(&mut bytes, c));
                }
                Some('\\') => match self.escape(is_bytes, &mut bytes) {
                    Ok(()) => {}
                    Err(why) => unread = Some(why),
                },
                Some(c) => push(&mut bytes, c),
            }
        }
        self.rest = &self.rest[end.len()..];
        match (unread, String::from_utf8(bytes)) {
            (Some(why), _) => Token::Unread(why),
            (None, Ok(text)) => Token::Text(text),
            (None, Err(_)) => Token::Unread("it is bytes that are no UTF-8"),
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self, is_bytes: bool, bytes: &mut Vec<u8>) -> Result<(), &'static str> {
        let Some(c) = self.bump() else { return Ok(()) };
        let plain = match c {
            '\\' | '\'' | '"' => Some(c),
            'a' => Some('\x07'),
            'b' => Some('\x08'),
            't' => Some('\t'),
            'n' => Some('\n'),
            'v' => Some('\x0b'),
            'f' => Some('\x0c'),
            'r' => Some('\r'),
            _ => None,
        };
        if let Some(c) = plain {
            push(bytes, c);
            return Ok(());
        }
        let digits = match c {
            '\n' => return Ok(()),
            'x' => 2,
            'u' if !is_bytes => 4,
            'U' if !is_bytes => 8,
            'N' if !is_bytes => return Err("a character is given by its name (\\N{..})"),
            '0'..='7' => {
                let more = self.rest.bytes().take(2).take_while(|c| (b'0'..=b'7').contains(c)).count();
                let code = format!("{c}{}", &self.rest[..more]);
                self.rest = &self.rest[more..];
                return code_point(&code, 8, is_bytes, bytes);
            }
            c => {
                bytes.push(b'\\');
                push(bytes, c);
                return Ok(());
            }
        };
        let Some(code) = self.rest.get(..digits).map(str::to_owned) else {
            return Err("an escape in a text is not whole");
        };
        if !code.bytes().all(|c| c.is_ascii_hexdigit()) {
            return Err("an escape in a text is not whole");
        }
        self.rest = &self.rest[digits..];
        code_point(&code, 16, is_bytes, bytes)
    }

    fn number(&mut self) -> Token {
        let mut text = String::new();
        let is_hex = self.rest.starts_with("0x") || self.rest.starts_with("0X");
        while let Some(c) = self.peek() {
            let is_sign = matches!(c, '+' | '-') && text.ends_with(['e', 'E']) && !is_hex;
            if !(c.is_ascii_alphanumeric() || c == '_' || c == '.' || is_sign) {
                break;
            }
            self.bump();
            text.extend((c != '_').then(|| c.to_ascii_lowercase()));
        }
        let integer = |digits: &str, radix| i64::from_str_radix(digits, radix).ok().map(Token::Int);
        let token = match (text.get(..2), text.get(2..)) {
            (Some("0x"), Some(digits)) => integer(digits, 16),
            (Some("0o"), Some(digits)) => integer(digits, 8),
            (Some("0b"), Some(digits)) => integer(digits, 2),
            // 0777 is octal in Python 2 and nothing in Python 3.
            _ if text.starts_with('0') && text.bytes().all(|c| c.is_ascii_digit()) => {
                text.bytes().all(|c| c == b'0').then_some(Token::Int(0))
            }
            _ if text.contains(['.', 'e']) => {
                text.parse().ok().filter(|number: &f64| number.is_finite()).map(Token::Float)
            }
            // Python 2 ends a long integer with an L.
            _ => integer(text.strip_suffix('l').unwrap_or(&text), 10),
        };
        token.unwrap_or(Token::Unread("a number is not understood, or too large"))
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn take(&mut self, is_part: impl Fn(char) -> bool) -> String {
        let (taken, rest) = self.rest.split_at(self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len()));
        self.rest = rest;
        taken.to_owned()
    }

    /// How many bytes were skipped; none of them may be the end of a line.
    fn skip(&mut self, is_part: impl Fn(char) -> bool) -> usize {
        self.take(is_part).len()
    }
}

fn is_compound(tokens: &[Token]) -> bool {
    matches!(tokens.first(), Some(Token::Name(name)) if COMPOUND.contains(&name.as_str()))
}

fn keep(statement: Statement, all: &mut Vec<Statement>) {
    all.extend((!statement.tokens.is_empty()).then_some(statement));
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// The character, or in bytes the byte, of a number in `digits`.
fn code_point(digits: &str, radix: u32, is_bytes: bool, bytes: &mut Vec<u8>) -> Result<(), &'static str> {
    let code = u32::from_str_radix(digits, radix).map_err(|_| "an escape in a text is not whole")?;
    match char::from_u32(code) {
        // Python takes the lowest 8 bits of an octal escape.
        _ if is_bytes => bytes.push(code as u8),
        Some(c) => push(bytes, c),
        None => return Err("an escape in a text is no character"),
    }
    Ok(())
}
