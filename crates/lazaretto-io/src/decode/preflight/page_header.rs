//! Reads the header of a Parquet page, which is a `PageHeader` in Thrift's compact protocol.
//!
//! It takes the numbers that say what decoding the page would ask for, and passes over all else.
//! Nothing is allocated, and nesting is bounded. What is absent on purpose: statistics, page
//! contents, and any other structure of Parquet; the `parquet` crate does not make its own reader public.

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageKind {
    /// Values, in the first or second layout.
    Data,
    /// A dictionary.
    Dictionary,
    /// Anything else, which decoders pass over.
    Other,
}

/// The numbers of a page's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    pub(super) kind: PageKind,
    /// Bytes once it is unpacked.
    pub(super) unpacked: u64,
    /// Bytes in the file, after the header.
    pub(super) stored: u64,
    /// Number of values, nulls included.
    pub(super) values: u64,
    /// Number of nulls, where it is told.
    pub(super) nulls: Option<u64>,
    /// Number of rows, which the second layout tells.
    pub(super) rows: Option<u64>,
    /// Bytes of the levels before the values, which the second layout tells.
    pub(super) levels: u64,
    /// Whether the values are indices into the dictionary.
    pub(super) indices: bool,
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// It goes on after the bytes that were given.
    Unfinished,
    /// It is none.
    Wrong(&'static str),
}

/// A field that has a type other than the format's.
const OTHER_TYPE: Malformed = Malformed::Wrong("a page header with a field of another type");

/// Structures that are passed over may lie this deep in each other; statistics lie one deep.
const MAX_DEPTH: usize = 8;

/// The header at the start of `bytes`, and its length.
pub(super) fn read(bytes: &[u8]) -> Result<(PageHeader, usize), Malformed> {
    let mut thrift = Compact { bytes, position: 0 };
    let mut sizes = [None; 2];
    let mut kind = None;
    let mut bodies: [Option<Body>; 3] = Default::default();
    thrift.fields(|thrift, field| {
        match field {
            (1, Type::Integer) => kind = Some(thrift.enumeration()?),
            (2, Type::Integer) => sizes[0] = Some(thrift.count("uncompressed size")?),
            (3, Type::Integer) => sizes[1] = Some(thrift.count("compressed size")?),
            (id @ (5 | 7 | 8), Type::Struct) => {
                let known = &mut bodies[usize::from(id > 5) + usize::from(id > 7)];
                if known.is_some() {
                    return Err(Malformed::Wrong("a page header that says a thing twice"));
                }
                *known = Some(Body::read(thrift, id)?);
            }
            (4, other @ Type::Integer) | (6, other @ Type::Struct) => thrift.skip(other, 0)?,
            // Others read a field of this number as what it should be, and something else from there on.
            (1..=8, _) => return Err(OTHER_TYPE),
            (_, other) => thrift.skip(other, 0)?,
        }
        Ok(())
    })?;
    let ([Some(unpacked), Some(stored)], Some(kind)) = (sizes, kind) else {
        return Err(Malformed::Wrong("a page header without its sizes"));
    };
    let [first, dictionary, second] = bodies;
    let (kind, body) = match kind {
        0 => (PageKind::Data, first),
        3 => (PageKind::Data, second),
        2 => (PageKind::Dictionary, dictionary),
        _ => (PageKind::Other, None),
    };
    let body = body.unwrap_or_default();
    let Some(values) = body.values.or((kind == PageKind::Other).then_some(0)) else {
        return Err(Malformed::Wrong(
            "a page header without its number of values",
        ));
    };
    let header = PageHeader {
        kind,
        unpacked,
        stored,
        values,
        nulls: body.nulls,
        rows: body.rows,
        levels: body.levels,
        indices: body.indices,
    };
    Ok((header, thrift.position))
}

/// The part of a header that depends on the kind of the page.
#[derive(Default)]
struct Body {
    values: Option<u64>,
    nulls: Option<u64>,
    rows: Option<u64>,
    levels: u64,
    indices: bool,
}

impl Body {
    fn read(thrift: &mut Compact<'_>, field: i16) -> Result<Self, Malformed> {
        let mut body = Self::default();
        let second = field == 8;
        let last = match field {
            5 => 5,
            7 => 3,
            _ => 8,
        };
        thrift.fields(|thrift, inner| {
            match inner {
                (1, Type::Integer) => body.values = Some(thrift.count("number of values")?),
                (2, Type::Integer) if second => {
                    body.nulls = Some(thrift.count("number of nulls")?);
                }
                (3, Type::Integer) if second => body.rows = Some(thrift.count("number of rows")?),
                (5 | 6, Type::Integer) if second => {
                    let levels = thrift.count("size of levels")?;
                    body.levels = body.levels.saturating_add(levels);
                }
                (id, Type::Integer) if id == if second { 4 } else { 2 } => {
                    // PLAIN_DICTIONARY and RLE_DICTIONARY.
                    body.indices = [2, 8].contains(&thrift.enumeration()?);
                }
                (5, Type::Struct) if field == 5 => body.nulls = null_count(thrift)?,
                (3 | 4, other @ Type::Integer) if field == 5 => thrift.skip(other, 0)?,
                (3, other @ Type::Boolean) if field == 7 => thrift.skip(other, 0)?,
                (7, other @ Type::Boolean) | (8, other @ Type::Struct) if second => {
                    thrift.skip(other, 0)?;
                }
                (id, _) if (1..=last).contains(&id) => return Err(OTHER_TYPE),
                (_, other) => thrift.skip(other, 0)?,
            }
            Ok(())
        })?;
        Ok(body)
    }
}

/// The number of nulls in the statistics of a page; they are believed for what they forgive alone.
fn null_count(thrift: &mut Compact<'_>) -> Result<Option<u64>, Malformed> {
    let mut nulls = None;
    thrift.fields(|thrift, field| {
        match field {
            (3, Type::Integer) => nulls = u64::try_from(thrift.integer()?).ok(),
            (_, other) => thrift.skip(other, 1)?,
        }
        Ok(())
    })?;
    Ok(nulls)
}

/// The type of a field, as far as reading and passing over differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    /// The value is part of the type.
    Boolean,
    Byte,
    /// 16, 32 or 64 bits.
    Integer,
    Double,
    Binary,
    /// A list or a set.
    List,
    Map,
    Struct,
    Uuid,
}

impl Type {
    fn of(code: u8) -> Result<Self, Malformed> {
        Ok(match code {
            1 | 2 => Self::Boolean,
            3 => Self::Byte,
            4..=6 => Self::Integer,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            11 => Self::Map,
            12 => Self::Struct,
            13 => Self::Uuid,
            _ => return Err(Malformed::Wrong("a page header with an unknown type")),
        })
    }
}

struct Compact<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Compact<'_> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = self.bytes.get(self.position);
        let byte = *byte.ok_or(Malformed::Unfinished)?;
        self.position += 1;
        Ok(byte)
    }

    fn jump(&mut self, bytes: u64) -> Result<(), Malformed> {
        let left = (self.bytes.len() - self.position) as u64;
        if bytes > left {
            return Err(Malformed::Unfinished);
        }
        self.position += bytes as usize;
        Ok(())
    }

    /// A number that stands for a word.
    fn enumeration(&mut self) -> Result<i32, Malformed> {
        i32::try_from(self.integer()?)
            .map_err(|_| Malformed::Wrong("a page header with a number out of range"))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Wrong("a page header with an endless number"))
    }

    fn integer(&mut self) -> Result<i64, Malformed> {
        let zigzag = self.varint()?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    /// A number of 32 bits that cannot be negative.
    fn count(&mut self, what: &'static str) -> Result<u64, Malformed> {
        match u32::try_from(self.integer()?) {
            Ok(count) if i32::try_from(count).is_ok() => Ok(count.into()),
            _ => Err(Malformed::Wrong(match what {
                "uncompressed size" => "a page with an impossible uncompressed size",
                "compressed size" => "a page with an impossible compressed size",
                "number of values" => "a page with an impossible number of values",
                "number of nulls" => "a page with an impossible number of nulls",
                "number of rows" => "a page with an impossible number of rows",
                _ => "a page with levels of an impossible size",
            })),
        }
    }

    /// Calls `each` with the id and the type of every field of a structure, which it has to read.
    fn fields(
        &mut self,
        mut each: impl FnMut(&mut Self, (i16, Type)) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let mut id: i16 = 0;
        loop {
            let byte = self.byte()?;
            if byte == 0 {
                return Ok(());
            }
            let field = Type::of(byte & 0x0f)?;
            id = match byte >> 4 {
                0 => self.integer()? as i16,
                step => id.wrapping_add(step.into()),
            };
            each(self, (id, field))?;
        }
    }

    fn skip(&mut self, field: Type, depth: usize) -> Result<(), Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed::Wrong("a page header that is nested too deep"));
        }
        match field {
            Type::Boolean => Ok(()),
            Type::Byte => self.jump(1),
            Type::Integer => self.varint().map(drop),
            Type::Double => self.jump(8),
            Type::Uuid => self.jump(16),
            Type::Binary => {
                let length = self.varint()?;
                self.jump(length)
            }
            Type::Struct => self.fields(|thrift, (_, field)| thrift.skip(field, depth + 1)),
            Type::List => {
                let header = self.byte()?;
                let length = match header >> 4 {
                    15 => self.varint()?,
                    short => short.into(),
                };
                self.skip_elements(length, &[header & 0x0f], depth)
            }
            Type::Map => {
                let length = self.varint()?;
                if length == 0 {
                    return Ok(());
                }
                let types = self.byte()?;
                self.skip_elements(length, &[types >> 4, types & 0x0f], depth)
            }
        }
    }

    fn skip_elements(&mut self, length: u64, types: &[u8], depth: usize) -> Result<(), Malformed> {
        // An element takes a byte at least.
        if length > self.bytes.len() as u64 {
            return Err(Malformed::Unfinished);
        }
        for _ in 0..length {
            for &code in types {
                match Type::of(code)? {
                    Type::Boolean => self.jump(1)?,
                    other => self.skip(other, depth + 1)?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(mut value: u64, to: &mut Vec<u8>) {
        while value >= 0x80 {
            to.push(value as u8 | 0x80);
            value >>= 7;
        }
        to.push(value as u8);
    }

    fn integer(id_step: u8, value: i64, to: &mut Vec<u8>) {
        to.push(id_step << 4 | 0x05);
        varint(((value << 1) ^ (value >> 63)) as u64, to);
    }

    /// A header as the specification lays it out, with the fields of `body` in field `field`.
    fn header(kind: i64, sizes: (i64, i64), field: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        integer(1, kind, &mut bytes);
        integer(1, sizes.0, &mut bytes);
        integer(1, sizes.1, &mut bytes);
        bytes.push((field - 3) << 4 | 0x0c);
        bytes.extend_from_slice(body);
        bytes.extend([0, 0]);
        bytes
    }

    #[test]
    fn headers_of_each_kind_are_read() {
        let mut body = Vec::new();
        integer(1, 300, &mut body);
        for _ in 0..3 {
            integer(1, 8, &mut body);
        }
        // Statistics: a maximum of three bytes, then two fields on, the number of nulls.
        body.extend([0x1c, 0x18, 3, b'x', b'y', b'z', 0x26, 14, 0]);
        let bytes = header(0, (9_000, 70), 5, &body);
        let (found, length) = read(&[&bytes[..], b"the page"].concat()).unwrap();
        assert_eq!(length, bytes.len());
        assert_eq!(
            found,
            PageHeader {
                kind: PageKind::Data,
                unpacked: 9_000,
                stored: 70,
                values: 300,
                nulls: Some(7),
                rows: None,
                levels: 0,
                indices: true,
            }
        );

        let mut body = Vec::new();
        for value in [100, 5, 90, 0, 40, 2] {
            integer(1, value, &mut body);
        }
        body.push(0x11);
        let (found, _) = read(&header(3, (50, 50), 8, &body)).unwrap();
        assert_eq!(
            (found.values, found.nulls, found.rows),
            (100, Some(5), Some(90))
        );
        assert_eq!((found.levels, found.indices), (42, false));

        let mut body = Vec::new();
        integer(1, 4, &mut body);
        integer(1, 0, &mut body);
        let (found, _) = read(&header(2, (16, 16), 7, &body)).unwrap();
        assert_eq!((found.kind, found.values), (PageKind::Dictionary, 4));
    }

    #[test]
    fn headers_that_others_would_read_otherwise_are_refused() {
        let mut body = Vec::new();
        integer(1, 300, &mut body);
        read(&header(0, (90, 70), 5, &body)).unwrap();
        // Kinds are cut to 32 bits elsewhere: this is a data page there.
        for kind in [1 << 32, 2 | 1 << 32, -(1 << 40)] {
            let wrong = read(&header(kind, (90, 70), 5, &body)).unwrap_err();
            assert!(matches!(wrong, Malformed::Wrong(_)), "{kind}");
        }
        // The number of values of one kind in a page of another.
        read(&header(3, (90, 70), 5, &body)).unwrap_err();
        read(&header(0, (90, 70), 8, &body)).unwrap_err();
        // A second one of the same kind.
        let mut twice = header(0, (90, 70), 5, &body);
        twice.pop();
        twice.extend([0x0c, 0x0a]);
        twice.extend_from_slice(&body);
        twice.extend([0, 0]);
        assert_eq!(
            read(&twice),
            Err(Malformed::Wrong("a page header that says a thing twice"))
        );
        // Bytes where a number should be.
        assert_eq!(read(&[0x18, 0]), Err(OTHER_TYPE));
        let mut strange = Vec::new();
        integer(1, 300, &mut strange);
        strange.extend([0x18, 0]);
        assert_eq!(read(&header(0, (90, 70), 5, &strange)), Err(OTHER_TYPE));
    }

    #[test]
    fn a_header_that_is_cut_off_asks_for_more_and_a_wrong_one_does_not() {
        let mut body = Vec::new();
        integer(1, 4, &mut body);
        let whole = header(2, (16, 16), 7, &body);
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), Err(Malformed::Unfinished));
        }
        for wrong in [
            header(2, (-1, 16), 7, &body),
            header(2, (16, 1 << 31), 7, &body),
            // The values of a dictionary in a page of data.
            header(0, (16, 16), 7, &body),
            vec![0x0e; 9],
            [&[0x15][..], &[0xff; 12]].concat(),
            // Structures without end in a field that is passed over.
            [&[0x9c][..], &[0x1c; 99]].concat(),
        ] {
            assert!(
                matches!(read(&wrong), Err(Malformed::Wrong(_))),
                "{wrong:?}"
            );
        }
        // A list of more elements than there are bytes is not walked through.
        let long = [&[0x99, 0xf1][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
        assert_eq!(read(&long), Err(Malformed::Unfinished));
    }
}
