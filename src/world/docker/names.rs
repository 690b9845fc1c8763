//! Validates names that become part of the engine's URLs, and splits image names.

use std::collections::BTreeMap;

use crate::effect::container::name_not_valid;
use crate::effect::image::with_tag;
use crate::effect::{EffectError, ErrorKind};

/// Validates the name or id of a container, volume or network: nothing that would lead to another URL of the engine.
pub(super) fn validate<'a>(what: &str, name: &'a str) -> Result<&'a str, EffectError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(allowed) {
        return Ok(name);
    }
    Err(name_not_valid(what, name))
}

/// Validates the name or id of an image.
pub(super) fn validate_image(name: &str) -> Result<&str, EffectError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | ':' | '@');
    let has_valid_end = name.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.');
    let has_bad_part = name.contains("//") || name.split('/').any(|part| part == "." || part == "..");
    if name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && has_valid_end
        && !has_bad_part
        && name.chars().all(allowed)
    {
        return Ok(name);
    }
    Err(EffectError::new(ErrorKind::Invalid, format!("`{name}` is not a valid image name"))
        .hint("write it like `web:v2` or `registry.example.com/team/web:v2`")
        .not_applied())
}

/// Returns whether all wanted labels are present. An empty wanted value matches any value of the key.
pub(super) fn has_labels(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key).is_some_and(|found| value.is_empty() || found == value))
}

/// Splits a name into repository and tag. The tag defaults to `latest`.
pub(super) fn repository_and_tag(name: &str) -> (String, String) {
    let full = with_tag(name.split('@').next().unwrap_or(name));
    match full.rsplit_once(':') {
        Some((repository, tag)) => (repository.to_owned(), tag.to_owned()),
        None => (full, "latest".into()),
    }
}

/// Returns the name as the engine shows it: without the default registry.
pub(super) fn familiar(name: &str) -> &str {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// Returns whether the name identifies one image: by tag, digest or id.
pub(super) fn is_exact(name: &str) -> bool {
    name.starts_with("sha256:") || with_tag(name) == name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_image_names() {
        let parts = |name: &str| repository_and_tag(name);
        assert_eq!(parts("web"), ("web".into(), "latest".into()));
        assert_eq!(parts("localhost:5000/web"), ("localhost:5000/web".into(), "latest".into()));
        assert_eq!(parts("localhost:5000/team/web:v2"), ("localhost:5000/team/web".into(), "v2".into()));
        assert_eq!(familiar("docker.io/library/web:v1"), "web:v1");
        assert!(is_exact("web:v1") && is_exact("sha256:00") && !is_exact("localhost:5000/web"));
    }

    #[test]
    fn names_cannot_change_the_url() {
        for name in ["", "../images", "a/b", "a?force=1", "a#b", "-a", "a b", "a%2fb"] {
            assert!(validate("container", name).is_err(), "{name}");
        }
        for name in ["", "../x", "a/../b", "a//b", "a?b", "web:", "a b", "/a"] {
            assert!(validate_image(name).is_err(), "{name}");
        }
        assert!(validate("container", "web-1.green_x").is_ok());
        assert!(validate_image("localhost:5000/team/web@sha256:00ff").is_ok());
    }
}
