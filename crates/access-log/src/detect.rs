//! Which format a log has.

use crate::format::Format;
use crate::reader::Reader;
use crate::record::TimeFields;

/// How many lines are looked at.
const MAX_LINES: usize = 100;

/// Other lines must be fewer than this many for each request.
const MAX_OTHERS: usize = 5;

/// No format reads enough of the lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.told())]
pub struct Undetected {
    lines: usize,
    /// The format that read most lines, and what was wrong with the first that it did not.
    best: Option<(Format, usize, String)>,
}

impl Undetected {
    /// How many lines were looked at, without empty ones.
    #[must_use]
    pub const fn lines(&self) -> usize {
        self.lines
    }

    fn told(&self) -> String {
        let names = Format::ALL.map(Format::name).join(", ");
        match &self.best {
            _ if self.lines == 0 => "there are no lines to tell the format by".to_owned(),
            None => format!("none of the first {} lines is of a known format: {names}", self.lines),
            Some((format, read, error)) => format!(
                "only {read} of the first {} lines are {format}, and fewer any other of: {names}; the first that is \
                 not: {error}",
                self.lines
            ),
        }
    }
}

/// Tells the format of a log by its first lines, without their ends. Lines beyond the hundredth are not looked at.
///
/// It is the format that reads most of them. Other output often stands between the lines of a log: it must be fewer than
/// five lines for each request.
///
/// # Errors
/// If there is no such format.
pub fn detect(lines: &[&[u8]]) -> Result<Format, Undetected> {
    let lines: Vec<_> =
        lines.iter().copied().filter(|line| !line.trim_ascii().is_empty()).collect();
    let lines = lines.get(..MAX_LINES).unwrap_or(&lines);
    let mut best: Option<(Format, Score)> = None;
    for format in Format::ALL {
        let score = score(format, lines);
        // Lines without a record count as well: in JSON, those of tollgate that tell of no denial are records.
        let is_better = |best: &(Format, Score)| score.read > best.1.read;
        if score.records > 0 && best.as_ref().is_none_or(is_better) {
            best = Some((format, score));
        }
    }
    match best {
        Some((format, score)) if score.records * MAX_OTHERS > score.errors => Ok(format),
        best => {
            let best = best.map(|(format, score)| (format, score.records, score.first_error));
            Err(Undetected { lines: lines.len(), best })
        }
    }
}

/// How many lines a format reads.
struct Score {
    /// Lines that are of the format, and those of them with a record.
    read: usize,
    records: usize,
    errors: usize,
    first_error: String,
}

fn score(format: Format, lines: &[&[u8]]) -> Score {
    let mut score = Score { read: 0, records: 0, errors: 0, first_error: String::new() };
    let Ok(mut reader) = Reader::new(format, &[], &TimeFields::default()) else { return score };
    for line in lines {
        let mut has_record = false;
        match reader.read(line, &mut |_| has_record = true) {
            Ok(()) => {
                score.read += 1;
                score.records += usize::from(has_record);
            }
            Err(error) => {
                if score.errors == 0 {
                    score.first_error = error.to_string();
                }
                score.errors += 1;
            }
        }
    }
    score
}
