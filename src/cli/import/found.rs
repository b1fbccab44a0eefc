//! The settings of Kaneda among the assignments of a module.

use std::collections::{BTreeMap, BTreeSet};

use super::python::{Literal, Module};
use super::setting::{BACKENDS, Class, QUEUES, Setting};

/// What the settings of a Django project begin with.
const DJANGO: &str = "KANEDA_";
/// The same as one dict.
const DJANGO_DICT: &str = "KANEDA";

/// A setting as the file has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Given {
    /// From 1.
    pub(super) line: usize,
    /// Or why it is not read.
    pub(super) value: Result<Literal, &'static str>,
}

/// What there is.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Whether it is a Django project's file.
    pub(super) is_django: bool,
    /// By their names without Django's prefix.
    pub(super) settings: BTreeMap<String, Given>,
    /// Lines that were not read and have no setting of Kaneda.
    pub(super) passed_over: BTreeSet<usize>,
}

impl Found {
    pub(super) fn new(module: Module) -> Self {
        let mut all = BTreeMap::new();
        let mut passed_over: BTreeSet<usize> = module.others.into_iter().collect();
        for assignment in module.assignments {
            let given = Given { line: assignment.line, value: assignment.value };
            match (assignment.name.as_str(), &given.value) {
                (DJANGO_DICT, Ok(Literal::Dict(members))) => {
                    for (name, value) in members {
                        let Literal::Text(name) = name else { continue };
                        let given = Given { line: given.line, value: Ok(value.clone()) };
                        all.insert(format!("{DJANGO}{name}"), given);
                    }
                }
                _ => _ = all.insert(assignment.name, given),
            }
        }
        let django = |name: &str| name == DJANGO_DICT || name.strip_prefix(DJANGO).is_some_and(is_known);
        let is_django = all.keys().any(|name| django(name));
        let mut settings = BTreeMap::new();
        for (name, given) in all {
            let own = if is_django { name.strip_prefix(DJANGO) } else { Some(name.as_str()) };
            match own.filter(|own| is_known(own)) {
                Some(own) => _ = settings.insert(own.to_owned(), given),
                None if name == DJANGO_DICT => _ = settings.insert(name, given),
                None => passed_over.extend(given.value.is_err().then_some(given.line)),
            }
        }
        Found { is_django, settings, passed_over }
    }

    /// The name of a setting as it stands in the file.
    pub(super) fn shown(&self, name: &str) -> String {
        let prefix = if self.is_django && name != DJANGO_DICT { DJANGO } else { "" };
        format!("{prefix}{name}")
    }

    /// The name of a class's setting, without Django's prefix.
    pub(super) fn name(&self, class: &Class, setting: &Setting) -> String {
        match (class.namespace, setting.name) {
            // The one that Django has without the namespace.
            ("LOGGER", "LOGGER") if self.is_django => "LOGGER".to_owned(),
            (namespace, name) => format!("{namespace}_{name}"),
        }
    }

    /// A text that is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match &self.settings.get(name)?.value {
            Ok(Literal::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Whether it is set, to whatever that is neither None nor empty.
    pub(super) fn has(&self, name: &str) -> bool {
        let empty = [Ok(Literal::None), Ok(Literal::Text(String::new())), Ok(Literal::List(Vec::new()))];
        self.settings.get(name).is_some_and(|given| !empty.contains(&given.value))
    }

    /// Whether any setting of the class is.
    pub(super) fn has_any(&self, class: &Class) -> bool {
        class.settings.iter().any(|setting| self.has(&self.name(class, setting)))
    }
}

/// Whether Kaneda has a setting of this name.
fn is_known(name: &str) -> bool {
    let of_class = |class: &Class| {
        let own = name.strip_prefix(class.namespace).and_then(|name| name.strip_prefix('_'));
        own.is_some_and(|own| class.settings.iter().any(|setting| setting.name == own))
    };
    ["BACKEND", "QUEUE", "DEBUG", "LOGGER"].contains(&name) || BACKENDS.iter().chain(&QUEUES).any(of_class)
}
