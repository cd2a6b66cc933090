//! A report as a page: one HTML file that needs nothing else, for people who look at it, print it or send it on.
//!
//! The page has the look of the dashboard, whose style sheet it contains. Its pictures are SVG, drawn here. Its script only
//! reads out single steps of the pictures; a Content-Security-Policy admits that script and these styles by their hashes,
//! and nothing else.

mod against;
mod axis;
mod curve;
mod elements;
mod escape;
mod input;
mod keys;
mod nearness;
mod panel;
mod plot;
mod rows;
mod suggested;
mod summary;
mod usage;
mod words;

use std::fmt::{self, Display, Formatter};
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use self::against::Compared;
use self::elements::write_fact;
use self::escape::Escaped;
use self::input::{Notes, Read};
use self::keys::Keys;
use self::nearness::Nearness;
use self::rows::Rows;
use self::suggested::Suggested;
use self::summary::Summary;
use self::words::moment;
use super::report::Report;

/// The styles of the dashboard, and those of the page alone.
const STYLES: [&str; 2] =
    [include_str!("../admin/dashboard/page/page.css"), include_str!("html/page.css")];

const SCRIPT: &str = include_str!("html/page.js");

/// The sign of tollgate.
const SIGN: &str = include_str!("../admin/dashboard/page/page.svg");

/// Writes a report as a page.
///
/// # Errors
/// Those of `out`.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{}", Page(report))
}

struct Page<'a>(&'a Report);

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.0;
        write_head(report, f)?;
        f.write_str("<body>\n")?;
        write_header(report, f)?;
        writeln!(f, "<main>\n<div class=\"column\">\n{}\n{}", Summary(report), Compared(report))?;
        writeln!(f, "{}\n{}\n{}", Rows(report), Keys(report), Nearness(report))?;
        writeln!(f, "{}\n</div>", Suggested(report))?;
        writeln!(
            f,
            "<div class=\"column\">\n{}\n{}\n</div>\n</main>",
            Read(report),
            Notes(report)
        )?;
        f.write_str("<footer class=\"quiet\">Times are in UTC.</footer>\n</body>\n</html>\n")
    }
}

fn write_head(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let domain = Escaped(&report.domain);
    let (style, script) = (hash(&STYLES), hash(&[SCRIPT]));
    let icon = utf8_percent_encode(SIGN.trim_end(), NON_ALPHANUMERIC);
    let [of_dashboard, of_page] = STYLES;
    write!(
        f,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src '{style}'; script-src '{script}'; img-src data:; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"generator\" content=\"tollgate {}\">\n\
         <title>Replay: {domain} – tollgate</title>\n\
         <link rel=\"icon\" href=\"data:image/svg+xml,{icon}\">\n\
         <style>{of_dashboard}{of_page}</style>\n\
         <script type=\"module\">{SCRIPT}</script>\n</head>\n",
        env!("CARGO_PKG_VERSION"),
    )
}

/// What a Content-Security-Policy calls an inline text.
fn hash(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part));
    format!("sha256-{}", STANDARD.encode(digest.finalize()))
}

fn write_header(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "<header>\n<h1><span class=\"sign\" aria-hidden=\"true\">{SIGN}</span> tollgate replay \
         <span class=\"quiet\">{}</span></h1>\n<dl class=\"states\">",
        env!("CARGO_PKG_VERSION"),
    )?;
    write_fact("Domain", Escaped(&report.domain), f)?;
    for (name, time) in [("From", &report.input.first), ("To", &report.input.last)] {
        if let Some(time) = time {
            write_fact(name, format_args!("{} UTC", Escaped(&moment(time))), f)?;
        }
    }
    f.write_str("</dl>\n</header>\n")
}

#[cfg(test)]
mod tests;
