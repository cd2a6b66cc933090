use super::*;

/// Every field means its length, so that a meaning that was kept can be told from one that was lost.
struct Lengths;

impl Dictionary for Lengths {
    type Meaning = usize;

    fn meaning(&self, name: &[u8], value: &[u8]) -> usize {
        name.len() + value.len()
    }

    fn static_meaning(&self, at: usize) -> Option<usize> {
        FIELDS.get(at).map(|(name, value)| name.len() + value.len())
    }
}

struct Reader(Decoder<usize>);

impl Reader {
    fn new() -> Self {
        Self(Decoder::new(usize::MAX))
    }

    fn read(&mut self, block: &[u8]) -> Result<Vec<(String, String)>, HpackError> {
        let mut fields = Vec::new();
        self.0.decode(block, &Lengths, |field| {
            assert_eq!(field.meaning + OVERHEAD, field.size());
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            fields.push((text(field.name), text(field.value)));
        })?;
        Ok(fields)
    }

    fn table(&self) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let size = self.0.entries.iter().map(Entry::size).sum::<usize>();
        assert_eq!(self.0.size, size);
        self.0
            .entries
            .iter()
            .map(|entry| (text(entry.field().name), text(entry.field().value)))
            .collect()
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn fields(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// RFC 7541, Appendix C.3 and C.4: three requests, plain and coded.
#[test]
fn the_requests_of_the_rfc_are_read() {
    let plain = [
        "828684410f7777772e6578616d706c652e636f6d",
        "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ];
    let coded = [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ];
    for requests in [plain, coded] {
        let mut reader = Reader::new();
        let host = (":authority", "www.example.com");
        let first = [(":method", "GET"), (":scheme", "http"), (":path", "/"), host];
        assert_eq!(reader.read(&bytes(requests[0])).unwrap(), fields(&first));
        let no_cache = ("cache-control", "no-cache");
        assert_eq!(
            reader.read(&bytes(requests[1])).unwrap(),
            fields(&[&first[..], &[no_cache]].concat())
        );
        let custom = ("custom-key", "custom-value");
        let third =
            [(":method", "GET"), (":scheme", "https"), (":path", "/index.html"), host, custom];
        assert_eq!(reader.read(&bytes(requests[2])).unwrap(), fields(&third));
        assert_eq!(reader.table(), fields(&[custom, no_cache, host]));
        assert_eq!(reader.0.size, 164);
    }
}

/// RFC 7541, Appendix C.5 and C.6: a table of 256 bytes, of which entries are dropped.
#[test]
fn old_entries_make_room_for_new_ones() {
    let mut reader = Reader::new();
    reader.0.max_size = 256;
    let first = "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d";
    reader.read(&bytes(first)).unwrap();
    assert_eq!(reader.0.size, 222);
    let second = reader.read(&bytes("4803333037c1c0bf")).unwrap();
    let date = ("date", "Mon, 21 Oct 2013 20:13:21 GMT");
    let location = ("location", "https://www.example.com");
    let private = ("cache-control", "private");
    assert_eq!(second, fields(&[(":status", "307"), private, date, location]));
    assert_eq!(reader.table(), fields(&[(":status", "307"), location, date, private]));
    let third = "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31";
    let third = reader.read(&bytes(third)).unwrap();
    assert_eq!(third.len(), 6);
    assert_eq!(reader.0.size, 215);
    assert_eq!(reader.table()[2], ("date".into(), "Mon, 21 Oct 2013 20:13:22 GMT".into()));
}

/// Section 4.4: an entry that does not fit empties the table, and is no error.
#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let mut reader = Reader::new();
    reader.read(&bytes("400161 0162")).unwrap();
    assert_eq!(reader.table().len(), 1);
    let mut block = Vec::new();
    put_inserted(b"long", &[b'"'; DEFAULT_TABLE_SIZE], &mut block);
    assert_eq!(reader.read(&block).unwrap().len(), 1);
    assert!(reader.table().is_empty());
}

/// Section 4.2.
#[test]
fn the_size_of_the_table_changes_before_the_first_field_only() {
    let mut reader = Reader::new();
    reader.read(&bytes("400161 0162")).unwrap();
    // To nothing and back: what was in it is gone.
    assert_eq!(reader.read(&bytes("20 3fe11f 82")).unwrap().len(), 1);
    assert!(reader.table().is_empty());
    assert_eq!(reader.read(&bytes("82 20")), Err(HpackError::TableSize));
    assert_eq!(Reader::new().read(&bytes("3fe21f")), Err(HpackError::TableSize));
}

#[test]
fn an_index_without_an_entry_is_an_error() {
    for block in ["80", "be", "ff00", "7f00 0161", "40"] {
        let read = Reader::new().read(&bytes(block));
        assert!(
            matches!(read, Err(HpackError::Index | HpackError::Truncated)),
            "{block}: {read:?}"
        );
    }
    assert_eq!(Reader::new().read(&bytes("be")), Err(HpackError::Index));
}

#[test]
fn a_field_that_is_never_indexed_is_read_and_not_kept() {
    let mut reader = Reader::new();
    let block = bytes("10 08 70617373776f7264 06 736563726574");
    assert_eq!(reader.read(&block).unwrap(), fields(&[("password", "secret")]));
    assert!(reader.table().is_empty());
}

#[test]
fn a_block_that_is_cut_anywhere_is_an_error_or_has_fewer_fields() {
    let block = bytes("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf");
    for end in 0..block.len() {
        let mut reader = Reader::new();
        reader.read(&bytes("400161 0162")).unwrap();
        if let Ok(read) = reader.read(&block[..end]) {
            assert!(read.len() <= 4, "{end}");
        }
    }
}

#[test]
fn what_is_written_is_read() {
    let mut block = Vec::new();
    put_table_size(100, &mut block);
    put_status(200, &mut block);
    put_status(418, &mut block);
    put_inserted(b"content-type", b"application/grpc", &mut block);
    put_literal(b"grpc-message", &[0, 0x80, 0xff, b'%'], &mut block);
    put_index(dynamic_index(0).into(), &mut block);
    let mut reader = Reader::new();
    let read = reader.read(&block).unwrap();
    assert_eq!(read[0], (":status".into(), "200".into()));
    assert_eq!(read[1], (":status".into(), "418".into()));
    assert_eq!(read[2], ("content-type".into(), "application/grpc".into()));
    assert_eq!(read[3].0, "grpc-message");
    assert_eq!(read[4], read[2]);
    assert_eq!(reader.0.max_size, 100);
}
