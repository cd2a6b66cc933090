//! What a line of each format takes, with six wanted fields, or those of them that the format has:
//! `cargo bench -p access-log`.

use std::hint::black_box;

use access_log::{Format, Reader, TimeFields};
use divan::Bencher;
use divan::counter::BytesCount;

fn main() {
    divan::main();
}

/// How many different lines a log has here.
const LINES: usize = 256;

/// What is wanted of each line.
const WANTED: [&str; 6] =
    ["method", "path", "status", "x_forwarded_for", "user_agent", "remote_address"];

/// Reads lines of a format over and over, one in each iteration. `line` makes each of a number.
fn bench(bencher: Bencher<'_, '_>, format: Format, header: &str, line: impl Fn(usize) -> String) {
    let lines: Vec<_> = (0..LINES).map(line).collect();
    let has =
        |field: &&str| Reader::new(format, &[(*field).to_owned()], &TimeFields::default()).is_ok();
    let wanted: Vec<_> = WANTED.into_iter().filter(has).map(str::to_owned).collect();
    let Ok(mut reader) = Reader::new(format, &wanted, &TimeFields::default()) else { return };
    let mut next = lines.iter().cycle();
    if !header.is_empty() {
        let is_read = reader.read(header.as_bytes(), &mut |_| {}).is_ok();
        assert!(is_read, "{header}");
    }
    let bytes = lines.iter().map(String::len).sum::<usize>() / LINES;
    bencher.counter(BytesCount::new(bytes)).bench_local(move || {
        let line = next.next().map_or("", String::as_str);
        let read = reader.read(black_box(line.as_bytes()), &mut |record| {
            black_box(record);
        });
        assert!(read.is_ok(), "{line}");
    });
}

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0 Safari/537.36";

/// A path that differs from line to line.
fn path(number: usize) -> String {
    format!("/api/v1/tenants/{}/carts?page={number}", number * 7919 % 1000)
}

#[divan::bench]
fn envoy(bencher: Bencher<'_, '_>) {
    bench(bencher, Format::Envoy, "", |n| {
        let path = path(n);
        format!(
            "[2024-05-17T10:05:{:02}.{:03}Z] \"GET {path} HTTP/2\" 200 - 0 {n} {n} {n} \"198.51.100.{n}\" \"{AGENT}\" \
             \"7d9d2b4e-7d5c-9f1c-a1a6-60b0f3a7b6d1\" \"shop.example\" \"10.0.0.8:8080\"",
            n % 60,
            n * 7 % 1000
        )
    });
}

#[divan::bench]
fn istio(bencher: Bencher<'_, '_>) {
    bench(bencher, Format::Istio, "", |n| {
        let path = path(n);
        format!(
            "[2024-05-17T10:05:{:02}.{:03}Z] \"GET {path} HTTP/1.1\" 200 - via_upstream - \"-\" 0 {n} {n} {n} \
             \"198.51.100.{n}\" \"{AGENT}\" \"7d9d2b4e-7d5c-9f1c-a1a6-60b0f3a7b6d1\" \"carts:8080\" \"10.0.0.8:8080\" \
             inbound|8080|| 127.0.0.6:41235 10.0.0.8:8080 192.0.2.1:{n} outbound_.8080_._.carts.shop default",
            n % 60,
            n * 7 % 1000
        )
    });
}

#[divan::bench]
fn combined(bencher: Bencher<'_, '_>) {
    bench(bencher, Format::Combined, "", |n| {
        let path = path(n);
        format!(
            "198.51.100.{n} - - [17/May/2024:10:05:{:02} +0000] \"GET {path} HTTP/1.1\" 200 {n} \
             \"https://shop.example/\" \"{AGENT}\"",
            n % 60
        )
    });
}

#[divan::bench]
fn alb(bencher: Bencher<'_, '_>) {
    bench(bencher, Format::Alb, "", |n| {
        let path = path(n);
        format!(
            "h2 2024-05-17T10:05:{:02}.290000Z app/shop/50dc6c495c0c9188 198.51.100.{n}:2817 10.0.0.66:9000 0.000 0.038 \
             0.002 200 200 5 257 \"GET https://shop.example:443{path} HTTP/2.0\" \"{AGENT}\" ECDHE-RSA-AES128 TLSv1.2 \
             arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/shop/73e2d6bc24d8a067 \
             \"Root=1-58337327-72bd00b0343d75b906739c42\" \"-\" \"-\" 1 2024-05-17T10:05:{:02}.247000Z \"forward\" \"-\" \
             \"-\" \"10.0.0.66:9000\" \"200\" \"-\" \"-\"",
            n % 60,
            n % 60
        )
    });
}

#[divan::bench]
fn cloudfront(bencher: Bencher<'_, '_>) {
    let header = "#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status \
        cs(Referer) cs(User-Agent) cs-uri-query x-host-header time-taken x-forwarded-for";
    let agent = AGENT.replace(' ', "%20");
    bench(bencher, Format::CloudFront, header, |n| {
        let (path, query) = (format!("/api/v1/tenants/{n}"), format!("page={n}"));
        format!(
            "2024-05-17\t10:05:{:02}\tSEA19-C1\t{n}\t198.51.100.{n}\tGET\td1.cloudfront.example\t{path}\t200\t-\t{agent}\
             \t{query}\tshop.example\t0.{n}\t-",
            n % 60
        )
    });
}

/// Envoy's JSON with 22 fields, about 710 bytes.
fn json_line(n: usize) -> String {
    let path = path(n);
    format!(
        "{{\"authority\":\"shop.example\",\"bytes_received\":{n},\"bytes_sent\":{},\"connection_termination_details\":null,\
         \"downstream_local_address\":\"10.0.0.8:8443\",\"downstream_remote_address\":\"198.51.100.{n}:51000\",\
         \"duration\":{n},\"method\":\"GET\",\"path\":\"{path}\",\"protocol\":\"HTTP/2\",\
         \"request_id\":\"7d9d2b4e-7d5c-9f1c-a1a6-60b0f3a7b6d1\",\"response_code\":200,\
         \"response_code_details\":\"via_upstream\",\"response_flags\":\"-\",\"route_name\":\"carts\",\
         \"start_time\":\"2024-05-17T10:05:{:02}.{:03}Z\",\"tenant\":\"tenant-{n}\",\"upstream_cluster\":\"carts\",\
         \"upstream_host\":\"10.0.1.17:8080\",\"upstream_service_time\":\"{n}\",\"user_agent\":\"{AGENT}\",\
         \"x_forwarded_for\":\"198.51.100.{n}\"}}",
        n * 13,
        n % 60,
        n * 7 % 1000
    )
}

#[divan::bench]
fn json(bencher: Bencher<'_, '_>) {
    bench(bencher, Format::Json, "", json_line);
}

#[divan::bench]
fn otel_json(bencher: Bencher<'_, '_>) {
    bench(bencher, Format::OtelJson, "", |n| {
        let attribute = |key: &str, value: String| {
            format!("{{\"key\":\"{key}\",\"value\":{{\"stringValue\":\"{value}\"}}}}")
        };
        let attributes = [
            attribute("method", "GET".to_owned()),
            attribute("path", path(n)),
            attribute("response_code", "200".to_owned()),
            attribute("duration", n.to_string()),
            attribute("x_forwarded_for", format!("198.51.100.{n}")),
            attribute("user_agent", AGENT.to_owned()),
        ];
        format!(
            "{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"timeUnixNano\":\"17159403032500{n:05}\",\
             \"attributes\":[{}]}}]}}]}}]}}",
            attributes.join(",")
        )
    });
}

#[divan::bench]
fn csv(bencher: Bencher<'_, '_>) {
    let header = "time,tenant,method,path,status,user_agent,duration_ms";
    bench(bencher, Format::Csv, header, |n| {
        let path = path(n);
        format!(
            "2024-05-17T10:05:{:02}.{:03}Z,tenant-{n},GET,{path},200,\"{AGENT}\",{n}",
            n % 60,
            n
        )
    });
}

#[divan::bench]
fn tollgate(bencher: Bencher<'_, '_>) {
    bench(bencher, Format::Tollgate, "", |n| {
        format!(
            "2024-05-17T10:05:{:02}.000250Z  INFO denied domain=\"management-api\" table=\"tenant\" row=\"free\" \
             values=\"tenant=tenant-{n} path=/carts\" wait=\"90ms\" left_out={n}",
            n % 60
        )
    });
}
