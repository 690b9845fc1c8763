//! Messages of the proxy on standard error, one line each.

use std::fmt::Display;
use std::io::Write;

/// Writes a message. A closed standard error is ignored: the proxy must continue.
pub fn notice(line: impl Display) {
    drop(writeln!(std::io::stderr(), "deployer proxy: {line}"));
}
