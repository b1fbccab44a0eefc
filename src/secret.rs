//! A text that no log may show.

use std::fmt;
use std::ops::Deref;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A password, or a text that may hold one. It reads as the text and prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The first line of a file, as secrets are mounted into containers.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let text = std::fs::read_to_string(path)?;
        Ok(Secret(text.lines().next().unwrap_or_default().to_owned()))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret(text.to_owned())
    }
}

impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_string(Text)
    }
}

/// Takes a text. What is none is refused without a word of what it is: it may be a password all the same.
struct Text;

impl Visitor<'_> for Text {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::from(text))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Secret, E> {
        Err(E::custom("a text is expected, not a boolean: write it in quotes"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Secret, E> {
        Err(E::custom("a text is expected, not a number: write it in quotes"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Secret, E> {
        self.visit_i64(0)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Secret, E> {
        self.visit_i64(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_refused_without_being_printed() {
        #[derive(Debug, serde::Deserialize)]
        struct Table {
            #[expect(dead_code, reason = "it is never read")]
            password: Secret,
        }
        for value in
            ["12345", "-12345", "12345.5", "true", "[12345]", "{ a = 12345 }", "2026-01-12T00:00:00Z"]
        {
            let error = toml::from_str::<Table>(&format!("password = {value}")).unwrap_err();
            let message = error.message();
            assert!(message.contains("a text") && !message.contains("12345"), "{message}");
            assert!(!message.contains("true") && !message.contains("2026"), "{message}");
        }
    }

    #[test]
    fn a_secret_is_read_but_not_printed() {
        let secret = Secret::from("hunter2");
        assert_eq!(&*secret, "hunter2");
        assert_eq!(format!("{:?}", Some(secret)), "Some(***)");
    }

    #[test]
    fn a_file_gives_its_first_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\r\n").unwrap();
        assert_eq!(&*Secret::read(file.path()).unwrap(), "hunter2");
    }
}
