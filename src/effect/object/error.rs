//! Errors about objects that every world can meet, written once.

use std::fmt;

use crate::base::object_url::ObjectUrl;
use crate::effect::{EffectError, ErrorKind};

/// Returns the error for an object that does not exist.
pub fn object_not_found(url: &ObjectUrl) -> EffectError {
    EffectError::not_found(format!("object `{url}` does not exist"))
}

/// Returns the error for storage that cannot be reached.
pub fn storage_unreachable(url: &impl fmt::Display, why: &str) -> EffectError {
    EffectError::new(ErrorKind::Unavailable, format!("the request for `{url}` failed: {why}"))
        .hint("check that the endpoint is right, and that the server is up and has free space")
}

/// Returns the error for an object that exists and must not be overwritten.
pub fn object_exists(url: &ObjectUrl) -> EffectError {
    EffectError::new(ErrorKind::NameTaken, format!("`{url}` already exists"))
        .hint("choose another name, or set `overwrite: true`")
        .not_applied()
}
