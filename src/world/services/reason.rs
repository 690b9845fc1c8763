//! Why a connection or a file operation failed, in a few words for people. Knows no effect.

use std::error::Error;
use std::io;

/// The deepest known cause: `connection refused` instead of a chain of wrappers around it.
pub(super) fn reason(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    let mut io_kind = None;
    let mut next = Some(error);
    while let Some(error) = next {
        deepest = error;
        if let Some(error) = error.downcast_ref::<io::Error>() {
            io_kind = Some(error.kind()).filter(|kind| is_telling(*kind)).or(io_kind);
        }
        next = error.source();
    }
    io_kind.map_or_else(|| deepest.to_string(), |kind| kind.to_string())
}

/// Whether the other side was never reached, so that asking again cannot ask twice.
pub(super) fn never_connected(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::*;
    std::iter::successors(Some(error), |&error| error.source()).any(|error| {
        error.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable)
        })
    })
}

fn is_telling(kind: io::ErrorKind) -> bool {
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

/// The first `limit` characters of a text, on one line of evidence.
pub(super) fn clip(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_between_characters() {
        assert_eq!(clip("äöü", 3), "äöü");
        assert_eq!(clip("äöü", 2), "äö…");
    }

    #[test]
    fn names_the_kind_of_an_io_error() {
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(reason(&error), "connection refused");
    }
}
