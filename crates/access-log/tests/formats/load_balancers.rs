//! AWS: Application Load Balancer and CloudFront.

use access_log::Format;

use super::{MS, SECOND, error, only, read};

const ALB: &str = r#"h2 2024-05-17T10:05:03.290000Z app/shop/50dc6c495c0c9188 192.0.2.7:2817 10.0.0.66:9000 0.000 0.038 0.002 200 200 5 257 "GET https://shop.example:443/carts?page=2 HTTP/2.0" "curl/8.5.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/shop/73e2d6bc24d8a067 "Root=1-58337327-72bd00b0343d75b906739c42" "-" "-" 1 2024-05-17T10:05:03.247000Z "forward" "-" "-" "10.0.0.66:9000" "200" "-" "-" TID_dc57cebed65b444ebc8177bb698fe166"#;

const WANTED: [&str; 6] = ["method", "path", "authority", "remote_address", "status", "user_agent"];

#[test]
fn alb_has_the_start_and_three_times_that_add_up() {
    let told = only(Format::Alb, &WANTED, &[ALB]);
    assert_eq!((told.start, told.is_whole_second), (SECOND + 247 * MS, false));
    assert_eq!(told.duration, Some(40 * MS));
    let expected = ["GET", "/carts?page=2", "shop.example:443", "192.0.2.7", "200", "curl/8.5.0"];
    assert_eq!(told.values(), expected);
}

#[test]
fn alb_without_a_creation_time_has_the_end() {
    let line = ALB.split(" \"Root").next().unwrap();
    assert_eq!(only(Format::Alb, &[], &[line]).start, SECOND + 250 * MS);
}

#[test]
fn alb_without_a_target_has_no_duration() {
    let line = ALB.replace("0.000 0.038 0.002", "-1 -1 -1");
    let told = only(Format::Alb, &[], &[&line]);
    assert_eq!((told.start, told.duration), (SECOND + 247 * MS, None));
}

const HEADER: [&str; 2] = [
    "#Version: 1.0",
    "#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) \
     cs(User-Agent) cs-uri-query x-host-header time-taken",
];

const CLOUDFRONT: &str = "2024-05-17\t10:05:03\tSEA19-C1\t4261\t192.0.2.7\tGET\td1.cloudfront.example\t/a%20b.html\t200\t\
     https://www.example/%3Fq\tMozilla/5.0%20(X11)\tx=1&y=%25\tshop.example\t0.250";

#[test]
fn cloudfront_has_the_end_in_whole_seconds() {
    let told = only(Format::CloudFront, &WANTED, &[HEADER[0], HEADER[1], CLOUDFRONT]);
    assert_eq!((told.start, told.is_whole_second), (SECOND - 250 * MS, true));
    assert_eq!(told.duration, Some(250 * MS));
    // A path is as it was in the request, and the rest is decoded.
    let expected =
        ["GET", "/a%20b.html?x=1&y=%25", "shop.example", "192.0.2.7", "200", "Mozilla/5.0 (X11)"];
    assert_eq!(told.values(), expected);
}

#[test]
fn a_header_may_come_again_with_other_columns() {
    let lines = [
        HEADER[0],
        HEADER[1],
        CLOUDFRONT,
        "#Version: 1.0",
        "#Fields: date time c-ip cs-uri-stem cs-uri-query",
        "2024-05-17\t10:05:04\t192.0.2.8\t/c\t-",
    ];
    let told = read(Format::CloudFront, &["path", "remote_address"], &lines);
    assert_eq!(told[1].values(), ["/c", "192.0.2.8"]);
    assert_eq!(told[1].start, SECOND + 1000 * MS);
}

#[test]
fn without_a_header_the_columns_are_those_of_the_documentation() {
    let mut values = vec!["-"; 33];
    for (at, value) in [(0, "2024-05-17"), (1, "10:05:03"), (5, "PUT"), (7, "/a"), (18, "0.5")] {
        values[at] = value;
    }
    let told = only(Format::CloudFront, &["method", "path"], &[&values.join("\t")]);
    assert_eq!(told.start, SECOND - 500 * MS);
    assert_eq!(told.values(), ["PUT", "/a"]);
}

#[test]
fn a_line_with_too_few_values_is_refused() {
    let text = error(Format::CloudFront, &[HEADER[1], "2024-05-17\t10:05:03"]);
    assert_eq!(text, "byte 20: expected 14 values as the header has names, not 2");
}
