//! How a container's process is started: program, arguments, environment, working folder.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::path_rewriter::PathRewriter;
use super::record::{ContainerRecord, Launch, ProbePlan, ROOT};
use crate::base::duration_text::DurationText;
use crate::base::text::Text;
use crate::base::vault::Vault;
use crate::effect::container::Healthcheck;
use crate::effect::{EffectError, ErrorKind};
use crate::world::local::local_engine::LocalEngine;

/// Variables that a process inherits from deployer's environment.
const INHERITED: [&str; 4] = ["HOME", "LANG", "PATH", "TZ"];
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Names the real root of the image.
const ROOT_VARIABLE: &str = "DEPLOYER_ROOT";
/// Docker's defaults for health checks.
const PROBE_INTERVAL: DurationText = DurationText::secs(30);
const PROBE_TIMEOUT: DurationText = DurationText::secs(30);
const PROBE_RETRIES: u32 = 3;

/// Returns the value of a variable from its name and text, or `None` to leave the variable out.
pub(crate) type Reveal<'a> = &'a dyn Fn(&str, &Text) -> Result<Option<String>, EffectError>;

impl LocalEngine {
    pub(crate) fn path_rewriter(&self, record: &ContainerRecord) -> PathRewriter {
        let root = self.container_file(&record.id, ROOT);
        let mounts = record.spec.volumes.iter().map(|mount| mount.target.clone());
        PathRewriter::new(root, mounts, &record.working_dir())
    }

    /// Returns the environment of the process. `reveal` provides the values of the script's variables.
    pub(crate) fn process_environment(
        &self,
        record: &ContainerRecord,
        reveal: Reveal<'_>,
    ) -> Result<BTreeMap<String, String>, EffectError> {
        let rewriter = self.path_rewriter(record);
        let mut own: BTreeMap<String, String> =
            record.image.environment.iter().map(|(key, value)| (key.clone(), rewriter.text(value))).collect();
        for (key, value) in &record.spec.environment {
            if let Some(value) = reveal(key, value)? {
                own.insert(key.clone(), rewriter.text(&value));
            }
        }
        let mut all: BTreeMap<String, String> =
            INHERITED.iter().filter_map(|key| Some(((*key).to_owned(), std::env::var(key).ok()?))).collect();
        let host_path = all.get("PATH").cloned().unwrap_or_else(|| DEFAULT_PATH.into());
        // The image's programs come first; those of this machine are found too.
        let path =
            own.remove("PATH").map_or(host_path.clone(), |path| format!("{}:{host_path}", path.trim_end_matches(':')));
        all.extend(own);
        all.insert("PATH".into(), path);
        all.extend(port_variables(record));
        all.insert(ROOT_VARIABLE.into(), rewriter.root().display().to_string());
        Ok(all)
    }

    /// # Errors
    /// Returns `failed` if the program does not exist, `missing_secret` if a secret is not set.
    pub(crate) fn launch(&self, record: &ContainerRecord, vault: &Vault) -> Result<Launch, EffectError> {
        let rewriter = self.path_rewriter(record);
        let environment = self.process_environment(record, &|_, value| Ok(Some(vault.reveal(value)?)))?;
        let working_dir = rewriter.folder(&record.working_dir());
        let mut command = record.command()?.into_iter().map(|word| rewriter.text(&word));
        let program = command.next().unwrap_or_default();
        let path = environment.get("PATH").map_or("", String::as_str);
        Ok(Launch {
            program: find_program(&program, path, &working_dir)?,
            args: command.collect(),
            environment,
            working_dir,
            restart: record.spec.restart.clone(),
            probe: record.spec.healthcheck.as_ref().and_then(|check| plan(check, &rewriter)),
        })
    }
}

impl ContainerRecord {
    /// Returns the working folder, absolute, as the container sees it.
    pub(crate) fn working_dir(&self) -> String {
        crate::world::local::file_tree::normal(self.spec.working_dir.as_deref().unwrap_or(&self.image.working_dir))
    }

    /// Docker's rule: an entrypoint set by the script discards the image's command.
    fn command(&self) -> Result<Vec<String>, EffectError> {
        let (entrypoint, preset) = match &self.spec.entrypoint {
            Some(entrypoint) => (entrypoint.clone(), Vec::new()),
            None => (self.image.entrypoint.clone(), self.image.command.clone()),
        };
        let mut all = entrypoint;
        all.extend(self.spec.command.clone().unwrap_or(preset));
        if all.first().is_none_or(String::is_empty) {
            return Err(EffectError::new(
                ErrorKind::Invalid,
                format!(
                    "there is nothing to run in container `{}`: image `{}` has no `CMD`",
                    self.spec.name, self.spec.image
                ),
            )
            .hint("give the option `command`")
            .not_applied());
        }
        Ok(all)
    }
}

/// Returns `PORT`, and `PORT_<container port>` for each of several ports.
fn port_variables(record: &ContainerRecord) -> Vec<(String, String)> {
    let published = record.ports.iter().map(|port| (port.container_port, port.host_port));
    let all: Vec<(u16, u16)> = published.chain(record.assigned.iter().map(|(port, host)| (*port, *host))).collect();
    let mut variables: Vec<(String, String)> =
        all.first().map(|(_, host)| ("PORT".to_owned(), host.to_string())).into_iter().collect();
    if all.len() > 1 {
        variables.extend(all.iter().map(|(port, host)| (format!("PORT_{port}"), host.to_string())));
    }
    variables
}

fn plan(check: &Healthcheck, rewriter: &PathRewriter) -> Option<ProbePlan> {
    let (kind, rest) = check.test.split_first()?;
    let command: Vec<String> = match kind.as_str() {
        "NONE" => return None,
        "CMD" => rest.to_vec(),
        "CMD-SHELL" => vec!["/bin/sh".into(), "-c".into(), rest.join(" ")],
        _ => check.test.clone(),
    };
    if command.is_empty() {
        return None;
    }
    Some(ProbePlan {
        command: command.iter().map(|word| rewriter.text(word)).collect(),
        interval: check.interval.filter(|time| !time.0.is_zero()).unwrap_or(PROBE_INTERVAL),
        timeout: check.timeout.filter(|time| !time.0.is_zero()).unwrap_or(PROBE_TIMEOUT),
        retries: check.retries.filter(|retries| *retries > 0).unwrap_or(PROBE_RETRIES),
        start_period: check.start_period.unwrap_or_default(),
    })
}

/// Finds the file of a program: an absolute path, one relative to the working folder, or a name on the `PATH`.
///
/// # Errors
/// Returns `failed` if there is none, or it is not executable.
pub(crate) fn find_program(name: &str, path: &str, working_dir: &Path) -> Result<PathBuf, EffectError> {
    let failed = |what: String| EffectError::new(ErrorKind::Failed, what).not_applied();
    if name.contains('/') {
        let file = working_dir.join(name);
        return match file.metadata() {
            Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => Ok(file),
            Ok(meta) if meta.is_file() => Err(failed(format!("program `{}` is not executable", file.display()))
                .hint("copy it with `COPY --chmod=755`, or start it with its interpreter")),
            Ok(_) => Err(failed(format!("program `{}` is not a file", file.display()))),
            Err(why) => Err(failed(format!("program `{}` cannot be started: {why}", file.display()))),
        };
    }
    path.split(':')
        .filter(|folder| !folder.is_empty())
        .map(|folder| working_dir.join(folder).join(name))
        .find(|file| file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0))
        .ok_or_else(|| {
            failed(format!("program `{name}` is neither on the PATH of this machine nor in the image"))
                .hint(format!("install `{name}` on this machine, or deploy with `--engine docker`"))
        })
}
