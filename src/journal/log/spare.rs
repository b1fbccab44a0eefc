//! Files of segments that are done with, kept for segments to come: writing over what is in the kernel's memory, and has
//! its place on the disk, costs half of what a new file does.

use std::io::{self, IoSlice};

use crate::journal::extent::Segment;
use crate::journal::files::{File, Files};
use crate::journal::segment::{Header, file_name};

/// So many are kept: the segments that are filled between two rounds in which those that are done with go.
const MOST: usize = 2;

/// How a file's name ends that is no segment any more. What is in it is of no value.
pub(super) const END: &str = ".spare";

/// The files.
#[derive(Debug, Default)]
pub(super) struct Spares(Vec<Spare>);

#[derive(Debug)]
struct Spare {
    name: String,
    bytes: u64,
}

impl Spares {
    pub(super) fn has_room(&self) -> bool {
        self.0.len() < MOST
    }

    /// Their bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|spare| spare.bytes).sum()
    }

    /// Keeps the file of `segment`, which it is not any more.
    pub(super) fn keep(&mut self, files: &impl Files, segment: &Segment) -> io::Result<()> {
        let name = format!("{:020}{END}", segment.first);
        files.rename(&segment.name(), &name)?;
        self.0.push(Spare { name, bytes: segment.end });
        Ok(())
    }

    /// Begins the segment `first` in one of them, if there is one. Gives its file, and how long that is.
    pub(super) fn begin<F: Files>(
        &mut self,
        files: &F,
        first: u64,
    ) -> io::Result<Option<(F::File, Header, u64)>> {
        let Some(spare) = self.0.pop() else { return Ok(None) };
        let header = Header { is_reused: true, ..Header::new(first) };
        match write_over(files, &spare.name, &header) {
            Ok(file) => Ok(Some((file, header, spare.bytes))),
            // Somebody else removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                // If this fails too, the next start removes it.
                let _ = files.remove(&spare.name);
                self.distrust(files);
                Err(error)
            }
        }
    }

    /// Forgets them after an error: a sync that failed may have lost what took their old names, and one that succeeds
    /// behind it does not bring that back.
    pub(super) fn distrust(&mut self, files: &impl Files) {
        for spare in self.0.drain(..) {
            // If this fails too, the next start removes it.
            let _ = files.remove(&spare.name);
        }
    }

    /// Removes them. Says whether there were any.
    pub(super) fn remove_all(&mut self, files: &impl Files) -> io::Result<bool> {
        let were_any = !self.0.is_empty();
        while let Some(spare) = self.0.last() {
            match files.remove(&spare.name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.0.pop(),
            };
        }
        Ok(were_any)
    }
}

/// Makes the file `name` the segment of which `header` is.
fn write_over<F: Files>(files: &F, name: &str, header: &Header) -> io::Result<F::File> {
    // Else the name that it had as a segment could come back in a crash, with another one in it.
    files.sync()?;
    let file = files.open(name)?;
    file.write_at(0, &mut [IoSlice::new(&header.to_bytes())])?;
    // Before it is a segment again: only the header says that what stands behind it is no part of it.
    file.sync()?;
    files.rename(name, &file_name(header.first))?;
    Ok(file)
}
