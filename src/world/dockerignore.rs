//! `.dockerignore`: which files of a build context stay behind. Matches text only; never looks at a file system.

use super::path_pattern::PathPattern;

/// The rules of one `.dockerignore` file. The last rule that fits a path, or a folder above it, decides.
#[derive(Clone, Debug, Default)]
pub struct Dockerignore(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    keeps: bool,
    pattern: PathPattern,
}

impl Dockerignore {
    /// Reads the rules. Blank lines, comments and lines that are no pattern are passed over, as Docker does.
    pub fn parse(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(rule).collect())
    }

    /// Whether the path, relative to the context and with `/` between its parts, stays behind.
    pub fn is_ignored(&self, path: &str) -> bool {
        let path = path.trim_matches('/');
        let mut ignored = false;
        for rule in &self.0 {
            if ignored == rule.keeps && covers(&rule.pattern, path) {
                ignored = !rule.keeps;
            }
        }
        ignored
    }

    /// Whether something below an ignored folder may still be wanted.
    pub fn has_exceptions(&self) -> bool {
        self.0.iter().any(|rule| rule.keeps)
    }
}

fn rule(line: &str) -> Option<Rule> {
    let line = line.trim();
    let (keeps, text) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim()));
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    let clean = parts.join("/");
    if clean.is_empty() {
        return None;
    }
    PathPattern::parse(&clean).ok().map(|pattern| Rule { keeps, pattern })
}

fn covers(pattern: &PathPattern, path: &str) -> bool {
    let mut folders = path.match_indices('/').map(|(at, _)| &path[..at]);
    pattern.matches(path) || folders.any(|folder| pattern.matches(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_that_fits_decides() {
        let rules = Dockerignore::parse(
            "# a comment\n\n*.md\n!README.md\nnode_modules/\n/secret\n./build\n**/*.pyc\ndocs/**\n!docs/keep.txt\ntmp\n!tmp/x\ntmp/x\n",
        );
        for (path, ignored) in [
            ("notes.md", true),
            ("README.md", false),
            ("sub/notes.md", false),
            ("node_modules", true),
            ("node_modules/a/b.js", true),
            ("sub/node_modules/a.js", false),
            ("secret", true),
            ("secret/key", true),
            ("build/out", true),
            ("a.pyc", true),
            ("a/b/c.pyc", true),
            ("docs/a.txt", true),
            ("docs/keep.txt", false),
            ("tmp/x", true),
            ("# a comment", false),
            ("app.py", false),
        ] {
            assert_eq!(rules.is_ignored(path), ignored, "{path}");
        }
        assert!(rules.has_exceptions());
        assert!(!Dockerignore::parse("*.md\n").has_exceptions());
    }

    #[test]
    fn everything_but_a_few() {
        let rules = Dockerignore::parse("*\n!app\n!*.toml\n");
        for (path, ignored) in [("app/main.py", false), ("x.toml", false), ("x.txt", true), (".git/HEAD", true)] {
            assert_eq!(rules.is_ignored(path), ignored, "{path}");
        }
    }

    #[test]
    fn odd_lines_are_passed_over() {
        let rules = Dockerignore::parse("\u{feff}\n!\n[\n.\n/\n  spaced  \n../up\n");
        assert!(rules.is_ignored("spaced"));
        assert!(rules.is_ignored("up"));
        assert!(!rules.is_ignored("other"));
    }
}
