//! Translates Docker's path patterns into globs of the `globset` crate. Matches text only; never reads the file system.

use globset::{ErrorKind, GlobBuilder, GlobMatcher};

/// Compiles a pattern as Dockerfiles and `.dockerignore` files write them: `*`, `?`, `[a-z]`, `**`, with `\` to escape.
/// The pattern must match the whole of a relative path.
///
/// # Errors
///
/// Returns what is wrong with the pattern, such as an unclosed `[`.
pub fn docker_glob(pattern: &str) -> Result<GlobMatcher, ErrorKind> {
    GlobBuilder::new(&translate(pattern))
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| error.kind().clone())
}

/// Braces are literal in Docker's patterns, and `**` may be followed by more letters: `**.md` is `**/*.md` in a glob.
fn translate(pattern: &str) -> String {
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

    #[test]
    fn matches_as_docker_does() {
        for (pattern, path, expected) in [
            ("*.py", "a.py", true),
            ("*.py", "x/a.py", false),
            ("**/*.py", "a.py", true),
            ("**/*.py", "x/y/a.py", true),
            ("**/*.py", "x/y/a.pyc", false),
            ("x/**", "x/a/b", true),
            ("x/**", "xa", false),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a/**/z", "a/bz", false),
            ("?.txt", "a.txt", true),
            ("?.txt", "ab.txt", false),
            ("[a-c].txt", "b.txt", true),
            ("[^a-c].txt", "b.txt", false),
            ("[^a-c].txt", "z.txt", true),
            (r"\*.txt", "*.txt", true),
            (r"\*.txt", "a.txt", false),
            ("{a,b}", "a", false),
            ("**", "anything/at/all", true),
            ("*", ".hidden", true),
        ] {
            assert_eq!(docker_glob(pattern).unwrap().is_match(path), expected, "{pattern} on {path}");
        }
        assert!(docker_glob("[a").is_err());
        assert!(docker_glob("a\\").is_err());
    }

    #[test]
    fn many_stars_match_in_linear_time() {
        let glob = docker_glob(&"*a".repeat(60)).unwrap();
        assert!(!glob.is_match("a".repeat(2_000).replace("aaaa", "aaab").replace('a', "b")));
    }
}
