//! Rewrites paths as a container would see them into real ones. Works on text, except for checks whether a file exists.

use std::path::{Path, PathBuf};

use crate::world::local::file_tree::{inside, normal};

/// Rewrites the paths of one container.
pub(crate) struct PathRewriter {
    root: PathBuf,
    /// Below these paths everything belongs to the container, whether or not it exists yet: mounts and the working
    /// folder.
    owned: Vec<String>,
}

impl PathRewriter {
    pub(crate) fn new(root: PathBuf, mounts: impl IntoIterator<Item = String>, working_dir: &str) -> Self {
        let mut owned: Vec<String> = mounts.into_iter().map(|target| normal(&target)).collect();
        owned.push(normal(working_dir));
        owned.retain(|path| path != "/");
        Self { root, owned }
    }

    /// Returns the real path of an absolute path, if the container has it.
    fn real(&self, path: &str) -> Option<PathBuf> {
        let clean = normal(path);
        if clean == "/" {
            return None;
        }
        let is_own = self.owned.iter().any(|owned| {
            clean.strip_prefix(owned.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let real = self.root.join(&clean[1..]);
        (is_own || (inside(&self.root, &clean).is_ok() && real.symlink_metadata().is_ok())).then_some(real)
    }

    /// Returns the real path of a working folder.
    pub(crate) fn folder(&self, path: &str) -> PathBuf {
        self.root.join(&normal(path)[1..])
    }

    /// Returns the text with every such path replaced: at the start, or after a space, a quote, or one of `=:,;(`. In
    /// URLs only `file:///PATH` and four slashes (`sqlite:////PATH`) denote a path.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        let mut before: Option<char> = None;
        while let Some(c) = rest.chars().next() {
            if c != '/' || before.is_some_and(|before| !can_precede_path(before)) {
                result.push(c);
                before = Some(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
            let token = &rest[..rest.find(ends_path).unwrap_or(rest.len())];
            let slashes = token.len() - token.trim_start_matches('/').len();
            let is_path = match slashes {
                1 => true,
                3 => result.ends_with("file:"),
                count => count >= 4 && before == Some(':'),
            };
            let (scheme, path) = token.split_at(slashes - 1);
            match Some(path).filter(|_| is_path).and_then(|path| self.real(path)) {
                Some(real) => {
                    result.push_str(scheme);
                    result.push_str(&real.to_string_lossy());
                    if path.len() > 1 && path.ends_with('/') {
                        result.push('/');
                    }
                }
                None => result.push_str(token),
            }
            before = token.chars().last();
            rest = &rest[token.len()..];
        }
        result
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

fn can_precede_path(c: char) -> bool {
    c.is_whitespace() || matches!(c, '=' | ':' | ',' | ';' | '(' | '"' | '\'' | '`' | '<' | '>' | '|' | '&')
}

fn ends_path(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, ':' | ',' | ';' | ')' | '(' | '"' | '\'' | '`' | '?' | '&' | '|' | '<' | '>' | '$' | '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrites_what_the_container_has_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        std::fs::create_dir_all(root.join("opt/tool")).unwrap();
        let rewriter = PathRewriter::new(root.clone(), [String::from("/app/data"), String::from("/cache/")], "/app");
        let r = root.display();
        for (text, expected) in [
            ("/app/data/x.db", format!("{r}/app/data/x.db")),
            ("/app/data", format!("{r}/app/data")),
            ("/app/data/", format!("{r}/app/data/")),
            ("/app/new.txt", format!("{r}/app/new.txt")),
            ("/application", "/application".into()),
            ("/opt/tool", format!("{r}/opt/tool")),
            ("/opt/other", "/opt/other".into()),
            ("/usr/bin/python3", "/usr/bin/python3".into()),
            ("--db=/app/data/x.db", format!("--db={r}/app/data/x.db")),
            ("sqlite:////app/data/x.db", format!("sqlite:///{r}/app/data/x.db")),
            ("sqlite:///app/data/x.db", "sqlite:///app/data/x.db".into()),
            ("file:///app/data/x.db?mode=ro", format!("file://{r}/app/data/x.db?mode=ro")),
            ("http://app/data", "http://app/data".into()),
            ("http://host/app/data", "http://host/app/data".into()),
            ("/app/a:/opt/tool:/bin", format!("{r}/app/a:{r}/opt/tool:/bin")),
            ("python3 /app/s.py > '/cache/o'", format!("python3 {r}/app/s.py > '{r}/cache/o'")),
            ("a/app/data", "a/app/data".into()),
            ("/app/../etc/passwd", "/app/../etc/passwd".into()),
            ("/", "/".into()),
            ("//app/data", "//app/data".into()),
            ("ä/ö /app/ü", format!("ä/ö {r}/app/ü")),
            ("", String::new()),
        ] {
            assert_eq!(rewriter.text(text), expected, "{text}");
        }
        assert_eq!(rewriter.folder("/app/../x"), root.join("x"));
    }
}
