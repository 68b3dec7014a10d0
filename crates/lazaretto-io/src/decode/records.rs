//! Where the records of a text file begin and end, without interpreting their values.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::discover::Format;

/// A record longer than this is taken for a missing closing quote or line break.
pub(crate) const MAX_RECORD_BYTES: u64 = 256 << 20;

/// One complete record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Boundary {
    /// Position after the record and its line break, relative to where the splitter started.
    pub(crate) end: u64,
    /// Number of fields (CSV), 0 for JSON lines.
    pub(crate) fields: usize,
}

/// Splits a stream of bytes into records. Blank lines before a record belong to it.
pub(crate) enum Splitter {
    /// CSV by the same automaton that reads the values.
    Csv(Box<CsvSplitter>),
    /// JSON by lines; a line of white space is not a record.
    Lines {
        /// Bytes seen.
        position: u64,
        /// Whether the current line has more than white space.
        content: bool,
    },
}

pub(crate) struct CsvSplitter {
    reader: Reader,
    position: u64,
    fields: usize,
    /// A record that ended in `\r`: a `\n` directly after it is part of its line break.
    held: Option<usize>,
    output: Vec<u8>,
    ends: Vec<usize>,
}

/// The CSV dialect of `format`.
pub(crate) fn delimiter(format: Format) -> u8 {
    if format == Format::Tsv { b'\t' } else { b',' }
}

impl Splitter {
    /// A splitter that starts at a record (after the header, if there is one).
    pub(crate) fn new(format: Format) -> Self {
        if format == Format::JsonLines {
            return Self::Lines {
                position: 0,
                content: false,
            };
        }
        let mut reader = ReaderBuilder::new().delimiter(delimiter(format)).build();
        let mut output = vec![0; 64 << 10];
        let mut ends = vec![0; 1024];
        // The automaton drops a byte-order mark at its very start; a blank line before it makes
        // clear that this is not the start of a file.
        reader.read_record(b"\n", &mut output, &mut ends);
        Self::Csv(Box::new(CsvSplitter {
            reader,
            position: 0,
            fields: 0,
            held: None,
            output,
            ends,
        }))
    }

    /// Feeds the next bytes and calls `record` for each record that is complete.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut record: impl FnMut(Boundary)) {
        match self {
            Self::Csv(csv) => csv.feed(bytes, &mut record),
            Self::Lines { position, content } => {
                for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
                    *position += piece.len() as u64;
                    *content = *content || !piece.trim_ascii().is_empty();
                    if piece.ends_with(b"\n") && std::mem::take(content) {
                        record(Boundary {
                            end: *position,
                            fields: 0,
                        });
                    }
                }
            }
        }
    }

    /// Ends the input: the last record may lack its line break.
    pub(crate) fn finish(&mut self, mut record: impl FnMut(Boundary)) {
        match self {
            Self::Csv(csv) => csv.finish(&mut record),
            Self::Lines { position, content } => {
                if std::mem::take(content) {
                    record(Boundary {
                        end: *position,
                        fields: 0,
                    });
                }
            }
        }
    }
}

impl CsvSplitter {
    fn feed(&mut self, mut bytes: &[u8], record: &mut impl FnMut(Boundary)) {
        while let Some(&next) = bytes.first() {
            if let Some(fields) = self.held.take() {
                record(Boundary {
                    end: self.position + u64::from(next == b'\n'),
                    fields,
                });
            }
            let (result, read, _, fields) =
                self.reader
                    .read_record(bytes, &mut self.output, &mut self.ends);
            self.position += read as u64;
            self.fields += fields;
            let last = read.checked_sub(1).map(|idx| bytes[idx]);
            bytes = &bytes[read..];
            if matches!(result, ReadRecordResult::Record) {
                let fields = std::mem::take(&mut self.fields);
                if last == Some(b'\r') {
                    self.held = Some(fields);
                } else {
                    record(Boundary {
                        end: self.position,
                        fields,
                    });
                }
            }
        }
    }

    fn finish(&mut self, record: &mut impl FnMut(Boundary)) {
        if let Some(fields) = self.held.take() {
            record(Boundary {
                end: self.position,
                fields,
            });
        }
        loop {
            let (result, _, _, fields) =
                self.reader
                    .read_record(&[], &mut self.output, &mut self.ends);
            self.fields += fields;
            match result {
                ReadRecordResult::Record => record(Boundary {
                    end: self.position,
                    fields: std::mem::take(&mut self.fields),
                }),
                ReadRecordResult::End | ReadRecordResult::InputEmpty => return,
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {}
            }
        }
    }
}

/// The ends of all records in `bytes`, which start at a record and end after one.
pub(crate) fn record_ends(format: Format, bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut splitter = Splitter::new(format);
    splitter.feed(bytes, |boundary| ends.push(boundary.end as usize));
    splitter.finish(|boundary| ends.push(boundary.end as usize));
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(format: Format, text: &str, chunk: usize) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        let mut splitter = Splitter::new(format);
        for piece in text.as_bytes().chunks(chunk) {
            splitter.feed(piece, |boundary| found.push(boundary));
        }
        splitter.finish(|boundary| found.push(boundary));
        let mut start = 0;
        found
            .into_iter()
            .map(|boundary| {
                let end = boundary.end as usize;
                let record = text[start..end].to_owned();
                start = end;
                (record, boundary.fields)
            })
            .collect()
    }

    #[test]
    fn csv_records_keep_quoted_line_breaks_and_their_own_line_endings() {
        let text = "a,\"b\r\nc\"\r\n1,2\n\n3,\"x \"\"y\"\"\n\"\r4,5";
        for chunk in [1, 2, 3, 7, 100] {
            assert_eq!(
                records(Format::Csv, text, chunk),
                [
                    ("a,\"b\r\nc\"\r\n".to_owned(), 2),
                    ("1,2\n".to_owned(), 2),
                    ("\n3,\"x \"\"y\"\"\n\"\r".to_owned(), 2),
                    ("4,5".to_owned(), 2),
                ],
                "chunks of {chunk}"
            );
        }
    }

    #[test]
    fn json_lines_skip_blank_lines_and_need_no_final_line_break() {
        let text = "{\"a\":1}\r\n  \n{\"a\":2}";
        for chunk in [1, 5, 100] {
            assert_eq!(
                records(Format::JsonLines, text, chunk),
                [
                    ("{\"a\":1}\r\n".to_owned(), 0),
                    ("  \n{\"a\":2}".to_owned(), 0)
                ]
            );
        }
    }
}
