//! Secrets planted for a test, each with a value of its own, and the search for them in everything there is to see.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::deployer::{Deployer, Finished};

/// Shorter pieces of base64 could be there by chance.
const SHORTEST_PIECE: usize = 8;

/// One input's secret.
struct Secret {
    name: String,
    value: String,
}

#[derive(Default)]
pub struct Planted {
    secrets: Vec<Secret>,
    /// Everything that was seen: where, and the bytes.
    seen: Vec<(String, Vec<u8>)>,
}

impl Planted {
    /// A secret with letters that JSON, URLs and base64 write in ways of their own.
    pub fn plain(mut self, names: &[&str]) -> Self {
        for name in names {
            self.add(name, format!("pl4nted \"{}\"/+&<~?{}>", name.to_lowercase(), name.len() * 7919));
        }
        self
    }

    /// A secret that may stand in a URL as it is.
    pub fn for_urls(mut self, names: &[&str]) -> Self {
        for name in names {
            self.add(name, format!("url-pl4nted-{}-{}", name.to_lowercase(), name.len() * 7919));
        }
        self
    }

    /// A secret of several lines, such as a key.
    pub fn of_lines(mut self, name: &str) -> Self {
        let line = |n: usize| format!("pl4ntedLine{n}{}", name.to_lowercase());
        self.add(name, format!("{}\n{}\n\n{}", line(1), line(2), line(3)));
        self
    }

    fn add(&mut self, name: &str, value: String) {
        self.secrets.push(Secret { name: name.into(), value });
    }

    pub fn value(&self, name: &str) -> &str {
        &self.secrets.iter().find(|secret| secret.name == name).expect("it was planted").value
    }

    /// Gives them to a deployer: half by environment, half by file.
    pub fn give(&self, mut deployer: Deployer) -> Deployer {
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

    pub fn saw(&mut self, place: &str, bytes: impl Into<Vec<u8>>) {
        self.seen.push((place.into(), bytes.into()));
    }

    pub fn saw_finished(&mut self, place: &str, finished: &Finished) {
        self.saw(&format!("{place}: stdout"), finished.stdout.as_bytes());
        self.saw(&format!("{place}: stderr"), finished.stderr.as_bytes());
    }

    /// Every way to look back at the runs, and every file below the state folder but the programs' own output.
    pub fn saw_state(&mut self, deployer: &Deployer) {
        for args in [
            vec!["runs"],
            vec!["runs", "--format", "json"],
            vec!["show"],
            vec!["show", "--verbose", "--format", "plain"],
            vec!["show", "--format", "json"],
        ] {
            self.saw_finished(&args.join(" "), &deployer.call(&args).ok());
        }
        let mut files = Vec::new();
        files_below(deployer.state(), &mut files);
        assert!(files.iter().any(|path| path.ends_with("journal.db-wal")), "{files:?}");
        for path in files.iter().filter(|path| !path.ends_with("log")) {
            self.saw(path.to_str().unwrap(), std::fs::read(path).unwrap());
        }
    }

    /// Fails if any secret was seen in any form; `used` must have been seen by its name, or the test shows nothing.
    #[track_caller]
    pub fn assert_hidden(&self, used: &[&str]) {
        let mut leaks = Vec::new();
        for Secret { name, value } in &self.secrets {
            for form in forms(value) {
                let places = self.seen.iter().filter(|(_, bytes)| contains(bytes, form.as_bytes()));
                leaks.extend(places.map(|(place, bytes)| format!("{name} in {place}: {}", around(bytes, &form))));
            }
        }
        assert!(leaks.is_empty(), "{}", leaks.join("\n"));
        for name in used {
            let by_name = format!("<secret {name}>");
            let seen = self.seen.iter().any(|(_, bytes)| contains(bytes, by_name.as_bytes()));
            assert!(seen, "{name} never came back: nothing is proved");
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

fn around(bytes: &[u8], form: &str) -> String {
    let at = bytes.windows(form.len()).position(|window| window == form.as_bytes()).unwrap_or(0);
    let end = (at + form.len() + 60).min(bytes.len());
    String::from_utf8_lossy(&bytes[at.saturating_sub(120)..end]).into_owned()
}

/// The value and its lines: as they are, in JSON, in a URL, and the middle of them in base64 wherever they lie.
fn forms(value: &str) -> Vec<String> {
    let mut all = Vec::new();
    for part in value.lines().filter(|line| !line.is_empty()).chain([value]) {
        all.push(part.to_owned());
        let json = serde_json::to_string(part).unwrap();
        all.push(json[1..json.len() - 1].to_owned());
        all.push(reqwest::Url::parse_with_params("http://h/", [("k", part)]).unwrap().query().unwrap()[2..].to_owned());
        for (skip, engine) in (0..3).flat_map(|skip| [(skip, &STANDARD), (skip, &URL_SAFE)]) {
            let digits = engine.encode(&part.as_bytes()[skip..]);
            let whole = &digits[..digits.trim_end_matches('=').len() - 2];
            all.extend((whole.len() >= SHORTEST_PIECE).then(|| whole.to_owned()));
        }
    }
    all
}
