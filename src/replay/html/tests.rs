//! The page as a whole: what it tells, and that what clients have written is never markup.

mod fixture;
mod markup;
mod suggestions;

use self::fixture::{
    HOSTILE, against, hostile, many, nothing, ordinary, suggested, with_whole_seconds,
};
use self::markup::{Tag, tags};
use super::*;

fn page(report: &Report) -> String {
    let mut page = Vec::new();
    write(report, &mut page).unwrap();
    String::from_utf8(page).unwrap()
}

/// The text of a page, without its tags.
fn text(page: &str) -> String {
    let (_, body) = page.split_once("<body>").unwrap();
    let pieces = body.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text));
    pieces.collect::<Vec<_>>().join("|")
}

#[test]
fn the_first_sentence_is_what_came_of_it() {
    let page = page(&ordinary());
    let sentence = "Of 10,049 requests in 10 h, 80 (0.80 %) would have been denied; 3 of 35 keys.";
    assert!(page.contains(&format!("<p class=\"sentence\">{sentence}</p>")));
    assert!(text(&page).find(sentence) < text(&page).find("Requests over time"));
}

#[test]
fn both_bounds_are_told_side_by_side() {
    let report = with_whole_seconds();
    let sentence = "Of 10,049 requests in 10 h, between 21 (0.21 %) and 80 (0.80 %) would have been denied; \
                    between 1 and 3 of 35 keys.";
    assert_eq!(super::summary::sentence(&report), sentence);
    let page = page(&report);
    let bounds = "<th scope=\"row\">all at once</th><td class=\"number\">80</td><td class=\"number\">0.80 %</td>\
                  <td class=\"number\">3</td></tr><tr><th scope=\"row\">spread over the second</th>\
                  <td class=\"number\">21</td><td class=\"number\">0.21 %</td><td class=\"number\">1</td>";
    assert!(page.contains(bounds));
    // In the table of rows, where they differ.
    assert!(page.contains("<td class=\"number bad\">80<small>21 spread</small></td>"));
    assert!(page.contains("<path class=\"spread\""));
    assert!(text(&page).contains("If spread over their second||2 denials"));
    assert!(text(&page).contains("Their requests are replayed twice"));
    let one_bound = self::page(&Report { spread: None, ..report });
    assert!(text(&one_bound).contains("the first of them after others with fractions"));
    assert!(!text(&one_bound).contains("replayed twice"));
}

#[test]
fn a_policy_that_denies_nothing_is_told_as_that() {
    let mut report = ordinary();
    (report.outcome.denied, report.outcome.keys_denied) = (0, 0);
    report.outcome.denied_keys.clear();
    let sentence = "None of 10,049 requests in 10 h would have been denied; there were 35 keys.";
    assert_eq!(super::summary::sentence(&report), sentence);
    assert!(text(&page(&report)).contains("No key was denied."));
}

#[test]
fn a_log_without_requests_is_told_as_that() {
    let page = page(&nothing());
    assert!(text(&page).contains("No request of the logs was decided."));
    assert!(!page.contains("<svg class=\"plot\""));
}

#[test]
fn what_was_left_out_is_told_with_its_number() {
    let text = text(&page(&ordinary()));
    for told in [
        "Lines that could not be read||4",
        "Left out, too late to be put in order||7",
        "Left out by the mapping||12",
        "Left out, of other times||5",
        "Left out, no descriptor||6",
        "Left out, hits not readable||2",
        "Passed by a bypass||30",
        "Passed, no row matched||8",
        "Denied when they were logged (429)||3",
        "Denied then and now||2",
        "Logged without a duration||9",
        "they neither retry nor slow down",
        "tenant=nobody path=/", // the request that no row matched
        "access.log:17",
    ] {
        assert!(text.contains(told), "{told}");
    }
}

#[test]
fn each_limit_has_its_keys_and_what_they_needed() {
    let page = page(&ordinary());
    let text = text(&page);
    assert!(
        page.contains("<tr class=\"table\"><th scope=\"rowgroup\" colspan=\"6\">tenant</th></tr>")
    );
    assert!(page.contains(
        "<th scope=\"row\" class=\"limit\">10 per second</th><td class=\"number\">10,049</td>"
    ));
    assert!(text.contains("Size needed, of 10"));
    assert!(text.contains("50 %||4||40 %"), "{text}");
    assert!(text.contains("all||29||290 %"));
    assert!(
        page.contains("<td class=\"number bad\">29</td>")
            && page.contains("<td class=\"number\">4</td>")
    );
    assert!(text.contains("shadow") && text.contains("override"));
    // Those in shadow come last; a bucket of nothing has no sizes.
    let rows = ["tenant / free", "trials / free"]
        .map(|row| page.find(&format!("<h3 class=\"near-row\">{row}")));
    assert!(rows[0].is_some() && rows[0] < rows[1], "{rows:?}");
    assert_eq!(page.matches("<table class=\"needed\">").count(), 3);
}

#[test]
fn a_denied_key_opens_to_its_minutes() {
    let page = page(&ordinary());
    assert_eq!(page.matches("<li><details><summary>").count(), 4);
    let text = text(&page);
    assert!(
        text.contains("tenant ||acme") && text.contains("First denial||2026-03-02 14:05:09 UTC")
    );
    assert!(text.contains("Longest streak||19 denials on end"));
    assert!(text.find("In shadow, would have been denied") < text.find("trial ||t1"));
}

#[test]
fn another_policy_is_held_against_this_one() {
    let page = page(&against());
    let text = text(&page);
    assert!(
        text.contains("all at once||50||32||2||48")
            && text.contains("spread over the second||80||6||3||48")
    );
    // Rows that deny the same are left out.
    let (_, rows) = page.split_once("Rows that deny more or less").unwrap();
    let (rows, _) = rows.split_once("</table>").unwrap();
    assert_eq!(rows.matches("<th scope=\"row\">").count(), 4);
    for row in [
        "tenant / free</th><td class=\"number\">80</td><td class=\"number\">50</td>",
        "old / all</th><td class=\"number\">–</td><td class=\"number\">1</td>",
    ] {
        assert!(rows.contains(row), "{rows}");
    }
    assert!(
        text.find("Newly denied most") < text.find("initech")
            && text.find("initech") < text.find("umbrella")
    );
}

#[test]
fn suggestions_have_what_they_deny_and_the_sizes_at_other_rates() {
    assert!(!page(&ordinary()).contains("Suggested limits"));
    let page = page(&suggested());
    let (_, section) = page.split_once("<h2 id=\"suggested-title\">").unwrap();
    let (section, _) = section.split_once("</section>").unwrap();
    let shown = text(&format!("<body>{section}"));
    for told in [
        "99.9 % of the keys would never have been denied",
        "judged alone",
        "The logs have changed since they were read first",
        "10 per second: 10,049 requests of 35 keys",
        "At this rate, no size is large enough.",
        "A hundred times the rate, with a size in proportion, is not enough.",
    ] {
        assert_eq!(shown.matches(told).count(), 1, "{told}: {shown}");
    }
    for row in [
        "12 at 10 per second<small>a size of 4 if spread</small></th>\
         <td class=\"number\">26<small>0.26 %</small></td><td class=\"number\">2</td>",
        "1 per minute or less</th>\
         <td class=\"number\">1,000<small>9.95 %</small></td><td class=\"number\">2</td>",
        "6 concurrent</th><td class=\"number\">0</td><td class=\"number\">0</td>",
        "10 per second (now)</th><td class=\"number\">10</td>\
         <td class=\"number\">400<small>2 spread</small></td>",
    ] {
        assert!(section.contains(row), "{row}: {section}");
    }
    // What has no rate has no curve.
    assert_eq!(section.matches("<svg class=\"plot\"").count(), 2);
    assert_eq!(section.matches("<details").count(), 2);
}

#[test]
fn every_picture_has_a_title_and_a_description() {
    let page = page(&with_whole_seconds());
    let plots = page.matches("<svg class=\"plot\"").count();
    assert_eq!(plots, 1 + 3 + 4);
    assert_eq!(page.matches("role=\"img\"").count(), plots);
    assert_eq!(
        (page.matches("<desc>").count(), page.matches("</title><desc>").count()),
        (plots, plots)
    );
}

/// The browser runs only the script and the styles whose hashes the page names.
#[test]
fn nothing_is_fetched_and_nothing_else_runs() {
    let page = page(&ordinary());
    let tags = tags(&page);
    let of = |name: &str| tags.iter().filter(|tag| tag.name == name).count();
    assert_eq!((of("script"), of("style"), of("link"), of("img"), of("base")), (1, 1, 1, 0, 0));
    for (name, value) in tags.iter().flat_map(|tag| &tag.attributes) {
        assert!(!name.starts_with("on") && name != "style" && name != "src", "{name}");
        assert!(name != "href" || value.starts_with("data:"), "{value}");
    }
    let (_, style) = page.split_once("<style>").unwrap();
    let (style, rest) = style.split_once("</style>").unwrap();
    let (_, script) = rest.split_once("<script type=\"module\">").unwrap();
    let (script, _) = script.split_once("</script>").unwrap();
    for (kind, text) in [("style-src", style), ("script-src", script)] {
        assert!(page.contains(&format!("{kind} '{}';", hash(&[text]))), "{kind}");
        assert!(!text.contains("http:") && !text.contains("https:") && !text.contains("@import"));
    }
    for wrong in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
        assert!(!SCRIPT.contains(wrong), "{wrong}");
    }
}

/// All text of a report replaced by hostile text gives the same tags with the same attributes.
#[test]
fn what_clients_have_written_adds_no_tag_and_no_attribute() {
    let names = |page: &str| {
        let name =
            |tag: Tag| (tag.name, tag.attributes.into_iter().map(|(name, _)| name).collect());
        tags(page).into_iter().map(name).collect::<Vec<(String, Vec<String>)>>()
    };
    for report in [ordinary(), with_whole_seconds(), against(), suggested()] {
        let (good, bad) = (page(&report), page(&hostile(report)));
        assert_eq!(names(&bad), names(&good));
        assert!(bad.matches("&lt;script&gt;").count() > 20);
        assert!(!bad.contains(HOSTILE) && !bad.contains("<script>") && !bad.contains("<img"));
        let is_plain =
            |c: char| c == '\n' || (!c.is_control() && !"\u{202e}\u{2066}\u{200f}".contains(c));
        assert!(bad.chars().all(is_plain));
        assert!(bad.contains("\\u{202e}") && bad.contains("\\u{1b}[2J\\r\\n"));
    }
}

#[test]
fn a_page_is_balanced_and_has_each_id_once() {
    for report in [ordinary(), against(), suggested(), nothing(), hostile(against())] {
        let page = page(&report);
        markup::check_balance(&page);
        let tags = tags(&page);
        let all = |name: &str| -> Vec<String> {
            let attributes = tags.iter().flat_map(|tag| tag.attributes.clone());
            attributes.filter_map(|(of, value)| (of == name).then_some(value)).collect()
        };
        let ids = all("id");
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[..at].contains(id), "{id}");
        }
        for labelled_by in all("aria-labelledby") {
            assert!(ids.contains(&labelled_by), "{labelled_by}");
        }
    }
}

#[test]
fn the_largest_report_has_a_page_of_a_bounded_size() {
    let page = page(&many());
    // 100 keys of 240 steps, 1,440 steps, 200 pictures of 14 classes.
    assert!(page.len() < 4 << 20, "{}", page.len());
    assert_eq!(page.matches("<table class=\"needed\">").count(), 200);
    // The one that denied most.
    assert!(
        page.contains("near-row\">tenant / row-299</h3>")
            && !page.contains("near-row\">tenant / row-99</h3>")
    );
    assert!(text(&page).contains("100 other limits are only in the table"));
    assert!(text(&page).contains("200 other limits are not shown here"));
    assert_eq!(page.matches("<path class=\"part\"").count(), 100);
    assert!(text(&page).contains("and 990 others"));
    let (first, others) = page.split_once("<summary>90 keys more</summary>").unwrap();
    assert_eq!(
        [first, others].map(|part| part.matches("<li><details><summary>").count()),
        [10, 90]
    );
}
