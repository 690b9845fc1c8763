//! Checks the book and the other pages without following them: every chapter is in the table of contents, links and
//! their anchors lead somewhere, and code blocks are valid.

#[path = "docs/block.rs"]
#[allow(dead_code, reason = "the tours use more of it")]
mod block;
#[path = "docs/current.rs"]
mod current;
#[path = "docs/link.rs"]
mod link;
#[path = "docs/pages.rs"]
mod pages;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use block::Block;
use current::package_file;

const SUMMARY: &str = "docs/src/SUMMARY.md";
/// Pages besides the book and the READMEs of the examples.
const PAGES: &[&str] = &["README.md", "README.ja.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", SUMMARY];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn all_pages() -> Vec<String> {
    let mut pages: Vec<String> = PAGES.iter().map(ToString::to_string).chain(pages::chapters()).collect();
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let page = format!("examples/{}/README.md", entry.unwrap().file_name().to_string_lossy());
        pages.extend(Some(page).filter(|page| root().join(page).is_file()));
    }
    pages
}

#[test]
fn every_chapter_is_in_the_table_of_contents_once() {
    let links = link::links(&package_file(SUMMARY));
    let listed: Vec<String> = links.iter().map(|link| format!("docs/src/{}", link.target)).collect();
    let unique: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "a chapter is listed twice");
    assert_eq!(unique, pages::chapters().iter().collect());
}

#[test]
fn every_chapter_begins_with_one_title() {
    for page in pages::chapters() {
        let text = package_file(&page);
        assert!(text.starts_with("# "), "{page}");
        let titles = link::headings(&text).into_iter().filter(|heading| heading.depth == 1).count();
        assert_eq!(titles, 1, "{page}: headings of depth 1");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for page in all_pages() {
        for link in link::links(&package_file(&page)) {
            if link.is_external() {
                continue;
            }
            if let Err(why) = follow(&page, &link.target) {
                broken.push(format!("{page}:{}: `{}`: {why}", link.line, link.target));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Finds what a relative link leads to: a file or a folder, and the heading that its anchor names.
fn follow(page: &str, target: &str) -> Result<(), String> {
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { PathBuf::from(page) } else { Path::new(page).parent().unwrap().join(file) };
    if !root().join(&path).exists() {
        return Err("no such file".into());
    }
    // mdBook renders the folder of the book alone.
    if page.starts_with("docs/src/") && file.contains("..") {
        return Err("a chapter may only link to chapters: name the file instead".into());
    }
    if anchor.is_empty() {
        return Ok(());
    }
    let headings = link::headings(&package_file(path.to_str().unwrap()));
    match headings.iter().any(|heading| heading.anchor == anchor) {
        true => Ok(()),
        false => {
            Err(format!("no such heading; there are {:?}", headings.iter().map(|h| &h.anchor).collect::<Vec<_>>()))
        }
    }
}

fn blocks() -> Vec<(String, Block)> {
    let pages = all_pages().into_iter();
    pages
        .flat_map(|page| block::blocks(&page, &package_file(&page)).into_iter().map(move |b| (page.clone(), b)))
        .collect()
}

#[test]
fn code_blocks_are_valid() {
    for (page, block) in blocks() {
        let location = format!("{page}:{}", block.line);
        match block.language.as_str() {
            "toml" => drop(block.text.parse::<toml::Table>().unwrap_or_else(|error| panic!("{location}: {error}"))),
            "yaml" => {
                let parsed = serde_saphyr::from_str::<serde_json::Value>(&block.text);
                drop(parsed.unwrap_or_else(|error| panic!("{location}: {error}")));
            }
            "json" => block.text.lines().for_each(|line| {
                let parsed = serde_json::from_str::<serde_json::Value>(line);
                drop(parsed.unwrap_or_else(|error| panic!("{location}: {error}")));
            }),
            // The examples of the reference have a test of their own.
            "rhai" if !block.has("part") && page != "docs/src/reference.md" => check_script(&location, &block.text),
            _ => {}
        }
    }
}

fn check_script(location: &str, text: &str) {
    use std::io::Write;
    let mut check = Command::new(env!("CARGO_BIN_EXE_deployer"));
    let mut child = check.args(["check", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{location}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The help of a verb, or of a verb below it: `proxy run`.
fn help(words: &[&str]) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_deployer")).args(words).arg("--help").output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn commands_of_examples_have_verbs_and_options_that_exist() {
    for (page, block) in blocks() {
        if block.language != "sh" || !(block.has("example") || page.starts_with("examples/")) {
            continue;
        }
        for line in block.text.lines().filter(|line| line.starts_with("deployer ")) {
            let location = format!("{page}:{}: `{line}`", block.line);
            let command = line.split(" #").next().unwrap_or_default().split(" -- ").next().unwrap_or_default();
            let words: Vec<&str> = command.split_whitespace().skip(1).collect();
            let verb = if words[0] == "proxy" { &words[..2] } else { &words[..1] };
            let help = help(verb).unwrap_or_else(|| panic!("{location}: no such verb"));
            for option in words.iter().filter(|word| word.starts_with("--")) {
                assert!(help.contains(option), "{location}: no option {option}");
            }
        }
    }
}
