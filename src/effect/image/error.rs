//! Errors about images that every world can meet, written once.

use std::fmt;

use super::{BuildImage, LoadImage, RemoveImage, with_tag};
use crate::base::duration_text::DurationText;
use crate::effect::error::RAISE_TIMEOUT;
use crate::effect::{EffectError, ErrorKind};

/// Returns the error for an image that does not exist.
pub fn image_not_found(name: &str) -> EffectError {
    EffectError::not_found(format!("image `{name}` does not exist on this engine"))
        .hint(format!("build it: `docker_build`; or pull it: `docker_pull(\"{name}\")`"))
}

/// Returns the error for a build context that is not a folder.
pub fn build_context_not_found(folder: &impl fmt::Display) -> EffectError {
    EffectError::not_found(format!("the build context `{folder}` is not a folder"))
        .hint("paths are relative to the folder in which deployer was started")
}

/// Returns the error for a build that failed.
pub fn build_failed(tag: &str, why: &impl fmt::Display) -> EffectError {
    EffectError::new(ErrorKind::Failed, format!("building image `{tag}` failed: {why}"))
}

/// Returns the error for an image operation that took longer than its timeout; `what` names it.
pub fn image_timed_out(what: &str, timeout: DurationText) -> EffectError {
    EffectError::timed_out(&what, timeout).hint(RAISE_TIMEOUT)
}

impl BuildImage {
    /// Names the build, for messages.
    pub fn label(&self) -> String {
        format!("the build of image `{}`", with_tag(&self.tag))
    }
}

impl RemoveImage {
    /// Returns the error for an image that a container uses; `forcible` says whether `force` would help.
    pub fn in_use(&self, container: &str, forcible: bool) -> EffectError {
        let or_force = if forcible { ", or use `force: true`" } else { "" };
        EffectError::conflict(format!("image `{}` is used by container `{container}`", self.image))
            .hint(format!("remove the container first: `docker_remove(\"{container}\")`{or_force}"))
    }

    /// Returns the error for an image with several names that is removed by its id.
    pub fn has_several_names(&self, names: &[String]) -> EffectError {
        EffectError::conflict(format!("image `{}` has several names: {}", self.image, names.join(", ")))
            .hint("remove it by each of its names, or use `force: true`")
    }
}

impl LoadImage {
    /// Returns the error for an archive that cannot be read.
    pub fn unreadable(&self, kind: ErrorKind, why: &impl fmt::Display) -> EffectError {
        EffectError::new(kind, format!("cannot read the image archive `{}`: {why}", self.file))
            .hint(format!("create one: docker save --output {} IMAGE", self.file))
            .not_applied()
    }
}

/// The registry of image names without a host.
pub const HUB: &str = "docker.io";

/// Returns the host and port of an image's registry.
pub fn registry(name: &str) -> &str {
    match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => HUB,
    }
}

/// A pull or a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferDirection {
    /// From the registry.
    Pull,
    /// To the registry.
    Push,
}

impl TransferDirection {
    fn participle(self) -> &'static str {
        match self {
            Self::Pull => "pulled",
            Self::Push => "pushed",
        }
    }
}

/// Returns the error for an image that could not be pulled or pushed; the kind decides the hint.
pub fn transfer_failed(
    direction: TransferDirection,
    kind: ErrorKind,
    name: &str,
    why: &impl fmt::Display,
) -> EffectError {
    let registry = registry(name);
    let hint = match kind {
        ErrorKind::Refused => format!("log in to the registry: docker login {registry}"),
        ErrorKind::NotFound => format!("check which tags the registry `{registry}` has, or build the image"),
        _ => format!("check whether the engine's machine can reach the registry `{registry}`"),
    };
    EffectError::new(kind, format!("image `{name}` could not be {}: {why}", direction.participle())).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_part_of_the_name() {
        assert_eq!(registry("localhost:5000/web"), "localhost:5000");
        assert_eq!(registry("localhost/web"), "localhost");
        assert_eq!(registry("team/web:v1"), HUB);
        assert_eq!(registry("web:v1"), HUB);
    }
}
