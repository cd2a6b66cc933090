//! How near the keys came to their limit, as a picture: how many keys needed how much of the size.

use std::fmt::{self, Display, Formatter};

use super::escape::Escaped;
use super::panel::{Panel, percent};
use super::words::count;
use crate::replay::report::{BucketReport, UsageClass};

/// A picture of the keys of a bucket, by how much of its size they needed. The size is a line.
#[derive(Debug)]
pub(super) struct Usage<'a> {
    /// The row and the limit.
    pub(super) name: &'a str,
    /// The bucket.
    pub(super) bucket: &'a BucketReport,
}

impl Display for Usage<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let classes = &self.bucket.usage;
        let most = classes.iter().map(|class| class.keys).max().unwrap_or(0);
        let panel = Panel::new(26, 84, most);
        let bottom = panel.bottom();
        write!(f, "<svg class=\"plot\" role=\"img\" height=\"{}\">", bottom + 34)?;
        write!(f, "<title>{}</title><desc>{}</desc>", Escaped(self.name), self.told())?;
        panel.write_scale(f)?;
        let all = length(classes);
        for (at, class) in (0..).zip(classes) {
            let (begin, end) = (percent(at, all), percent(at + 1, all));
            if class.keys > 0 {
                let (x, width) = (percent(10 * at + 1, 10 * all), percent(8, 10 * all));
                let (height, middle) = (panel.height_of(class.keys), percent(2 * at + 1, 2 * all));
                let kind = if is_over(class) { "denied" } else { "admitted" };
                let y = bottom - height;
                write!(f, "<rect class=\"{kind}\" x=\"{x}\" y=\"{y}\" width=\"{width}\"")?;
                write!(f, " height=\"{height}\"/><text class=\"keys\" x=\"{middle}\"")?;
                write!(f, " y=\"{}\" text-anchor=\"middle\">{}</text>", y - 4, short(class.keys))?;
            }
            if let Some(up_to) = class.up_to_percent {
                let (tick, y) = (bottom + 4, bottom + 15);
                write!(
                    f,
                    "<line class=\"tick\" x1=\"{end}\" x2=\"{end}\" y1=\"{bottom}\" y2=\"{tick}\"/>\
                     <text x=\"{end}\" y=\"{y}\" text-anchor=\"middle\">{up_to}</text>"
                )?;
            } else {
                // The last class has no end.
                write!(f, "<text x=\"{begin}\" dx=\"20\" y=\"{}\">more</text>", bottom + 15)?;
            }
        }
        let limit = percent(length(classes.iter().filter(|class| !is_over(class))), all);
        write!(
            f,
            "<line class=\"limit\" x1=\"{limit}\" x2=\"{limit}\" y1=\"8\" y2=\"{bottom}\"/>\
             <text class=\"limit\" x=\"{limit}\" dx=\"-5\" y=\"10\" text-anchor=\"end\">the limit</text>\
             <text class=\"denied\" x=\"{limit}\" dx=\"5\" y=\"10\">over it</text>\
             <text x=\"0\" y=\"{}\">% of the size that the keys needed</text></svg>",
            bottom + 31
        )
    }
}

impl Usage<'_> {
    /// The picture in words.
    fn told(&self) -> String {
        let met = self.bucket.usage.iter().filter(|class| class.keys > 0);
        let told = met.map(|class| {
            let keys = count(class.keys, "key", "keys");
            match class.up_to_percent {
                Some(up_to) => format!("{keys} up to {up_to} %"),
                None => format!("{keys} more"),
            }
        });
        let told = told.collect::<Vec<_>>().join(", ");
        format!("Of the size {} needed: {told}.", self.bucket.size)
    }
}

fn is_over(class: &UsageClass) -> bool {
    class.up_to_percent.is_none_or(|up_to| up_to > 100)
}

fn length<'a>(classes: impl IntoIterator<Item = &'a UsageClass>) -> u64 {
    (0..).zip(classes).last().map_or(0, |(last, _): (u64, _)| last + 1)
}

/// A number in four characters or so.
fn short(number: u64) -> String {
    match number {
        ..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{}k", number / 1_000),
        _ => format!("{}M", number / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(up_to_percent: Option<u32>, keys: u64) -> UsageClass {
        UsageClass { up_to_percent, keys }
    }

    fn bucket(usage: Vec<UsageClass>) -> BucketReport {
        BucketReport {
            limit: "10 per second".to_owned(),
            size: 10,
            is_override: false,
            requests: 100,
            denied: 3,
            keys: 42,
            keys_denied: 2,
            needed: crate::replay::report::Needed::default(),
            usage,
        }
    }

    #[test]
    fn the_limit_stands_between_the_classes_within_and_beyond() {
        let usage =
            vec![class(Some(50), 30), class(Some(100), 10), class(Some(200), 0), class(None, 2)];
        let usage = Usage { name: "calls", bucket: &bucket(usage) }.to_string();
        assert!(usage.contains(r#"<line class="limit" x1="50.00%" x2="50.00%""#), "{usage}");
        let bars = ["admitted", "denied"]
            .map(|kind| usage.matches(&format!("<rect class=\"{kind}\"")).count());
        assert_eq!(bars, [2, 1]);
        let told = "Of the size 10 needed: 30 keys up to 50 %, 10 keys up to 100 %, 2 keys more.";
        assert!(usage.contains(told), "{usage}");
        // 84 pixels are 40 keys.
        assert!(usage.contains(r#"x="2.50%" y="47" width="20.00%" height="63""#), "{usage}");
        assert!(usage.contains(r#"x="77.50%" y="106" width="20.00%" height="4""#), "{usage}");
    }

    #[test]
    fn a_bucket_without_classes_is_drawn_as_nothing() {
        let usage = Usage { name: "calls", bucket: &bucket(Vec::new()) }.to_string();
        assert!(!usage.contains("<rect") && usage.contains(r#"x1="0.00%""#), "{usage}");
    }

    #[test]
    fn numbers_over_bars_are_short() {
        let numbers = [0, 9_999, 10_000, 999_999, 1_000_000].map(short);
        assert_eq!(numbers, ["0", "9999", "10k", "999k", "1M"]);
    }
}
