//! Writes the lines of batches, each byte once however often a batch is sent.

use std::collections::VecDeque;
use std::io::{self, Write};

use super::output::{Opened, Output};
use super::{Format, line};
use crate::record::Batch;
use crate::sink::Outcome;
use crate::sink::thread::Blocking;

/// What was begun and is not answered as delivered yet.
struct Begun {
    batch: Batch,
    lines: Vec<u8>,
    /// Bytes of `lines` that are written.
    written: usize,
}

/// The writer of one output.
pub(super) struct Writer {
    output: Output,
    format: Format,
    /// In the order in which they were sent first, which is the order of their lines. At most one is written in part.
    begun: VecDeque<Begun>,
}

impl Writer {
    pub(super) fn new(output: Output, format: Format) -> Self {
        Writer { output, format, begun: VecDeque::new() }
    }

    /// Writes what is left of all that was begun.
    fn write(&mut self) -> io::Result<()> {
        let (opened, file) = self.output.ready()?;
        for begun in &mut self.begun {
            if opened == Opened::Anew {
                begun.restart_line();
            }
            begun.write(file)?;
        }
        Ok(())
    }
}

impl Blocking for Writer {
    fn send(&mut self, batch: &Batch) -> Outcome {
        let place = self.begun.iter().position(|begun| begun.batch.is_same(batch));
        let place = place.unwrap_or_else(|| {
            let lines = line::encode(batch, self.format);
            self.begun.push_back(Begun { batch: batch.clone(), lines, written: 0 });
            self.begun.len() - 1
        });
        let error = self.write().err();
        let is_written = self.begun[place].written == self.begun[place].lines.len();
        match error {
            Some(error) if !is_written => Outcome::Retry(format!("{}: {error}", self.output.name())),
            _ => {
                self.begun.remove(place);
                Outcome::Delivered
            }
        }
    }

    fn reopen(&mut self) {
        self.output.close();
    }
}

impl Begun {
    fn write(&mut self, file: &mut impl Write) -> io::Result<()> {
        while self.written < self.lines.len() {
            match file.write(&self.lines[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The rest of a line whose first half is in another file would be no line.
    fn restart_line(&mut self) {
        let done = &self.lines[..self.written];
        self.written = memchr::memrchr(b'\n', done).map_or(0, |end| end + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(lines: &str) -> Begun {
        Begun { batch: Batch::new(), lines: lines.into(), written: 0 }
    }

    #[test]
    fn a_write_that_failed_goes_on_at_the_byte_where_it_stopped() {
        let mut begun = begun("one\ntwo\n");
        let mut room = [0; 6];
        let error = begun.write(&mut &mut room[..]).unwrap_err();
        assert_eq!((error.kind(), &room), (io::ErrorKind::WriteZero, b"one\ntw"));
        let mut rest = Vec::new();
        begun.write(&mut rest).unwrap();
        assert_eq!(rest, b"o\n");
        begun.write(&mut rest).unwrap();
        assert_eq!(rest, b"o\n", "nothing is left");
    }

    #[test]
    fn a_line_whose_half_is_in_another_file_is_written_whole() {
        for (written, rest) in [(0, "one\ntwo\n"), (2, "one\ntwo\n"), (4, "two\n"), (6, "two\n"), (8, "")] {
            let mut begun = begun("one\ntwo\n");
            begun.written = written;
            begun.restart_line();
            assert_eq!(&begun.lines[begun.written..], rest.as_bytes());
        }
    }
}
