//! The path of a request in the form in which routes are compared. Pure.

use std::borrow::Cow;

/// Targets read this path in different ways, so no route can be chosen for it.
#[derive(Debug, PartialEq, Eq)]
pub struct AmbiguousPath;

/// Returns the path without dot segments, empty segments and needless percent-encoding.
///
/// # Errors
/// When targets may read it in another way: an encoded slash or dot segment, a backslash, a dot segment with parameters
/// (`..;`), more `..` than segments, or an encoding that is incomplete.
pub fn normalized(path: &str) -> Result<Cow<'_, str>, AmbiguousPath> {
    if !path.starts_with('/') || !(path.contains(['%', '\\']) || path.contains("//") || path.contains("/.")) {
        return Ok(Cow::Borrowed(path));
    }
    let mut segments: Vec<Cow<'_, str>> = Vec::new();
    for raw in path.split('/').filter(|raw| !raw.is_empty()) {
        let segment = decoded(raw)?;
        let name = segment.split_once(';').map_or(&*segment, |(name, _)| name);
        match (name, raw) {
            (_, ".") => {}
            (_, "..") => drop(segments.pop().ok_or(AmbiguousPath)?),
            ("." | "..", _) => return Err(AmbiguousPath),
            _ => segments.push(segment),
        }
    }
    Ok(Cow::Owned(format!("/{}", segments.join("/"))))
}

/// Decodes the visible ASCII characters of a segment. Everything else stays encoded, in upper case.
fn decoded(segment: &str) -> Result<Cow<'_, str>, AmbiguousPath> {
    if segment.contains('\\') {
        return Err(AmbiguousPath);
    }
    if !segment.contains('%') {
        return Ok(Cow::Borrowed(segment));
    }
    let mut parts = segment.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or(AmbiguousPath)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(AmbiguousPath);
        }
        match u8::from_str_radix(digits, 16).map_err(|_| AmbiguousPath)? {
            0 | b'/' | b'\\' => return Err(AmbiguousPath),
            byte if byte.is_ascii_graphic() && byte != b'%' => text.push(char::from(byte)),
            _ => {
                text.push('%');
                text.push_str(&digits.to_ascii_uppercase());
            }
        }
        text.push_str(rest);
    }
    Ok(Cow::Owned(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_as_targets_read_them() {
        for (path, expected) in [
            ("/api/v1", "/api/v1"),
            ("/api/../admin", "/admin"),
            ("/api/./x", "/api/x"),
            ("//admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/a%2etxt", "/a.txt"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a;b=1/c", "/a;b=1/c"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/%252e%252e", "/%252e%252e"),
            ("*", "*"),
        ] {
            assert_eq!(normalized(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for path in [
            "/a/%2e%2e/b",
            "/a/.%2E/b",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/a/..;/b",
            "/a/..;x=1/b",
            "/..",
            "/a%",
            "/a%zz",
            "/a%00",
        ] {
            assert_eq!(normalized(path), Err(AmbiguousPath), "{path}");
        }
    }
}
