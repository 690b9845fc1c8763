//! Gives a test secrets with unique values, and searches for these values in everything that the program wrote.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::deployer::{Deployer, Finished};

/// Shorter pieces of base64 could match unrelated text.
const MIN_BASE64_LENGTH: usize = 8;

/// The secret of one input.
struct Secret {
    name: String,
    value: String,
}

#[derive(Default)]
pub struct LeakDetector {
    secrets: Vec<Secret>,
    /// Everything that was written: the location, and the bytes.
    records: Vec<(String, Vec<u8>)>,
}

impl LeakDetector {
    /// Adds secrets with characters that JSON, URLs and base64 encode.
    pub fn plain(mut self, names: &[&str]) -> Self {
        for name in names {
            self.add(name, format!("pl4nted \"{}\"/+&<~?{}>", name.to_lowercase(), name.len() * 7919));
        }
        self
    }

    /// Adds secrets that can be part of a URL without encoding.
    pub fn for_urls(mut self, names: &[&str]) -> Self {
        for name in names {
            self.add(name, format!("url-pl4nted-{}-{}", name.to_lowercase(), name.len() * 7919));
        }
        self
    }

    /// Adds a secret of several lines, such as a private key.
    pub fn multiline(mut self, name: &str) -> Self {
        let line = |n: usize| format!("pl4ntedLine{n}{}", name.to_lowercase());
        self.add(name, format!("{}\n{}\n\n{}", line(1), line(2), line(3)));
        self
    }

    fn add(&mut self, name: &str, value: String) {
        self.secrets.push(Secret { name: name.into(), value });
    }

    pub fn value(&self, name: &str) -> &str {
        &self.secrets.iter().find(|secret| secret.name == name).expect("the test has a secret of this name").value
    }

    /// Passes the secrets to a deployer: half in environment variables, half in files.
    pub fn give_to(&self, mut deployer: Deployer) -> Deployer {
        for (index, Secret { name, value }) in self.secrets.iter().enumerate() {
            if index % 2 == 0 {
                deployer = deployer.env(name, value);
            } else {
                let file = deployer.file(&format!("{name}.txt"), &format!("{value}\n"));
                deployer = deployer.env(&format!("{name}_FILE"), &file);
            }
        }
        deployer
    }

    pub fn record(&mut self, location: &str, bytes: impl Into<Vec<u8>>) {
        self.records.push((location.into(), bytes.into()));
    }

    pub fn record_output(&mut self, location: &str, finished: &Finished) {
        self.record(&format!("{location}: stdout"), finished.stdout.as_bytes());
        self.record(&format!("{location}: stderr"), finished.stderr.as_bytes());
    }

    /// Records the output of every command that shows past runs, and every file in the state folder. The output of the
    /// deployed programs themselves is excluded.
    pub fn record_state(&mut self, deployer: &Deployer) {
        for args in [
            vec!["runs"],
            vec!["runs", "--format", "json"],
            vec!["show"],
            vec!["show", "--verbose", "--format", "plain"],
            vec!["show", "--format", "json"],
        ] {
            self.record_output(&args.join(" "), &deployer.call(&args).ok());
        }
        let mut files = Vec::new();
        files_below(deployer.state(), &mut files);
        assert!(files.iter().any(|path| path.ends_with("journal.db-wal")), "{files:?}");
        for path in files.iter().filter(|path| !path.ends_with("log")) {
            self.record(path.to_str().unwrap(), std::fs::read(path).unwrap());
        }
    }

    /// Asserts that no secret was written in any form. The secrets in `used` must appear by name: otherwise the test
    /// proves nothing about them.
    #[track_caller]
    pub fn assert_hidden(&self, used: &[&str]) {
        let mut leaks = Vec::new();
        for Secret { name, value } in &self.secrets {
            for form in forms(value) {
                let found = self.records.iter().filter(|(_, bytes)| contains(bytes, form.as_bytes()));
                leaks.extend(found.map(|(location, bytes)| format!("{name} in {location}: {}", excerpt(bytes, &form))));
            }
        }
        assert!(leaks.is_empty(), "{}", leaks.join("\n"));
        for name in used {
            let by_name = format!("<secret {name}>");
            let is_recorded = self.records.iter().any(|(_, bytes)| contains(bytes, by_name.as_bytes()));
            assert!(is_recorded, "{name} never appears by name, so the test proves nothing about it");
        }
    }
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match path.symlink_metadata().unwrap().file_type() {
            kind if kind.is_dir() => files_below(&path, found),
            kind if kind.is_file() => found.push(path),
            _ => {}
        }
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

fn excerpt(bytes: &[u8], form: &str) -> String {
    let at = bytes.windows(form.len()).position(|window| window == form.as_bytes()).unwrap_or(0);
    let end = (at + form.len() + 60).min(bytes.len());
    String::from_utf8_lossy(&bytes[at.saturating_sub(120)..end]).into_owned()
}

/// Returns the value and each of its lines in every encoding: as it is, in JSON, in a URL, and in base64. The base64 form
/// is the part that does not depend on the bytes around the value, for each of the three alignments.
fn forms(value: &str) -> Vec<String> {
    let mut all = Vec::new();
    for part in value.lines().filter(|line| !line.is_empty()).chain([value]) {
        all.push(part.to_owned());
        let json = serde_json::to_string(part).unwrap();
        all.push(json[1..json.len() - 1].to_owned());
        all.push(reqwest::Url::parse_with_params("http://h/", [("k", part)]).unwrap().query().unwrap()[2..].to_owned());
        for (skip, engine) in (0..3).flat_map(|skip| [(skip, &STANDARD), (skip, &URL_SAFE)]) {
            let digits = engine.encode(&part.as_bytes()[skip..]);
            let stable = &digits[..digits.trim_end_matches('=').len() - 2];
            all.extend((stable.len() >= MIN_BASE64_LENGTH).then(|| stable.to_owned()));
        }
    }
    all
}
