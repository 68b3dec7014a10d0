//! Damage of the kinds that broken and hostile files have: cut off, bits flipped, sizes that lie,
//! ranges that overlap, dictionaries that are none.

use rand::Rng as _;

use crate::seed::stream;

/// Where the description of a file lies, in whose bytes damage does the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Footer {
    /// A Parquet file: a Thrift structure, its length and `PAR1` at the end.
    Parquet,
    /// An Arrow file: flatbuffers before each batch and at the end.
    Arrow,
    /// A text file has none.
    None,
}

impl Footer {
    /// Number of bytes at the end that describe the file.
    fn length(self, bytes: &[u8]) -> usize {
        let tail = match self {
            Self::Parquet => 8,
            Self::Arrow => 10,
            Self::None => return 0,
        };
        let Some(length) = bytes
            .len()
            .checked_sub(tail)
            .and_then(|at| bytes[at..].first_chunk::<4>())
        else {
            return 0;
        };
        let length = u32::from_le_bytes(*length) as usize;
        (length + tail).min(bytes.len())
    }
}

/// A damaged copy of `bytes`; `case` chooses the kind of damage and its place.
#[must_use]
pub fn damaged(bytes: &[u8], footer: Footer, case: u64) -> Vec<u8> {
    let mut rng = stream(case, "damage");
    let mut damaged = bytes.to_vec();
    if damaged.len() < 16 {
        return damaged;
    }
    let described = footer.length(bytes);
    // Half of the damage goes to the description, where there is one.
    let range = if described > 16 && rng.gen_bool(0.5) {
        damaged.len() - described..damaged.len()
    } else {
        0..damaged.len()
    };
    let at = rng.gen_range(range.clone());
    let length = (range.end - at).min(1 << rng.gen_range(0..10));
    match case % 9 {
        0 => damaged.truncate(at),
        1 => {
            for _ in 0..rng.gen_range(1..9) {
                let bit = rng.gen_range(range.start * 8..range.end * 8);
                damaged[bit / 8] ^= 1 << (bit % 8);
            }
        }
        // Sizes and counts that lie, in fixed and in variable width.
        2 => overwrite(&mut damaged, at, &u32::MAX.to_le_bytes()),
        3 => overwrite(&mut damaged, at, &(i64::MAX - 7).to_le_bytes()),
        4 => overwrite(&mut damaged, at, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        5 => damaged[at..at + length].fill(0),
        // Ranges that overlap: what belongs here is also there.
        6 => {
            let from = rng.gen_range(0..=bytes.len() - length);
            let copied = bytes[from..from + length].to_vec();
            overwrite(&mut damaged, at, &copied);
        }
        7 => {
            let noise: Vec<u8> = (0..length).map(|_| rng.r#gen()).collect();
            damaged.splice(at..at, noise);
        }
        _ => {
            damaged.drain(at..at + length);
        }
    }
    damaged
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let end = bytes.len().min(at + with.len());
    bytes[at..end].copy_from_slice(&with[..end - at]);
}

/// Text files that no reader should trip over, with names that say what they are.
#[must_use]
pub fn hostile_texts() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!("{{\"a\":{open}{close}}}\n").into_bytes()
    };
    let csv = |body: &[u8]| [b"a,b\n".as_slice(), body].concat();
    vec![
        ("deep.jsonl", deep(10_000)),
        ("deeper.jsonl", deep(1_000_000)),
        (
            "objects.jsonl",
            format!("{}1{}\n", "{\"a\":".repeat(10_000), "}".repeat(10_000)).into_bytes(),
        ),
        (
            "duplicate-keys.jsonl",
            b"{\"a\":1,\"a\":2,\"b\":3}\n{\"a\":1,\"b\":2}\n".to_vec(),
        ),
        (
            "beyond-f64.jsonl",
            b"{\"a\":1e999,\"b\":-1e999}\n{\"a\":123456789012345678901234567890,\"b\":0}\n"
                .to_vec(),
        ),
        ("cut-off.jsonl", b"{\"a\":\"x\",\"b\":".to_vec()),
        (
            "surrogates.jsonl",
            b"{\"a\":\"\\ud800\",\"b\":\"\\udfff\\ud800\"}\n".to_vec(),
        ),
        ("nul.jsonl", b"{\"a\":\"\x00\",\"b\":1}\n".to_vec()),
        (
            "bom-inside.jsonl",
            b"{\"a\":1,\"b\":2}\n\xEF\xBB\xBF{\"a\":1,\"b\":2}\n".to_vec(),
        ),
        ("bom.jsonl", b"\xEF\xBB\xBF{\"a\":1,\"b\":2}\n".to_vec()),
        ("bom.csv", b"\xEF\xBB\xBFa,b\n1,2\n".to_vec()),
        ("utf16.jsonl", utf16("{\"a\":1,\"b\":2}\n")),
        ("utf16.csv", utf16("a,b\n1,2\n")),
        ("quote.csv", csv(b"\"never closed,2\n1,2\n")),
        ("quotes.csv", csv(&b"\"\"\"\"\"".repeat(5_001))),
        ("nul.csv", csv(b"\x00,\x00\n\x00\x00,1\n")),
        ("latin1.csv", csv(b"caf\xe9,1\n")),
        ("mixed.csv", csv(b"caf\xc3\xa9,1\ncaf\xe9,2\n")),
        ("bom-inside.csv", csv(b"\xEF\xBB\xBF1,2\n")),
        ("ragged.csv", csv(b"1,2\n1,2,3\n1\n")),
        ("separators.csv", csv(&b",".repeat(1_000_000))),
        ("numbers.csv", csv(b"1e999,-1e999\n0x10,1_000\n")),
        (
            "long-cell.csv",
            csv(&[vec![b'x'; 8 << 20], b",1\n".to_vec()].concat()),
        ),
        (
            "long-name.csv",
            [vec![b'n'; 1 << 20], b",b\n1,2\n".to_vec()].concat(),
        ),
        (
            "many-columns.csv",
            format!("{}a\n{}1\n", "a,".repeat(50_000), "1,".repeat(50_000)).into_bytes(),
        ),
        ("empty.csv", Vec::new()),
        ("empty.jsonl", Vec::new()),
        ("only-breaks.csv", b"\r\n\r\n\n\n\r\r".to_vec()),
        ("only-bom.csv", b"\xEF\xBB\xBF".to_vec()),
        ("not-gzip.csv.gz", b"a,b\n1,2\n".to_vec()),
        ("not-zstd.jsonl.zst", b"{\"a\":1}\n".to_vec()),
    ]
}

fn utf16(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().flat_map(u16::to_le_bytes);
    [0xff, 0xfe].into_iter().chain(units).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_repeats_and_almost_always_changes_something() {
        let bytes: Vec<u8> = (0..4096_u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
        let changed = (0..900)
            .filter(|&case| {
                let once = damaged(&bytes, Footer::Parquet, case);
                assert_eq!(once, damaged(&bytes, Footer::Parquet, case));
                once != bytes
            })
            .count();
        assert!(changed > 850, "{changed} of 900");
    }

    #[test]
    fn the_footer_is_found_and_a_lying_length_stays_inside() {
        let mut bytes = vec![7; 100];
        bytes[92..96].copy_from_slice(&20_u32.to_le_bytes());
        assert_eq!(Footer::Parquet.length(&bytes), 28);
        bytes[92..96].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Footer::Parquet.length(&bytes), 100);
        assert_eq!(Footer::Parquet.length(&bytes[..3]), 0);
    }
}
