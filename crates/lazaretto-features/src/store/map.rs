//! A file as memory: the one place here that needs unsafe code.

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::Mmap;

/// A mapped file that nobody writes any more.
#[derive(Debug)]
pub(super) struct Mapped {
    map: Mmap,
    /// Held as long as the map, so that nobody else comes to own it.
    _file: File,
}

impl Mapped {
    pub(super) fn new(file: File) -> io::Result<Self> {
        // SAFETY: the map is undefined behaviour if the file changes under it. The file is a
        // temporary one of this run that was handed over by value; its only writer was consumed
        // to get here, and nothing else knows a name or a handle of it. A shorter file would end
        // the process by a signal rather than read what is not there.
        #[expect(unsafe_code, reason = "mapping a file is unsafe by nature")]
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { map, _file: file })
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.map[range]
    }
}
