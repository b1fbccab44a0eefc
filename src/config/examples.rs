//! The files of `config/`: they are good, and the reference names every key with its true default.

use toml::de::DeTable;

use super::field::fields_of;
use super::kind::Kind;
use super::*;

const REFERENCE: &str = include_str!("../../config/reference.toml");

fn read(file: &str, text: &str) -> Config {
    match read::read(file, text, &Environment::default()) {
        Ok(config) => config,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

/// The reference with the `#` before its defaults removed, and that before its examples if asked for.
fn uncommented(examples: bool) -> String {
    let line = |line: &str| {
        let example = line.strip_prefix("#e.g. ").filter(|_| examples);
        let default = line.strip_prefix("# ").filter(|rest| {
            let key = rest.split(" = ").next().unwrap();
            rest.contains(" = ") && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        });
        example.or(default).unwrap_or(line).to_owned() + "\n"
    };
    REFERENCE.lines().map(line).collect()
}

#[test]
fn every_example_is_good() {
    for (file, text) in [
        ("minimal.toml", include_str!("../../config/minimal.toml")),
        ("sidecar.toml", include_str!("../../config/sidecar.toml")),
        ("single-host.toml", include_str!("../../config/single-host.toml")),
        ("default.toml", DEFAULT),
    ] {
        read(file, text);
    }
    read("reference.toml with all keys", &uncommented(true));
}

#[test]
fn the_reference_names_the_true_defaults() {
    let silent = format!("{:#?}", read("reference.toml", REFERENCE));
    let spoken = format!("{:#?}", read("reference.toml with its defaults", &uncommented(false)));
    for (silent, spoken) in silent.lines().zip(spoken.lines()) {
        assert_eq!(silent, spoken);
    }
    assert_eq!(silent, spoken);
}

#[test]
fn the_reference_names_every_key() {
    let text = uncommented(true);
    let document = DeTable::parse(&text).unwrap().into_inner();
    let mut missing = Vec::new();
    // Another name of a key is named in the text, as `name`.
    let mut look = |table: &str, keys: &DeTable<'_>, fields: &[&str]| {
        let absent =
            fields.iter().filter(|key| !keys.contains_key(**key) && !text.contains(&format!("`{key}`")));
        missing.extend(absent.map(|key| format!("{table}: {key}")));
    };
    let single = |table: &str| document.get(table).unwrap().as_ref().as_table().unwrap();
    let entries = |table: &str| -> Vec<&DeTable<'_>> {
        let tables = document.get(table).unwrap().as_ref().as_array().unwrap();
        tables.iter().map(|table| table.as_ref().as_table().unwrap()).collect()
    };
    look("the top", &document, fields_of::<General>());
    look("[admin]", single("admin"), fields_of::<admin::Config>());
    look("[journal]", single("journal"), fields_of::<journal::Config>());
    look("[logging]", single("logging"), fields_of::<logging::Config>());
    look("[limits]", single("limits"), fields_of::<Memory>());
    look("[limits]", single("limits"), fields_of::<protocol::Limits>());
    look("the first [[source]]", entries("source")[0], &["name", "type"]);
    look("the first [[sink]]", entries("sink")[0], &["name", "type"]);
    look("the first [[sink]]", entries("sink")[0], fields_of::<drain::Config>());
    let mut kinds = |table: &str, words: &[&str], fields: fn(&str) -> &'static [&'static str]| {
        for word in words {
            let named = |keys: &&DeTable<'_>| keys.get("type").unwrap().as_ref().as_str() == Some(word);
            match entries(table).into_iter().find(named) {
                Some(keys) => look(&format!("[[{table}]] {word}"), keys, fields(word)),
                None => look(&format!("[[{table}]] {word}"), &DeTable::new(), &["type"]),
            }
        }
    };
    kinds("source", SourceKind::WORDS, SourceKind::keys);
    kinds("sink", SinkKind::WORDS, SinkKind::keys);
    assert!(missing.is_empty(), "config/reference.toml lacks: {missing:#?}");
}
