//! What is wrong with a configuration: each mistake with its place, its key and the key that was probably meant.

use std::fmt;

use super::Config;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it was made.
    pub place: Place,
    /// The table as it is written in the file, `[admin]` or `[[sink]] sqlite`; empty: outside of all tables.
    pub table: String,
    /// The key; empty if it is about the table or the file as a whole.
    pub key: String,
    /// What is wrong, for a person.
    pub problem: String,
    /// The valid key, or word, that is nearest to what was written, where that is unknown.
    pub nearest: Option<String>,
}

/// Where a table and its keys stand: for mistakes that only show when the parts of a configuration come together.
#[derive(Clone)]
pub struct Places {
    pub(super) table: String,
    pub(super) place: Place,
    pub(super) keys: Vec<(String, Place)>,
}

/// Where a mistake was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the file, at this line, from 1.
    Line(usize),
    /// In this environment variable.
    Variable(String),
    /// In the file as a whole.
    File,
}

/// All mistakes of a configuration, in the order of the file; never empty where it is an error.
#[derive(Debug)]
pub struct Mistakes {
    /// The name of the file, for the text.
    pub file: String,
    /// One or more.
    pub list: Vec<Mistake>,
    /// The sources and sinks that could be read, for what else is wrong with them; all other tables are the defaults.
    pub rest: Option<Box<Config>>,
}

impl Mistakes {
    /// Puts them in the order of the file.
    pub fn sort(&mut self) {
        self.list.sort_by_key(|mistake| match mistake.place {
            Place::File => (0, 0),
            Place::Line(line) => (1, line),
            Place::Variable(_) => (2, 0),
        });
    }
}

impl Places {
    /// Whether the table has this key.
    pub(super) fn hold(&self, key: &str) -> bool {
        self.keys.iter().any(|(other, _)| other == key)
    }

    /// A mistake, at the first key of the table that the text names as `key` or begins with; else at the table.
    pub fn mistake(&self, problem: String) -> Mistake {
        let end = problem.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_');
        let words = problem.split('`').skip(1).step_by(2);
        let mut words = std::iter::once(&problem[..end.unwrap_or(problem.len())]).chain(words);
        let found = words.find_map(|word| self.keys.iter().find(|(key, _)| key == word));
        let place = found.map_or(&self.place, |(_, place)| place).clone();
        // The text names the key already.
        Mistake { place, table: self.table.clone(), key: String::new(), problem, nearest: None }
    }
}

/// Where something stands is no part of what it says.
impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Places")
    }
}

impl Mistake {
    /// Shows it as `file:line: in [table]: what; the nearest valid key is ..`.
    fn write(&self, f: &mut fmt::Formatter<'_>, file: &str) -> fmt::Result {
        match &self.place {
            Place::Line(line) => write!(f, "{file}:{line}: ")?,
            Place::Variable(name) => write!(f, "environment variable {name}: ")?,
            Place::File => write!(f, "{file}: ")?,
        }
        if !self.table.is_empty() {
            write!(f, "in {}: ", self.table)?;
        }
        if !self.key.is_empty() && !self.problem.starts_with(&self.key) {
            write!(f, "`{}`: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; the nearest valid one is `{nearest}`"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.list.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            mistake.write(f, &self.file)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// The one of `valid` that is nearest to `word`, unless most of it would have to be another.
pub(super) fn nearest<'v>(word: &str, valid: impl IntoIterator<Item = &'v str>) -> Option<String> {
    let distance = |valid: &str| strsim::damerau_levenshtein(word, valid);
    let (valid, distance) =
        valid.into_iter().map(|valid| (valid, distance(valid))).min_by_key(|(_, distance)| *distance)?;
    (2 * distance <= word.len().max(valid.len())).then(|| valid.to_owned())
}
