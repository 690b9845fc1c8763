//! Errors about volumes that every world can meet, and checks of requests, written once. Hints name script functions,
//! because these errors come from every engine.

use std::fmt;

use super::{RestoreVolume, SwapVolumes};
use crate::base::duration_text::DurationText;
use crate::effect::error::RAISE_TIMEOUT;
use crate::effect::{EffectError, ErrorKind};

/// Returns the error for a volume that does not exist.
pub fn volume_not_found(name: &str) -> EffectError {
    EffectError::not_found(format!("volume `{name}` does not exist")).hint("list the volumes: `volume_list()`")
}

/// Returns the error for a file that a volume does not have.
pub fn volume_file_not_found(volume: &str, path: &impl fmt::Display) -> EffectError {
    EffectError::not_found(format!("volume `{volume}` has no file `{path}`"))
}

/// Returns the error for a path that is not inside a volume.
pub fn path_outside_volume(path: &impl fmt::Display) -> EffectError {
    EffectError::invalid(format!("`{path}` is not a path inside a volume"))
        .hint("write it relative to the volume, without `..`, such as `db/app.sqlite`")
}

/// Returns the error for a copy whose new volume already exists.
pub fn volume_exists(name: &str) -> EffectError {
    EffectError::new(ErrorKind::NameTaken, format!("volume `{name}` already exists"))
        .hint(format!("choose another name, or remove it: `volume_remove(\"{name}\")`"))
        .not_applied()
}

/// Returns the error for a volume that cannot be removed because containers mount it, stopped ones included.
pub fn volume_in_use(name: &str, users: &[String]) -> EffectError {
    used_by(name, users).hint(format!("remove first: {}", calls("docker_remove", users)))
}

/// Returns the error for a volume whose content cannot be replaced because running containers mount it.
pub fn volume_in_use_by_running(name: &str, users: &[String]) -> EffectError {
    used_by(name, users).hint(format!("stop first: {}", calls("docker_stop", users)))
}

fn used_by(name: &str, users: &[String]) -> EffectError {
    EffectError::conflict(format!("volume `{name}` is used by container {}", quoted(users)))
}

/// Returns the error for a copy of a volume to which these running containers can write.
pub fn volume_has_writers(name: &str, writers: &[String]) -> EffectError {
    let writers = quoted(writers);
    EffectError::conflict(format!("container {writers} can write to volume `{name}`, so the copy may be inconsistent"))
        .hint("pause it during the copy: `while_written: \"pause\"`; or copy anyway: `while_written: \"allow\"`")
}

/// Checks that a copy has a volume of its own.
///
/// # Errors
/// Fails if both names are the same.
pub fn check_copy_names(from: &str, to: &str) -> Result<(), EffectError> {
    if from == to {
        return Err(EffectError::invalid(format!("volume `{from}` cannot be copied into itself")));
    }
    Ok(())
}

/// Returns the error for a copy that took longer than its timeout.
pub fn copy_timed_out(timeout: DurationText) -> EffectError {
    EffectError::timed_out(&"the copy", timeout).hint(RAISE_TIMEOUT)
}

/// Returns the error for a copy that was cancelled.
pub fn copy_cancelled() -> EffectError {
    EffectError::new(ErrorKind::Cancelled, "the copy was cancelled")
}

impl RestoreVolume {
    /// Returns the volume to restore.
    ///
    /// # Errors
    /// Fails if neither `to` nor the snapshot's name says which.
    pub fn required_volume(&self) -> Result<&str, EffectError> {
        self.volume().ok_or_else(|| {
            let message = format!("the name `{}` does not say which volume it is a snapshot of", self.snapshot);
            EffectError::invalid(message).hint("name the volume with the option `to`")
        })
    }
}

impl SwapVolumes {
    /// Checks the names.
    ///
    /// # Errors
    /// Fails if the volume is to be swapped with itself.
    pub fn validate(&self) -> Result<(), EffectError> {
        if self.volume == self.other {
            return Err(EffectError::invalid(format!("volume `{}` cannot be swapped with itself", self.volume)));
        }
        Ok(())
    }

    /// Returns whether there is something to swap, by the ids of the two contents. An undo finds nothing to swap if the
    /// volume has its previous content again.
    ///
    /// # Errors
    /// Fails if neither volume has the content that an undo must restore.
    pub fn is_needed(&self, volume: Option<&str>, other: Option<&str>) -> Result<bool, EffectError> {
        match self.back_to.as_deref() {
            Some(back_to) if volume == Some(back_to) => Ok(false),
            Some(back_to) if other != Some(back_to) => Err(EffectError::conflict(format!(
                "the previous content of volume `{}` is in neither of the two volumes",
                self.volume
            ))),
            _ => Ok(true),
        }
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Returns one call of a script function for each container.
fn calls(function: &str, containers: &[String]) -> String {
    containers.iter().map(|name| format!("`{function}(\"{name}\")`")).collect::<Vec<_>>().join(", ")
}
