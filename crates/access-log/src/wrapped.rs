//! What container runtimes, `kubectl` and syslog write in front of the lines of a log, or around them.
//!
//! Sources: the log format of Kubernetes' container runtime interface, Docker's json-file driver, RFC 5424, RFC 3164 and
//! the files that rsyslog writes.

use memchr::{memchr, memchr2};

use crate::unescape::{Form, Raw};

/// The line within this one, if one of them has written it. No line of a format begins like that, but those of a JSON log
/// whose fields are Docker's.
#[inline]
pub(crate) fn unwrapped(line: &[u8]) -> Option<Raw<'_>> {
    match line.first()? {
        b'{' => of_docker(line),
        b'[' => line.starts_with(b"[pod/").then(|| Raw::plain(behind_word(line))),
        b'<' => behind_priority(line).map(Raw::plain),
        b'0'..=b'9' => behind_time(line).and_then(behind_stamp).map(Raw::plain),
        b'A'..=b'Z' => behind_short_time(line).and_then(behind_host).map(Raw::plain),
        _ => None,
    }
}

/// The text of `{"log":"..\n","stream":"stdout",`, with its escapes.
fn of_docker(line: &[u8]) -> Option<Raw<'_>> {
    let text = line.strip_prefix(br#"{"log":""#)?;
    let mut end = 0_usize;
    loop {
        end = end.checked_add(memchr2(b'"', b'\\', text.get(end..)?)?)?;
        if text.get(end) == Some(&b'"') {
            break;
        }
        end = end.checked_add(2)?;
    }
    let (text, behind) = text.split_at_checked(end)?;
    let is_dockers =
        behind.starts_with(br#"","stream":"std"#) || behind.starts_with(br#"","attrs":{"#);
    let bytes = text.strip_suffix(br"\n").unwrap_or(text);
    is_dockers.then_some(Raw { bytes, form: Form::Json })
}

/// What is behind `<190>`: with a version behind it as in RFC 5424, else as in RFC 3164.
fn behind_priority(line: &[u8]) -> Option<&[u8]> {
    let (priority, rest) = line.get(1..)?.split_at_checked(memchr(b'>', line.get(1..5)?)?)?;
    let rest = rest.get(1..)?;
    if priority.is_empty() || !priority.iter().all(u8::is_ascii_digit) {
        return None;
    }
    match rest.strip_prefix(b"1 ") {
        // Time, host, program, process and kind of message.
        Some(header) => behind_structured((0..5).fold(header, |rest, _| behind_word(rest))),
        None => behind_short_time(rest).or_else(|| behind_time(rest)).and_then(behind_host),
    }
}

/// What is behind `-`, or behind `[id name="value"][..]`.
fn behind_structured(mut data: &[u8]) -> Option<&[u8]> {
    if let Some(message) = data.strip_prefix(b"- ") {
        return Some(message);
    }
    while let Some(mut rest) = data.strip_prefix(b"[") {
        let mut is_value = false;
        loop {
            let (byte, behind) = rest.split_first()?;
            rest = behind;
            match byte {
                b'\\' if is_value => rest = rest.get(1..)?,
                b'"' => is_value = !is_value,
                b']' if !is_value => break,
                _ => {}
            }
        }
        data = rest;
    }
    data.strip_prefix(b" ")
}

/// What is behind a time of a container runtime, of syslog, or of `kubectl logs --timestamps`.
fn behind_stamp(rest: &[u8]) -> Option<&[u8]> {
    let of_stream = [&b"stdout "[..], b"stderr "].into_iter().find_map(|of| rest.strip_prefix(of));
    if let Some(tags) = of_stream {
        return matches!(tags.first(), Some(b'F' | b'P')).then(|| behind_word(tags));
    }
    // tollgate's own text has its time there, and two spaces or a level behind it.
    let is_line =
        |line: &&[u8]| matches!(line.first(), Some(b'{' | b'[' | b'0'..=b'9' | b'a'..=b'f'));
    behind_host(rest).or_else(|| Some(rest).filter(is_line))
}

/// What is behind `host program[42]: `, or behind the program alone.
fn behind_host(rest: &[u8]) -> Option<&[u8]> {
    let behind = behind_word(rest);
    if is_program(word(rest)) {
        return Some(behind);
    }
    let host = word(rest);
    let is_level = matches!(host, b"TRACE" | b"DEBUG" | b"ERROR");
    let is_host = !is_level && !host.is_empty() && host.iter().all(|byte| is_of_name(*byte, b":"));
    (is_host && is_program(word(behind))).then(|| behind_word(behind))
}

/// `program:` or `program[42]:`.
fn is_program(word: &[u8]) -> bool {
    let Some(program) = word.strip_suffix(b":") else { return false };
    let name = match program.strip_suffix(b"]") {
        Some(inner) => memchr(b'[', inner).and_then(|at| inner.get(..at)).unwrap_or_default(),
        None => program,
    };
    !name.is_empty() && name.iter().all(|byte| is_of_name(*byte, b"/@"))
}

fn is_of_name(byte: u8, more: &[u8]) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte) || more.contains(&byte)
}

/// What is behind a time in RFC 3339 and a space.
fn behind_time(line: &[u8]) -> Option<&[u8]> {
    let rest = behind_shape(line, b"0000-00-00T00:00:00")?;
    let rest = match rest.split_first() {
        Some((b'.', fraction)) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            fraction.get(digits..)?
        }
        _ => rest,
    };
    match rest.split_first()? {
        (b'Z', rest) => rest.strip_prefix(b" "),
        (b'+' | b'-', rest) => {
            behind_shape(rest, b"00:00 ").or_else(|| behind_shape(rest, b"0000 "))
        }
        _ => None,
    }
}

/// What is behind a time such as `May  7 10:05:03 `.
fn behind_short_time(line: &[u8]) -> Option<&[u8]> {
    const MONTHS: [&[u8; 3]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    let (month, rest) = line.split_first_chunk::<3>()?;
    let is_month = MONTHS.contains(&month);
    let of_day = behind_shape(rest, b" 00").or_else(|| behind_shape(rest, b"  0"));
    of_day.filter(|_| is_month).and_then(|rest| behind_shape(rest, b" 00:00:00 "))
}

/// What is behind this shape, in which `0` is any digit.
fn behind_shape<'l>(line: &'l [u8], shape: &[u8]) -> Option<&'l [u8]> {
    let is_of =
        |(byte, of): (&u8, &u8)| if *of == b'0' { byte.is_ascii_digit() } else { byte == of };
    let (begin, rest) = line.split_at_checked(shape.len())?;
    begin.iter().zip(shape).all(is_of).then_some(rest)
}

/// Up to the next space.
fn word(line: &[u8]) -> &[u8] {
    memchr(b' ', line).and_then(|at| line.get(..at)).unwrap_or(line)
}

/// What is behind the next space; nothing without one.
fn behind_word(line: &[u8]) -> &[u8] {
    memchr(b' ', line).and_then(|at| line.get(at.saturating_add(1)..)).unwrap_or_default()
}
