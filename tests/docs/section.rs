//! The generated part of a page, between the markers `<!-- NAME -->` and `<!-- end of NAME -->`.

/// Returns the page with another text between the markers.
#[track_caller]
pub fn replaced(page: &str, name: &str, text: &str) -> String {
    let begin = format!("<!-- {name} -->\n");
    let end = format!("<!-- end of {name} -->");
    let from = page.find(&begin).unwrap_or_else(|| panic!("no marker `{}`", begin.trim_end())) + begin.len();
    let to = from + page[from..].find(&end).unwrap_or_else(|| panic!("no marker `{end}`"));
    format!("{}{text}{}", &page[..from], &page[to..])
}
