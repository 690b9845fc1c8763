//! `.dockerignore`: which files are excluded from a build context. Works on text and paths; reads no files.

use globset::GlobMatcher;

use super::docker_glob::docker_glob;

/// The rules of one `.dockerignore` file. The last rule that matches a path decides.
#[derive(Debug, Default)]
pub struct Dockerignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    matcher: GlobMatcher,
    /// Includes again what an earlier rule excluded.
    is_exception: bool,
    /// The leading path components without a wildcard.
    literal_prefix: String,
}

impl Dockerignore {
    /// Parses the rules, one pattern per line. `#` starts a comment, `!` an exception; `**` matches any number of
    /// folders.
    ///
    /// # Errors
    ///
    /// Returns the line number and the reason when a pattern is invalid.
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
            let matcher =
                docker_glob(&pattern).map_err(|why| format!("line {} of `.dockerignore`: {why}", number + 1))?;
            let literal =
                pattern.split('/').take_while(|part| !part.contains(['*', '?', '[', '\\'])).collect::<Vec<_>>();
            rules.push(Rule { matcher, is_exception, literal_prefix: literal.join("/") });
        }
        Ok(Self { rules })
    }

    /// Returns whether the file or folder is excluded. `path` is relative to the context, with `/` as separator.
    pub fn is_ignored(&self, path: &str) -> bool {
        // A rule for a folder applies to everything below it.
        let prefixes: Vec<&str> =
            path.match_indices('/').map(|(at, _)| &path[..at]).chain(std::iter::once(path)).collect();
        self.rules.iter().fold(false, |excluded, rule| {
            // Only a rule that would change the result needs a match.
            if rule.is_exception == excluded && prefixes.iter().any(|prefix| rule.matcher.is_match(prefix)) {
                !rule.is_exception
            } else {
                excluded
            }
        })
    }

    /// Returns whether an exception may include something below this folder, which itself is excluded.
    pub fn may_include_below(&self, folder: &str) -> bool {
        let inside = |deep: &str, shallow: &str| {
            shallow.is_empty()
                || deep == shallow
                || deep.strip_prefix(shallow).is_some_and(|rest| rest.starts_with('/'))
        };
        self.rules
            .iter()
            .filter(|rule| rule.is_exception)
            .any(|rule| inside(&rule.literal_prefix, folder) || inside(folder, &rule.literal_prefix))
    }
}

/// Removes `.`, `..`, and doubled, leading and trailing slashes, as Docker does.
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
    fn braces_are_literal() {
        assert_eq!(excluded("{a,b}", &["a", "{a,b}"]), ["{a,b}"]);
    }

    #[test]
    fn folders_without_exceptions_need_no_walk() {
        let ignore = Dockerignore::parse("*\n!src/app/*.js").unwrap();
        for (folder, walk) in [("src", true), ("src/app", true), ("src/app/sub", true), ("srcs", false), ("lib", false)]
        {
            assert_eq!(ignore.may_include_below(folder), walk, "{folder}");
        }
        assert!(Dockerignore::parse("*\n!**/keep").unwrap().may_include_below("anything"));
        assert!(!Dockerignore::parse("*").unwrap().may_include_below("anything"));
    }

    #[test]
    fn an_invalid_pattern_names_its_line() {
        assert!(Dockerignore::parse("ok\n[").unwrap_err().starts_with("line 2 of `.dockerignore`"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(rules in ".{0,40}", path in "[a-z./]{1,20}") {
            if let Ok(ignore) = Dockerignore::parse(&rules) {
                ignore.is_ignored(&path);
                ignore.may_include_below(&path);
            }
        }
    }
}
