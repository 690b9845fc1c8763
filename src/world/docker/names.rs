//! Names as they go into the engine's addresses, and the parts of an image's name.

use std::collections::BTreeMap;

use crate::effect::image::with_tag;
use crate::effect::{EffectError, ErrorKind};

/// The registry that names without a host are in.
pub(super) const HUB: &str = "docker.io";

/// A container's, volume's or network's name or id: nothing that would lead to another address of the engine.
pub(super) fn plain<'a>(what: &str, name: &'a str) -> Result<&'a str, EffectError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(allowed) {
        return Ok(name);
    }
    Err(EffectError::new(ErrorKind::Invalid, format!("`{name}` is not a name of a {what}"))
        .hint("use letters, digits, `_`, `.` and `-`, and begin with a letter or digit")
        .not_applied())
}

/// An image's name or id.
pub(super) fn image(name: &str) -> Result<&str, EffectError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ':' | '@');
    let ends_well = name.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.');
    let has_hole = name.contains("//") || name.split('/').any(|part| part == "." || part == "..");
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && ends_well && !has_hole && name.chars().all(allowed) {
        return Ok(name);
    }
    Err(EffectError::new(ErrorKind::Invalid, format!("`{name}` is not a name of an image"))
        .hint("write it like `web:v2` or `registry.example.com/team/web:v2`")
        .not_applied())
}

/// Whether all the wanted labels are there; an empty wanted value asks for the key alone.
pub(super) fn carries(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key).is_some_and(|found| value.is_empty() || found == value))
}

/// Repository and tag; the tag is `latest` where none is given.
pub(super) fn repository_and_tag(name: &str) -> (String, String) {
    let full = with_tag(name.split('@').next().unwrap_or(name));
    match full.rsplit_once(':') {
        Some((repository, tag)) => (repository.to_owned(), tag.to_owned()),
        None => (full, "latest".into()),
    }
}

/// The name as the engine shows it: without the default registry.
pub(super) fn familiar(name: &str) -> &str {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// The registry's host and port.
pub(super) fn registry(name: &str) -> &str {
    match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => HUB,
    }
}

/// Whether the name says which one of a repository's images is meant, or is an id.
pub(super) fn is_exact(name: &str) -> bool {
    name.starts_with("sha256:") || with_tag(name) == name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_image_names_apart() {
        let parts = |name: &str| repository_and_tag(name);
        assert_eq!(parts("web"), ("web".into(), "latest".into()));
        assert_eq!(parts("localhost:5000/web"), ("localhost:5000/web".into(), "latest".into()));
        assert_eq!(parts("localhost:5000/team/web:v2"), ("localhost:5000/team/web".into(), "v2".into()));
        assert_eq!(registry("localhost:5000/web"), "localhost:5000");
        assert_eq!(registry("localhost/web"), "localhost");
        assert_eq!(registry("team/web:v1"), HUB);
        assert_eq!(registry("web:v1"), HUB);
        assert_eq!(familiar("docker.io/library/web:v1"), "web:v1");
        assert!(is_exact("web:v1") && is_exact("sha256:00") && !is_exact("localhost:5000/web"));
    }

    #[test]
    fn names_cannot_lead_elsewhere() {
        for name in ["", "../images", "a/b", "a?force=1", "a#b", "-a", "a b", "a%2fb"] {
            assert!(plain("container", name).is_err(), "{name}");
        }
        for name in ["", "../x", "a/../b", "a//b", "a?b", "web:", "a b", "/a"] {
            assert!(image(name).is_err(), "{name}");
        }
        assert!(plain("container", "web-1.green_x").is_ok());
        assert!(image("localhost:5000/team/web@sha256:00ff").is_ok());
    }
}
