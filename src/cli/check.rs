//! `kaneda check`: what a configuration says, for a person; and whether its stores can be used.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::config::Config;
use crate::daemon::{Inherited, Owner};
use crate::pipeline::letter;
use crate::probe;
use crate::sink::Sink;

/// Writes what `config` says, and the sockets that a daemon would inherit where this command is.
pub fn describe(config: &Config, inherited: &Inherited, out: &mut impl Write) -> io::Result<()> {
    match &config.file {
        Some(file) => writeln!(out, "{}: no mistakes", file.display())?,
        None => writeln!(out, "no configuration file: the built-in defaults")?,
    }
    for source in &config.sources {
        writeln!(out, "  source {} ({})", source.name, source.kind.word())?;
        for socket in inherited.of(&Owner::Source(source.name.clone())) {
            writeln!(out, "    inherits {socket}")?;
        }
    }
    for sink in &config.sinks {
        writeln!(out, "  sink {} ({})", sink.name, sink.kind.word())?;
    }
    writeln!(out, "  admin http://{}", config.admin.listen)?;
    for socket in inherited.of(&Owner::Admin) {
        writeln!(out, "    inherits {socket}")?;
    }
    Ok(())
}

/// A sink that is to be tried.
pub struct Tried<'a> {
    /// Its name.
    pub name: &'a str,
    /// Itself, or why it cannot be built.
    pub sink: Result<Box<dyn Sink>, String>,
    /// Where its dead letters go, if they are kept.
    pub letters: Option<letter::Config>,
}

/// What a store may take to answer, with all its servers; each has a timeout of its own.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tries whether there can be a journal in this folder, asks each sink whether its store can be used, tries whether its
/// dead letters can be kept, and writes the answers. Says whether all can.
pub async fn connect<'a>(
    journal: Option<&Path>,
    sinks: impl Iterator<Item = Tried<'a>>,
    out: &mut impl Write,
) -> io::Result<bool> {
    let mut all = true;
    // As if for a file in it: the folder is made with its first one.
    match journal.map(|folder| probe::beside(&folder.join("journal"))) {
        Some(Ok(())) => writeln!(out, "  journal: can be written")?,
        Some(Err(error)) => {
            all = false;
            writeln!(
                out,
                "  journal: {error}; name another folder by `path` in [journal], or set enabled = false"
            )?;
        }
        None => {}
    }
    for Tried { name, sink, letters } in sinks {
        let answer = match sink {
            Ok(sink) => {
                let late = |_| Err(format!("no answer within {} seconds", PATIENCE.as_secs()));
                let answer = tokio::time::timeout(PATIENCE, sink.probe()).await.unwrap_or_else(late);
                sink.close().await;
                answer
            }
            Err(error) => Err(error),
        };
        match answer {
            Ok(()) => writeln!(out, "  sink {name}: can be reached and written to")?,
            Err(error) => {
                all = false;
                writeln!(out, "  sink {name}: {error}")?;
            }
        }
        if let Some(Err(error)) = letters.map(|letters| letters.probe()) {
            all = false;
            writeln!(out, "  sink {name}: its dead letters cannot be kept: {error}")?;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use crate::pipeline::drain;
    use crate::record::Batch;
    use crate::sink::{Answer, Outcome};

    struct Answering(Result<(), String>);

    impl Sink for Answering {
        fn send(&self, _: Batch) -> Answer<'_, Outcome> {
            Box::pin(async { Outcome::Delivered })
        }

        fn probe(&self) -> Answer<'_, Result<(), String>> {
            Box::pin(async { self.0.clone() })
        }
    }

    fn tried(name: &str, answer: Result<(), String>) -> Tried<'_> {
        Tried { name, sink: Ok(Box::new(Answering(answer))), letters: None }
    }

    #[test]
    fn the_defaults_are_told() {
        let config = Config::load(None, &Environment::default()).unwrap();
        let mut out = Vec::new();
        describe(&config, &Inherited::default(), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "no configuration file: the built-in defaults\n  source udp (udp)\n  source tcp (tcp)\n  \
             source http (http)\n  sink sqlite (sqlite)\n  admin http://127.0.0.1:8126\n"
        );
    }

    #[tokio::test]
    async fn every_store_is_asked_also_behind_one_that_cannot_be_used() {
        let sinks = [
            tried("a", Ok(())),
            tried("b", Err("connection refused: is it running?".into())),
            Tried { sink: Err("path: no such folder".into()), ..tried("c", Ok(())) },
            tried("d", Ok(())),
        ];
        let mut out = Vec::new();
        assert!(!connect(None, sinks.into_iter(), &mut out).await.unwrap());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "  sink a: can be reached and written to\n  sink b: connection refused: is it running?\n  \
             sink c: path: no such folder\n  sink d: can be reached and written to\n"
        );
        assert!(connect(None, [tried("a", Ok(()))].into_iter(), &mut Vec::new()).await.unwrap());
    }

    #[tokio::test]
    async fn a_folder_that_can_have_no_journal_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let in_the_way = folder.path().join("file");
        std::fs::write(&in_the_way, "").unwrap();
        let mut out = Vec::new();
        assert!(connect(Some(&folder.path().join("new")), [].into_iter(), &mut out).await.unwrap());
        assert!(!connect(Some(&in_the_way), [].into_iter(), &mut out).await.unwrap());
        let said = String::from_utf8(out).unwrap();
        assert!(
            said.starts_with("  journal: can be written\n  journal: cannot write to the folder "),
            "{said}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_never_answers_is_not_waited_for() {
        struct Silent;
        impl Sink for Silent {
            fn send(&self, _: Batch) -> Answer<'_, Outcome> {
                Box::pin(async { Outcome::Delivered })
            }

            fn probe(&self) -> Answer<'_, Result<(), String>> {
                Box::pin(std::future::pending())
            }
        }
        let mut out = Vec::new();
        let silent = Tried { sink: Ok(Box::new(Silent)), ..tried("a", Ok(())) };
        assert!(!connect(None, [silent].into_iter(), &mut out).await.unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), "  sink a: no answer within 60 seconds\n");
    }

    #[tokio::test]
    async fn dead_letters_that_could_not_be_written_are_told_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let in_the_way = folder.path().join("file");
        std::fs::write(&in_the_way, "").unwrap();
        let letters = |path: &str| {
            let path = folder.path().join(path);
            drain::Config { dead_letters: Some(path), ..drain::Config::default() }.letters("a")
        };
        let sink = |path| Tried { letters: letters(path), ..tried("a", Ok(())) };
        let mut out = Vec::new();
        assert!(connect(None, [sink("dead/a.jsonl")].into_iter(), &mut out).await.unwrap());
        assert!(!connect(None, [sink("file/a.jsonl")].into_iter(), &mut out).await.unwrap());
        let said = String::from_utf8(out).unwrap();
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[..2], ["  sink a: can be reached and written to"; 2]);
        assert!(lines[2].starts_with("  sink a: its dead letters cannot be kept: cannot make "), "{said}");
        assert!(lines[2].ends_with("name another file by `dead_letters` (\"\" keeps none)"), "{said}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
