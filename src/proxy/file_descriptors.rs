//! File descriptors: raises the limit of the process, and derives from it how many clients can be connected.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::limits::{DESCRIPTOR_RESERVE, DESCRIPTORS_PER_CONNECTION};

/// Raises the limit as far as the system allows. Returns the limit that now applies.
pub fn raise_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// Returns how many clients may be connected under this limit: at most `requested`, and at least one.
pub fn connections(limit: u64, requested: usize) -> usize {
    let places = limit.saturating_sub(DESCRIPTOR_RESERVE) / DESCRIPTORS_PER_CONNECTION;
    requested.min(usize::try_from(places).unwrap_or(usize::MAX)).max(1)
}

/// Returns whether a connection failed because this side has no descriptor, port or memory for it.
pub fn is_shortage(error: &io::Error) -> bool {
    use nix::libc::{EADDRNOTAVAIL, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(error.raw_os_error(), Some(EADDRNOTAVAIL | EAGAIN | EMFILE | ENFILE | ENOBUFS | ENOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_the_limit_and_keep_a_reserve() {
        assert_eq!(connections(u64::MAX, 16_384), 16_384);
        assert_eq!(connections(1_024, 16_384), 384);
        assert_eq!(connections(1_024, 8), 8);
        assert_eq!(connections(10, 8), 1);
    }

    #[test]
    fn a_refusal_is_no_shortage() {
        assert!(is_shortage(&io::Error::from_raw_os_error(nix::libc::EMFILE)));
        assert!(!is_shortage(&io::Error::from_raw_os_error(nix::libc::ECONNREFUSED)));
    }
}
