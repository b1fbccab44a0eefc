//! A store's page in `docs/`, as tests read it.
//!
//! Used as `#[path = "../store/page.rs"] mod page;`.

use serde::de::DeserializeOwned;

/// The text of a page.
pub(crate) struct Page(pub(crate) &'static str);

impl Page {
    /// The blocks of a language, in order.
    pub(crate) fn blocks(&self, language: &str) -> Vec<&'static str> {
        let fence = format!("```{language}\n");
        self.0.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
    }

    /// The sink of each configuration, in order, all of them of the type `word`.
    pub(crate) fn sinks<C: DeserializeOwned>(&self, word: &str) -> impl Iterator<Item = C> {
        self.blocks("toml").into_iter().map(move |block| {
            let table: toml::Table = toml::from_str(block).unwrap();
            let mut sink = table["sink"][0].as_table().unwrap().clone();
            assert_eq!(sink.remove("type").unwrap().as_str(), Some(word));
            sink.try_into().unwrap()
        })
    }

    /// Asserts that each key of the type is in the table of all keys.
    pub(crate) fn names_every_key_of<C: DeserializeOwned>(&self) {
        let said = self.0.split("## All keys").nth(1).unwrap().split("\n## ").next().unwrap();
        let Err(error) = toml::from_str::<C>("no_such_key = 1") else { panic!("it takes any key") };
        let error = error.to_string();
        let keys: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert!(keys.len() > 10, "{error}");
        for key in keys {
            assert!(said.contains(&format!("`{key}`")), "{key} is not in the table");
        }
    }
}
