//! Redacts the values of secrets in text, also in the encodings in which other programs print them.

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

/// A value shorter than this, in bytes, is not redacted: it would match unrelated text.
pub const SHORTEST_SCRUBBED: usize = 4;
/// Only parts of a value, such as lines of a key, that are at least this long are redacted on their own.
const SHORTEST_PART: usize = 8;

/// Replaces known values with `<secret NAME>`.
#[derive(Debug, Default)]
pub struct Scrubber {
    /// Missing without known values.
    finder: Option<AhoCorasick>,
    replacements: Vec<String>,
}

impl Scrubber {
    /// Creates a scrubber for these secrets, given as names and values.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut needles: Vec<(String, String)> = Vec::new();
        for (name, value) in secrets {
            let replacement = format!("<secret {name}>");
            needles.extend(forms(value).into_iter().map(|form| (form, replacement.clone())));
        }
        let (forms, replacements): (Vec<String>, Vec<String>) = needles.into_iter().unzip();
        // The longest match at a position wins: a value comes before its own lines.
        let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&forms).ok();
        Self { finder: finder.filter(|_| !forms.is_empty()), replacements }
    }

    /// Returns the text without the values.
    pub fn scrub(&self, text: &str) -> String {
        match &self.finder {
            Some(finder) if finder.is_match(text) => finder.replace_all(text, &self.replacements),
            _ => text.to_owned(),
        }
    }
}

/// Returns every form of a value to search for.
fn forms(value: &str) -> Vec<String> {
    let mut all = Vec::new();
    if value.len() >= SHORTEST_SCRUBBED {
        add_encodings(value, &mut all);
    }
    let trimmed = value.trim();
    if trimmed != value && trimmed.len() >= SHORTEST_SCRUBBED {
        add_encodings(trimmed, &mut all);
    }
    if trimmed.contains('\n') {
        let lines = trimmed.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_PART);
        lines.for_each(|line| add_encodings(line, &mut all));
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Adds the encodings of a value: as it is; as a string of JSON, of a URL and of a form; in base64.
fn add_encodings(value: &str, all: &mut Vec<String>) {
    all.push(value.to_owned());
    let json = serde_json::Value::from(value).to_string();
    all.push(json.trim_start_matches('"').strip_suffix('"').unwrap_or(&json).to_owned());
    for upper in [true, false] {
        let url = percent_encoded(value, upper);
        all.push(url.replace("%20", "+"));
        all.push(url);
    }
    for alphabet in [&STANDARD, &URL_SAFE] {
        all.extend(in_base64(value.as_bytes(), &GeneralPurpose::new(alphabet, NO_PAD)));
    }
}

fn percent_encoded(value: &str, upper: bool) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            byte if upper => text += &format!("%{byte:02X}"),
            byte => text += &format!("%{byte:02x}"),
        }
        text
    })
}

/// Returns the base64 digits that depend on the value alone, for each of its three alignments in a longer text such as
/// `user:password`. The first and last digit of the value may remain.
fn in_base64(value: &[u8], engine: &GeneralPurpose) -> Vec<String> {
    let digits = |before: usize| {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value);
        let text = engine.encode(&bytes);
        let begin = (before * 4).div_ceil(3);
        let end = bytes.len() * 4 / 3;
        text.get(begin..end).filter(|digits| digits.len() >= SHORTEST_PART).map(str::to_owned)
    };
    (0..3).filter_map(digits).collect()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    const VALUE: &str = "hunter2 \"quoted\"/+&ü";

    fn scrubber() -> Scrubber {
        Scrubber::new([("TOKEN", VALUE), ("KEY", "-----BEGIN KEY-----\nabcdefgh12345\n}\n-----END KEY-----\n")])
    }

    #[test]
    fn finds_a_value_in_every_form() {
        let scrub = |text: &str| scrubber().scrub(text);
        assert_eq!(scrub(&format!("a {VALUE} b")), "a <secret TOKEN> b");
        assert_eq!(scrub(&serde_json::to_string(VALUE).unwrap()), "\"<secret TOKEN>\"");
        assert_eq!(scrub("x=hunter2%20%22quoted%22%2F%2B%26%C3%BC&y"), "x=<secret TOKEN>&y");
        assert_eq!(scrub("hunter2+%22quoted%22%2f%2b%26%c3%bc"), "<secret TOKEN>");
    }

    #[test]
    fn finds_a_value_in_base64_wherever_it_lies() {
        for before in ["", "u", "us", "user:", "user: "] {
            for after in ["", "x", "xy", "xyz"] {
                for engine in [STANDARD, URL_SAFE] {
                    let text = engine.encode(format!("{before}{VALUE}{after}"));
                    let clean = scrubber().scrub(&text);
                    assert!(clean.contains("<secret TOKEN>"), "{before}|{after}: {clean}");
                    assert!(clean.len() <= text.len(), "{before}|{after}: {clean} of {text}");
                }
            }
        }
    }

    #[test]
    fn finds_the_lines_of_a_value() {
        let clean = scrubber().scrub("log: abcdefgh12345\n}\n");
        assert_eq!(clean, "log: <secret KEY>\n}\n");
        assert_eq!(scrubber().scrub("-----BEGIN KEY-----\nabcdefgh12345\n}\n-----END KEY-----"), "<secret KEY>");
    }

    #[test]
    fn leaves_unknown_text_alone() {
        assert_eq!(Scrubber::default().scrub("text"), "text");
        assert_eq!(Scrubber::new([("SHORT", "abc")]).scrub("abcabc"), "abcabc");
    }
}
