//! What a person should read, on standard error, one line each.

use std::fmt::Display;
use std::io::Write;

/// A reader who has left changes nothing.
pub fn notice(line: impl Display) {
    drop(writeln!(std::io::stderr(), "deployer proxy: {line}"));
}
