//! `.dockerignore`: which files stay out of a build context. Pure: gets text and paths.

use globset::{GlobBuilder, GlobMatcher};

/// The rules of one file; the last one that matches decides.
#[derive(Debug, Default)]
pub struct Dockerignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    matcher: GlobMatcher,
    /// Brings back what an earlier rule left out.
    is_exception: bool,
    /// The folders before the first wildcard.
    literal: String,
}

impl Dockerignore {
    /// Reads the rules: one pattern a line, `#` begins a comment, `!` an exception, `**` is any number of folders.
    ///
    /// # Errors
    /// With the line's number when a pattern is broken.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rules = Vec::new();
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (is_exception, pattern) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim()));
            let pattern = clean(pattern);
            if pattern.is_empty() {
                continue;
            }
            let matcher = GlobBuilder::new(&glob(&pattern))
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(|error| format!("line {} of `.dockerignore`: {}", number + 1, error.kind()))?
                .compile_matcher();
            let literal =
                pattern.split('/').take_while(|part| !part.contains(['*', '?', '[', '\\'])).collect::<Vec<_>>();
            rules.push(Rule { matcher, is_exception, literal: literal.join("/") });
        }
        Ok(Self { rules })
    }

    /// Whether the file or folder stays out. `path` is relative to the context, with `/` between its parts.
    pub fn is_ignored(&self, path: &str) -> bool {
        // A rule for a folder holds for all that is in it.
        let prefixes: Vec<&str> =
            path.match_indices('/').map(|(at, _)| &path[..at]).chain(std::iter::once(path)).collect();
        self.rules.iter().fold(false, |excluded, rule| {
            // Only a rule that would change the answer has to be looked at.
            if rule.is_exception == excluded && prefixes.iter().any(|prefix| rule.matcher.is_match(prefix)) {
                !rule.is_exception
            } else {
                excluded
            }
        })
    }

    /// Whether an exception may bring back something in this folder, which itself is left out.
    pub fn may_bring_back_below(&self, folder: &str) -> bool {
        let inside = |deep: &str, shallow: &str| {
            shallow.is_empty()
                || deep == shallow
                || deep.strip_prefix(shallow).is_some_and(|rest| rest.starts_with('/'))
        };
        self.rules
            .iter()
            .filter(|rule| rule.is_exception)
            .any(|rule| inside(&rule.literal, folder) || inside(folder, &rule.literal))
    }
}

/// The path without `.`, `..`, doubled and outer slashes, as docker cleans it.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Docker's pattern in the words of the glob library: braces mean nothing, and `**` may stand before other letters.
fn glob(pattern: &str) -> String {
    pattern
        .split('/')
        .map(|part| {
            let part = part.replace('{', "[{]").replace('}', "[}]");
            match part.strip_prefix("**") {
                Some(rest) if !rest.is_empty() => format!("**/*{}", rest.trim_start_matches('*')),
                _ => part,
            }
        })
        .collect::<Vec<_>>()
        .join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded<'a>(rules: &str, paths: &[&'a str]) -> Vec<&'a str> {
        let ignore = Dockerignore::parse(rules).unwrap();
        paths.iter().copied().filter(|path| ignore.is_ignored(path)).collect()
    }

    #[test]
    fn follows_dockers_rules() {
        let paths = ["a.txt", "a.md", "src/a.md", "src/deep/a.md", "src/keep.md", "node_modules/x/y.js", ".git/HEAD"];
        for (rules, out) in [
            ("*.md", &["a.md"][..]),
            ("**/*.md", &["a.md", "src/a.md", "src/deep/a.md", "src/keep.md"]),
            ("**.md", &["a.md", "src/a.md", "src/deep/a.md", "src/keep.md"]),
            ("*/a.md", &["src/a.md"]),
            ("/src", &["src/a.md", "src/deep/a.md", "src/keep.md"]),
            ("src/", &["src/a.md", "src/deep/a.md", "src/keep.md"]),
            ("./src/../src/deep", &["src/deep/a.md"]),
            ("src/**\n!src/keep.md", &["src/a.md", "src/deep/a.md"]),
            ("*\n!src", &["a.txt", "a.md", "node_modules/x/y.js", ".git/HEAD"]),
            ("!a.md\n*.md", &["a.md"]),
            ("**/*.md\n!**/keep.md", &["a.md", "src/a.md", "src/deep/a.md"]),
            ("# *.md\n\n  .git  ", &[".git/HEAD"]),
            ("?.txt", &["a.txt"]),
            ("[a-c].txt", &["a.txt"]),
            ("node_modules", &["node_modules/x/y.js"]),
            ("s*c/**/a.md", &["src/a.md", "src/deep/a.md"]),
        ] {
            assert_eq!(excluded(rules, &paths), out, "{rules}");
        }
    }

    #[test]
    fn braces_are_letters() {
        assert_eq!(excluded("{a,b}", &["a", "{a,b}"]), ["{a,b}"]);
    }

    #[test]
    fn folders_without_exceptions_need_no_walk() {
        let ignore = Dockerignore::parse("*\n!src/app/*.js").unwrap();
        for (folder, walk) in [("src", true), ("src/app", true), ("src/app/sub", true), ("srcs", false), ("lib", false)]
        {
            assert_eq!(ignore.may_bring_back_below(folder), walk, "{folder}");
        }
        assert!(Dockerignore::parse("*\n!**/keep").unwrap().may_bring_back_below("anything"));
        assert!(!Dockerignore::parse("*").unwrap().may_bring_back_below("anything"));
    }

    #[test]
    fn a_broken_pattern_is_named() {
        assert!(Dockerignore::parse("ok\n[").unwrap_err().starts_with("line 2 of `.dockerignore`"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(rules in ".{0,40}", path in "[a-z./]{1,20}") {
            if let Ok(ignore) = Dockerignore::parse(&rules) {
                ignore.is_ignored(&path);
                ignore.may_bring_back_below(&path);
            }
        }
    }
}
