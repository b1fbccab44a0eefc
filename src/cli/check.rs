//! `kaneda check`: what a configuration says, for a person; and whether its stores can be used.

use std::io::{self, Write};

use crate::config::Config;
use crate::sink::Sink;

/// Writes what `config` says.
pub fn describe(config: &Config, out: &mut impl Write) -> io::Result<()> {
    match &config.file {
        Some(file) => writeln!(out, "{}: no mistakes", file.display())?,
        None => writeln!(out, "no configuration file: the built-in defaults")?,
    }
    for source in &config.sources {
        writeln!(out, "  source {} ({})", source.name, source.kind.word())?;
    }
    for sink in &config.sinks {
        writeln!(out, "  sink {} ({})", sink.name, sink.kind.word())?;
    }
    writeln!(out, "  admin http://{}", config.admin.listen)
}

/// Asks each sink whether its store can be used, and writes the answers. Says whether all can.
pub async fn connect<'a>(
    sinks: impl Iterator<Item = (&'a str, Result<Box<dyn Sink>, String>)>,
    out: &mut impl Write,
) -> io::Result<bool> {
    let mut all = true;
    for (name, built) in sinks {
        let answer = match built {
            Ok(sink) => {
                let answer = sink.probe().await;
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
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
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

    #[test]
    fn the_defaults_are_told() {
        let config = Config::load(None, &Environment::default()).unwrap();
        let mut out = Vec::new();
        describe(&config, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "no configuration file: the built-in defaults\n  source udp (udp)\n  source tcp (tcp)\n  \
             source http (http)\n  sink sqlite (sqlite)\n  admin http://127.0.0.1:8126\n"
        );
    }

    #[tokio::test]
    async fn every_store_is_asked_also_behind_one_that_cannot_be_used() {
        let sink =
            |answer: Result<(), String>| -> Result<Box<dyn Sink>, String> { Ok(Box::new(Answering(answer))) };
        let sinks = [
            ("a", sink(Ok(()))),
            ("b", sink(Err("connection refused: is it running?".into()))),
            ("c", Err("path: no such folder".into())),
            ("d", sink(Ok(()))),
        ];
        let mut out = Vec::new();
        assert!(!connect(sinks.into_iter(), &mut out).await.unwrap());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "  sink a: can be reached and written to\n  sink b: connection refused: is it running?\n  \
             sink c: path: no such folder\n  sink d: can be reached and written to\n"
        );
        assert!(connect([("a", sink(Ok(())))].into_iter(), &mut Vec::new()).await.unwrap());
    }
}
