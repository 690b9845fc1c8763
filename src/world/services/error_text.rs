//! Short texts from errors of libraries and the operating system. Knows no effect.

use std::error::Error;
use std::io;

/// Returns the root cause of an error, such as `connection refused`, without the wrappers around it.
pub(crate) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    let mut io_kind = None;
    let mut next = Some(error);
    while let Some(error) = next {
        deepest = error;
        if let Some(error) = error.downcast_ref::<io::Error>() {
            io_kind = Some(error.kind()).filter(|kind| is_descriptive(*kind)).or(io_kind);
        }
        next = error.source();
    }
    io_kind.map_or_else(|| deepest.to_string(), |kind| kind.to_string())
}

/// Returns whether the other side was never reached, so that a retry cannot send the request twice.
pub(crate) fn never_connected(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::*;
    std::iter::successors(Some(error), |&error| error.source()).any(|error| {
        error.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable)
        })
    })
}

/// Returns whether the name of the kind says more than the error's own text.
fn is_descriptive(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::*;
    matches!(
        kind,
        ConnectionRefused
            | ConnectionReset
            | ConnectionAborted
            | HostUnreachable
            | NetworkUnreachable
            | AddrInUse
            | AddrNotAvailable
            | BrokenPipe
            | TimedOut
            | PermissionDenied
    )
}

/// Returns the first `limit` characters of a text, with `…` after them if there are more.
pub(crate) fn truncate(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncates_between_characters() {
        assert_eq!(truncate("äöü", 3), "äöü");
        assert_eq!(truncate("äöü", 2), "äö…");
    }

    #[test]
    fn names_the_kind_of_an_io_error() {
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(root_cause(&error), "connection refused");
    }
}
