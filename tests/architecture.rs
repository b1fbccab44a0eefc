//! `ARCHITECTURE.md` lists the source files in reading order: a file imports only files below it. This keeps it true.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A stage never imports another one, nor what joins them.
const STAGES: [&str; 3] = ["source", "protocol", "sink"];
const JOINT: &str = "pipeline";

/// A file's name from the root of the repository, `src/record/mod.rs`.
type File = String;

/// The source files that are part of the daemon, and those that are only tests.
struct Tree {
    texts: BTreeMap<File, String>,
    tests: BTreeMap<File, String>,
}

#[test]
fn the_listing_names_every_file_and_no_other() {
    let tree = Tree::read();
    let listed = listing();
    let absent: Vec<_> = tree.texts.keys().filter(|file| !listed.contains(file)).collect();
    let stale: Vec<_> = listed.iter().filter(|file| !tree.texts.contains_key(*file)).collect();
    let twice: Vec<_> = listed
        .iter()
        .enumerate()
        .filter(|(at, file)| listed[..*at].contains(file))
        .map(|(_, file)| file)
        .collect();
    assert!(
        absent.is_empty() && stale.is_empty() && twice.is_empty(),
        "ARCHITECTURE.md lacks {absent:?}, names {stale:?} that do not exist, and {twice:?} twice\n{}",
        proposal(&tree, &listed)
    );
}

#[test]
fn a_file_imports_only_files_listed_below_it() {
    let tree = Tree::read();
    let listed = listing();
    let at = |file: &File| listed.iter().position(|other| other == file);
    let mut upwards = Vec::new();
    for (file, imports) in tree.imports() {
        for import in imports {
            if at(&import) < at(&file) {
                upwards.push(format!("{file} imports {import}, which is listed above it"));
            }
        }
    }
    assert!(upwards.is_empty(), "{upwards:#?}\n{}", proposal(&tree, &listed));
}

#[test]
fn a_stage_imports_neither_another_stage_nor_the_pipeline() {
    let tree = Tree::read();
    let stage = |file: &File| STAGES.into_iter().chain([JOINT]).find(|stage| is_in(file, stage));
    let mut wrong = Vec::new();
    for (file, imports) in tree.imports() {
        let Some(own) = stage(&file).filter(|own| *own != JOINT) else { continue };
        let others = imports.into_iter().filter(|import| stage(import).is_some_and(|other| other != own));
        wrong.extend(others.map(|import| format!("{file} imports {import}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    let tree = Tree::read();
    let files = tree.texts.iter().chain(&tree.tests);
    let silent: Vec<_> = files.filter(|(_, text)| !text.starts_with("//! ")).map(|(file, _)| file).collect();
    assert!(silent.is_empty(), "these do not open with a `//!` sentence: {silent:?}");
}

#[test]
fn an_import_is_found_however_it_is_written() {
    let text = "use crate::a::{self, b::{C, d::*}, e};\nfn f(_: crate::g::H) {}\n// crate::not::this\n\
                macro $crate::nor::this\n#[cfg(test)]\nmod tests { use crate::nor::that; }\n";
    let found: Vec<String> = paths(code(text), "crate").iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["a::self", "a::b::C", "a::b::d", "a::e", "g::H"]);
}

impl Tree {
    fn read() -> Self {
        let mut texts = BTreeMap::new();
        read_folder(Path::new("src"), &mut texts);
        assert!(texts.len() > 10, "the test runs in the root of the repository");
        let only_tests: BTreeSet<File> =
            texts.iter().flat_map(|(file, text)| test_files(file, text)).collect();
        let is_test = |file: &File| {
            only_tests.iter().any(|test| file == test || file.starts_with(&format!("{}/", folder(test))))
        };
        let (tests, texts) = texts.into_iter().partition(|(file, _)| is_test(file));
        Tree { texts, tests }
    }

    /// What each file imports, itself and the modules it is part of left out.
    fn imports(&self) -> BTreeMap<File, BTreeSet<File>> {
        let of = |(file, text): (&File, &String)| {
            let own = if file == "src/main.rs" { "kaneda" } else { "crate" };
            let found = paths(code(text), own).into_iter().filter_map(|path| self.resolve(&path));
            let imports = found.filter(|import| import != file && !is_part_of(file, import));
            (file.clone(), imports.collect())
        };
        self.texts.iter().map(of).collect()
    }

    /// The file of the longest beginning of `path` that is a module.
    fn resolve(&self, path: &[&str]) -> Option<File> {
        let module = |length: usize| {
            let stem = format!("src/{}", path[..length].join("/"));
            let names = [format!("{stem}.rs"), format!("{stem}/mod.rs")];
            names.into_iter().find(|name| self.texts.contains_key(name))
        };
        (1..=path.len()).rev().find_map(module)
    }
}

fn read_folder(folder: &Path, texts: &mut BTreeMap<File, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_folder(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.insert(path.to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap());
        }
    }
}

/// The files that `text` declares as modules for tests only.
fn test_files(file: &File, text: &str) -> Vec<File> {
    let names = text.split("#[cfg(test)]\nmod ").skip(1).filter_map(|rest| rest.split_once(';'));
    let names = names
        .map(|(name, _)| name)
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
    names
        .flat_map(|name| [format!("{}/{name}.rs", folder(file)), format!("{}/{name}/mod.rs", folder(file))])
        .collect()
}

/// The folder of the modules that `file` declares.
fn folder(file: &File) -> &str {
    let root = ["/mod.rs", "/lib.rs", "/main.rs"].iter().find_map(|end| file.strip_suffix(end));
    root.unwrap_or_else(|| file.strip_suffix(".rs").unwrap())
}

/// Whether `module` is one that `file` is a part of.
fn is_part_of(file: &File, module: &File) -> bool {
    folder(module) != "src" && file.starts_with(&format!("{}/", folder(module)))
}

fn is_in(file: &File, module: &str) -> bool {
    *file == format!("src/{module}.rs") || file.starts_with(&format!("src/{module}/"))
}

/// The order of `ARCHITECTURE.md`: the lines of its listing begin with the file.
fn listing() -> Vec<File> {
    let text = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let first = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    text.lines().map(first).filter(|word| word.starts_with("src/") && word.ends_with(".rs")).collect()
}

/// `text` up to its tests, which may import what they like.
fn code(text: &str) -> &str {
    &text[..text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len())]
}

/// All paths that begin with `root::`, each without it.
fn paths<'t>(text: &'t str, root: &str) -> Vec<Vec<&'t str>> {
    let mut found = Vec::new();
    for line in statements(text) {
        for (at, _) in line.match_indices(&format!("{root}::")) {
            let before = line[..at].bytes().last();
            if before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && !b"_$:".contains(&byte)) {
                expand(&line[at + root.len() + 2..], &mut Vec::new(), &mut found);
            }
        }
    }
    found
}

/// Parts of `text` between comments, so that an import over several lines stays together.
fn statements(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("//") {
        parts.push(&rest[..at]);
        rest = &rest[at..];
        rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
    }
    parts.push(rest);
    parts
}

/// Takes one path of a tree of imports off `text`; what is behind it is returned.
fn expand<'t>(text: &'t str, path: &mut Vec<&'t str>, found: &mut Vec<Vec<&'t str>>) -> &'t str {
    let text = text.trim_start();
    let depth = path.len();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches(|letter: char| letter == ',' || letter.is_whitespace());
            match rest.strip_prefix('}') {
                Some(behind) => return behind,
                None if rest.is_empty() => return rest,
                None => rest = expand(rest, path, found),
            }
        }
    }
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    let (word, mut rest) = text.split_at(end);
    if word.is_empty() {
        // `*`, or no path at all.
        found.push(path.clone());
        return rest.get(1..).unwrap_or_default();
    }
    path.push(word);
    match rest.strip_prefix("::") {
        Some(deeper) => rest = expand(deeper, path, found),
        None => found.push(path.clone()),
    }
    path.truncate(depth);
    rest
}

/// What a file says of itself, as far as it fits.
fn sentence(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default().trim_start_matches("//! ");
    line.split(['.', ':', ';', ',']).next().unwrap_or_default()
}

/// An order that would do, with what each file is, as near to the present one as can be: the first file in it that nothing left imports, a
/// module before its parts.
fn proposal(tree: &Tree, listed: &[File]) -> String {
    let imports = tree.imports();
    let mut left: Vec<&File> = Vec::new();
    for file in listed.iter().filter(|file| tree.texts.contains_key(*file)) {
        if !left.contains(&file) {
            left.push(file);
        }
    }
    for file in tree.texts.keys().filter(|file| !listed.contains(file)) {
        let module =
            left.iter().rposition(|other| folder(other).starts_with(file.rsplit_once('/').unwrap().0));
        left.insert(module.map_or(left.len(), |at| at + 1), file);
    }
    let mut order = String::from("an order that would do:\n");
    while !left.is_empty() {
        let is_free = |file: &&File| {
            left.iter()
                .all(|other| !imports[*other].contains(*file) && (other == file || !is_part_of(file, other)))
        };
        let Some(at) = left.iter().position(is_free) else {
            return format!("there is none: these import each other in a circle: {left:#?}");
        };
        let file = left.remove(at);
        order.push_str(&format!("    {file:32} {}\n", sentence(&tree.texts[file])));
    }
    order
}
