//! Lines of an access log. The first byte is its format.
#![no_main]

use access_log::{Format, LineError, Reader, TimeFields, detect};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

/// What is wanted: general names, a name in an object, and one that few formats have.
const WANTED: [&str; 7] =
    ["method", "path", "remote_address", "authority", "user_agent", "request.headers", "tenant"];

/// A record: its start, whether that is a whole second, the duration, and the values.
type Told = (u64, bool, Option<u64>, Vec<Option<Vec<u8>>>);

fuzz_target!(|data: &[u8]| {
    let Some((number, text)) = data.split_first() else { return };
    let format = Format::ALL[usize::from(*number) % Format::ALL.len()];
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    if let Err(error) = detect(&lines) {
        assert_plain(&error.to_string());
    }
    let mut reader = reader(format);
    let told: Vec<_> = lines.iter().map(|line| check(&mut reader, line)).collect();
    // What a reader has learnt of lines does not change what it reads, unless it is the names of columns.
    if !matches!(format, Format::Csv | Format::Tsv | Format::CloudFront) {
        let again: Vec<_> = lines.iter().map(|line| read(&mut reader, line)).collect();
        assert_eq!(told, again);
    }
    if format == Format::Json {
        lines.iter().for_each(|line| check_json(&mut reader, line));
    }
});

fn reader(format: Format) -> Reader {
    let times = TimeFields::default();
    let has = |field: &&str| Reader::new(format, &[(*field).to_owned()], &times).is_ok();
    let wanted: Vec<_> = WANTED.into_iter().filter(has).map(str::to_owned).collect();
    Reader::new(format, &wanted, &times).unwrap()
}

fn read(reader: &mut Reader, line: &[u8]) -> Result<Vec<Told>, LineError> {
    let mut told = vec![];
    reader.read(line, &mut |record| {
        let values = record.values.iter().map(|value| value.map(<[u8]>::to_vec));
        told.push((record.start, record.is_whole_second, record.duration, values.collect()));
    })?;
    Ok(told)
}

fn check(reader: &mut Reader, line: &[u8]) -> Result<Vec<Told>, LineError> {
    let told = read(reader, line);
    match &told {
        Ok(told) => {
            let values = told.iter().flat_map(|(_, _, _, values)| values).flatten();
            for value in values {
                assert!(!value.is_empty() && value != b"-" && value.len() <= 2 * line.len());
            }
            assert_eq!(reader.fields(line, &mut |_, _| {}), Ok(()));
        }
        Err(error) => {
            assert!((1..=line.len() + 1).contains(&error.at()), "{error}");
            assert_plain(&error.to_string());
        }
    }
    told
}

/// A message has nothing of a line in it.
fn assert_plain(message: &str) {
    assert!(!message.contains(char::is_control), "{message:?}");
}

/// What serde_json reads is read, if it has a time. In an object of Docker's, that is what stands in it.
fn check_json(reader: &mut Reader, line: &[u8]) {
    if !line.starts_with(br#"{"log":""#)
        && serde_json::from_slice::<Map<String, Value>>(line).is_ok()
        && let Err(error) = reader.fields(line, &mut |_, _| {})
    {
        assert!(error.expected().contains("time"), "{error}");
    }
}
