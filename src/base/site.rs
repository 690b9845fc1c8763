//! A position in a script's source.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a primitive was called. Lines and columns count from 1; columns are characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The source's name: the path as given on the command line, or `std/NAME` for a module of the stdlib.
    pub source: String,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source, self.line, self.column)
    }
}
