//! `docker_create` and `docker_rename`: creates a container's folder with its copy of the image and its mounts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use nix::unistd::{Uid, User};

use super::record::{CONFIG, ContainerRecord, ROOT};
use crate::base::mount::Mount;
use crate::effect::container::{Container, ContainerSpec, RenameContainer, container_name_taken};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;
use crate::world::local::file_tree::{copy_tree, inside, normal, sorted};
use crate::world::local::local_engine::{LocalEngine, NAME, run_blocking};
use crate::world::local::process::parse_signal;
use crate::world::local::state_folder::{check_name, instant_text, io_error, random_id, write_json};

impl LocalEngine {
    pub(crate) async fn create_container(
        self: &Arc<Self>,
        call: &Call,
        spec: &ContainerSpec,
    ) -> Result<Container, EffectError> {
        let cancel = call.cancel.child_token();
        let _stop_when_dropped = cancel.clone().drop_guard();
        let (call, spec) = (call.clone(), spec.clone());
        run_blocking(self, move |engine| {
            let record = engine.create_container_blocking(&call, spec, &|| cancel.is_cancelled())?;
            engine.container_view(record)
        })
        .await
    }

    fn create_container_blocking(
        &self,
        call: &Call,
        spec: ContainerSpec,
        stop: &dyn Fn() -> bool,
    ) -> Result<ContainerRecord, EffectError> {
        check_name("container", &spec.name)?;
        let spec = match &spec.like {
            Some(model) => {
                let model = self.require_container(&model.key)?.spec;
                spec.filled_from(&model)
            }
            None => spec,
        };
        check_user(spec.user.as_deref())?;
        spec.stop_signal.as_deref().map_or(Ok(()), |signal| parse_signal(signal).map(drop))?;
        // Docker needs the values now, so report a missing one before anything is created.
        spec.environment.values().try_for_each(|value| call.vault.reveal(value).map(drop))?;
        check_mounts(&spec.volumes)?;
        let image = self.require_image(&spec.image)?;
        let id = random_id()?;
        let temporary = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(self.folder.containers())
            .map_err(|why| io_error("write", &self.folder.containers(), &why).not_applied())?;
        let root = temporary.path().join(ROOT);
        // A copy, not links: what the program writes must not reach the image.
        copy_tree(&self.image_root(&image.id), &root, stop).map_err(EffectError::not_applied)?;

        let _guard = self.folder.guard()?;
        self.check_free_name(&spec.name)?;
        self.check_networks(&spec.networks)?;
        let labels = spec.all_labels(call.labels());
        for mount in &spec.volumes {
            self.mount(&root, mount, call, stop)?;
        }
        let record = ContainerRecord {
            id: id.clone(),
            labels,
            image_id: image.id,
            image: image.config,
            created_at: instant_text(),
            ports: Vec::new(),
            assigned: std::collections::BTreeMap::new(),
            spec,
        };
        let working_dir = inside(&root, &record.working_dir())?;
        fs::create_dir_all(&working_dir).map_err(|why| io_error("create", &working_dir, &why))?;
        write_json(&temporary.path().join(CONFIG), &record)?;
        let folder = self.folder.container(&id);
        fs::rename(temporary.path(), &folder).map_err(|why| io_error("write", &folder, &why))?;
        // The folder has been renamed.
        let _ = temporary.keep();
        for network in &record.spec.networks {
            self.join_network(network, &id, &record.spec.aliases)?;
        }
        Ok(record)
    }

    fn check_free_name(&self, name: &str) -> Result<(), EffectError> {
        let is_taken = self.container_records()?.iter().any(|record| record.spec.name == name);
        if is_taken { Err(container_name_taken(name)) } else { Ok(()) }
    }

    /// Replaces the target by a link to the volume or folder.
    fn mount(&self, root: &Path, mount: &Mount, call: &Call, stop: &dyn Fn() -> bool) -> Result<(), EffectError> {
        let target = inside(root, &mount.target)?;
        let real = if mount.is_volume() {
            let labels = call.labels().map(|(key, value)| (key.to_owned(), value)).collect();
            self.ensure_volume(&mount.source, labels)?;
            self.volume_data(&mount.source)
        } else {
            mount.source.clone().into()
        };
        if !real.exists() {
            fs::create_dir_all(&real).map_err(|why| io_error("create", &real, &why))?;
        }
        if target.is_dir() && !target.is_symlink() {
            // As in Docker, an empty volume is filled with the image's files.
            if mount.is_volume() && sorted(&real)?.is_empty() {
                copy_tree(&target, &real, stop)?;
            }
            fs::remove_dir_all(&target).map_err(|why| io_error("remove", &target, &why))?;
        } else if target.symlink_metadata().is_ok() {
            fs::remove_file(&target).map_err(|why| io_error("remove", &target, &why))?;
        }
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(|why| io_error("create", parent, &why))?;
        }
        symlink(&real, &target).map_err(|why| io_error("mount", &target, &why))
    }

    pub(crate) fn rename_container(&self, request: &RenameContainer) -> Result<Container, EffectError> {
        check_name("container", &request.name)?;
        let _guard = self.folder.guard()?;
        let mut record = self.require_container(&request.container.key)?;
        if record.spec.name == request.name {
            return self.container_view(record);
        }
        self.check_free_name(&request.name)?;
        record.spec.name.clone_from(&request.name);
        write_json(&self.container_file(&record.id, CONFIG), &record)?;
        self.container_view(record)
    }
}

/// Accepts only the user who runs deployer: running as another user than requested could expose files.
pub(crate) fn check_user(user: Option<&str>) -> Result<(), EffectError> {
    let Some(asked) = user else { return Ok(()) };
    let name = asked.split(':').next().unwrap_or(asked);
    let current_user = Uid::effective();
    let is_own = name == current_user.to_string()
        || User::from_uid(current_user).ok().flatten().is_some_and(|user| user.name == name);
    if is_own {
        return Ok(());
    }
    Err(EffectError::unsupported(format!("`user: \"{asked}\"`"), NAME)
        .hint("leave `user` out: everything runs as the user who runs deployer"))
}

/// Refuses nested mounts: a mount is a link, and a link cannot contain another mount.
fn check_mounts(mounts: &[Mount]) -> Result<(), EffectError> {
    let targets: Vec<String> = mounts.iter().map(|mount| normal(&mount.target)).collect();
    for (index, target) in targets.iter().enumerate() {
        if target == "/" {
            return Err(EffectError::new(ErrorKind::Invalid, "nothing can be mounted on `/`").not_applied());
        }
        let other = targets.iter().enumerate().find(|(other, path)| {
            *other != index
                && target.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if let Some((_, other)) = other {
            return Err(EffectError::unsupported(format!("a mount on `{target}` inside another on `{other}`"), NAME));
        }
    }
    Ok(())
}
