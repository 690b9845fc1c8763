//! The picture in the README: its text, and the text of a newly recorded one.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Returns the lines of text in an SVG that `docs/record` wrote.
pub fn lines(svg: &str) -> String {
    let texts = svg.lines().filter(|line| line.starts_with("<text "));
    texts.map(|line| without_tags(line) + "\n").collect()
}

fn without_tags(line: &str) -> String {
    let outside: String = line.split('<').filter_map(|piece| piece.split_once('>')).map(|(_, text)| text).collect();
    outside.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// Records a picture with the program of this build, and returns its lines.
#[track_caller]
pub fn recorded() -> String {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("deploy.svg");
    let recorder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/record");
    let output = Command::new(recorder).arg(&picture).env("DEPLOYER", env!("CARGO_BIN_EXE_deployer")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lines(&fs::read_to_string(picture).unwrap())
}

#[test]
fn the_text_of_a_picture_is_extracted() {
    let svg = "<svg>\n<text y=\"1\"><tspan x=\"2\">a &lt;b</tspan><tspan> c</tspan></text>\n</svg>\n";
    assert_eq!(lines(svg), "a <b c\n");
}
