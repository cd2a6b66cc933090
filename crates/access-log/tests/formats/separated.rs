//! CSV and TSV.

use access_log::{Format, TimeFields, Unit};

use super::{MS, SECOND, error, fields, only, read, read_with};

#[test]
fn csv_has_its_names_in_the_first_line() {
    let lines = [
        "\u{feff}timestamp, tenant ,method,\"path\",duration_ms\r",
        "2024-05-17T10:05:03Z,acme,GET,/a,250\r",
        r#"2024-05-17T10:05:03.5Z,"big, ""old"" inc",POST,"/b",-"#,
        "2024-05-17T10:05:03Z,,GET,-,",
    ];
    let told = read(Format::Csv, &["tenant", "method", "path", "missing"], &lines);
    let values: Vec<_> = told.iter().map(super::Told::values).collect();
    assert_eq!(
        values,
        [
            ["acme", "GET", "/a", "-"],
            [r#"big, "old" inc"#, "POST", "/b", "-"],
            ["-", "GET", "-", "-"]
        ]
    );
    assert_eq!((told[0].start, told[0].duration), (SECOND, Some(250 * MS)));
    assert_eq!((told[1].start, told[1].duration), (SECOND + 500 * MS, None));
    assert_eq!(
        told.iter().map(|told| told.is_whole_second).collect::<Vec<_>>(),
        [true, false, true]
    );
}

#[test]
fn tsv_needs_no_quotes() {
    let lines =
        ["time\tuser_agent\tx", "1715940303.25\tsay \"hi\"\t\"a", "1715940303\t\"q\t\"\t\"b\""];
    let told = read(Format::Tsv, &["user_agent", "x"], &lines);
    assert_eq!(told[0].values(), ["say \"hi\"", "\"a"]);
    assert_eq!(told[0].start, SECOND + 250 * MS);
    assert_eq!(told[1].values(), ["q\t", "b"]);
}

#[test]
fn date_and_time_may_be_two_columns() {
    let lines = ["date,time,path", "2024-05-17,10:05:03.250,/a"];
    assert_eq!(only(Format::Csv, &[], &lines).start, SECOND + 250 * MS);
    // A date of its own beside a whole time is of no use.
    let lines = ["date,time,path", "2024-05-17,2024-05-17T10:05:03Z,/a"];
    assert_eq!(only(Format::Csv, &[], &lines).start, SECOND);
}

#[test]
fn the_header_may_come_again() {
    for header in ["time,path", "time,path,", "\"time\", path ,\"a \"\"b\"\"\""] {
        let commas = ",".repeat(header.matches(',').count() - 1);
        let [first, second] =
            ["1715940303,/a", "1715940304,/b"].map(|line| format!("{line}{commas}"));
        let told = read(Format::Csv, &["path"], &[header, &first, header, &second]);
        assert_eq!(told.iter().map(super::Told::values).collect::<Vec<_>>(), [["/a"], ["/b"]]);
    }
}

#[test]
fn the_columns_of_times_may_be_named() {
    let times = TimeFields {
        time: Some("done".to_owned()),
        is_end: Some(true),
        duration: Some(("took".to_owned(), Unit::Microseconds)),
    };
    let told = read_with(Format::Csv, &times, &[], &["took,done", "1500,1715940303"]);
    assert_eq!((told[0].start, told[0].duration), (SECOND - 1_500_000, Some(1_500_000)));
}

#[test]
fn what_is_no_csv_tells_what_was_expected() {
    let text = error(Format::Csv, &["a,b"]);
    assert!(
        text.starts_with(
            "byte 1: expected a header with a column for the time, one of: start_time, "
        ),
        "{text}"
    );
    let header = "time,path";
    assert_eq!(
        error(Format::Csv, &[header, "1715940303"]),
        "byte 11: expected 2 values as the header has names, not 1"
    );
    let text = error(Format::Csv, &[header, "1715940303,\"/a"]);
    assert!(text.starts_with("byte 12: expected a quote that ends the value"), "{text}");
    assert!(error(Format::Csv, &[header, "1715940303,\"a\"b"]).starts_with("byte 12:"));
    assert!(error(Format::Csv, &[header, "yesterday,/a"]).starts_with("byte 1: expected a time"));
}

#[test]
fn fields_have_the_names_of_the_header() {
    let told = fields(Format::Csv, &["time,request", "1715940303,GET /a HTTP/1.1"]);
    let expected = [
        "time=1715940303",
        "request=GET /a HTTP/1.1",
        "method=GET",
        "path=/a",
        "protocol=HTTP/1.1",
    ];
    assert_eq!(told, expected);
    assert!(fields(Format::Csv, &["time,request"]).is_empty());
}
