//! Builds the folder and configuration of an image from a Dockerfile, limited to the instructions that make sense
//! without a container. Knows nothing of where images are stored.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::build_context::BuildContext;
use super::dockerfile::{Instruction, SourceLocation};
use super::dockerfile_words;
use super::record::ImageConfig;
use crate::effect::{EffectError, ErrorKind};
use crate::world::local::file_tree::{copy_entry, copy_tree, inside};

/// The base of an image: its folder and configuration.
pub(crate) type Base = (PathBuf, ImageConfig);

/// A build in progress.
pub(crate) struct ImageBuilder<'a> {
    pub(crate) context: &'a BuildContext,
    /// The build arguments of `docker_build`.
    pub(crate) build_args: &'a BTreeMap<String, String>,
    /// Finds a local image by name.
    pub(crate) base: &'a dyn Fn(&str) -> Result<Base, EffectError>,
    pub(crate) stop: &'a dyn Fn() -> bool,
    /// The empty folder to fill.
    pub(crate) root: PathBuf,
    /// The requested stage.
    pub(crate) target: Option<&'a str>,
    state: BuildState,
}

#[derive(Default)]
struct BuildState {
    config: ImageConfig,
    args: BTreeMap<String, String>,
    declared: BTreeSet<String>,
    has_base: bool,
    stage: Option<String>,
    command_is_own: bool,
}

impl<'a> ImageBuilder<'a> {
    pub(crate) fn new(
        context: &'a BuildContext,
        build_args: &'a BTreeMap<String, String>,
        base: &'a dyn Fn(&str) -> Result<Base, EffectError>,
        stop: &'a dyn Fn() -> bool,
        root: PathBuf,
        target: Option<&'a str>,
    ) -> Self {
        Self { context, build_args, base, stop, root, target, state: BuildState::default() }
    }

    /// Applies all instructions. `on_step` is called before each.
    ///
    /// # Errors
    /// Returns `unsupported` or `invalid`, with file and line.
    pub(crate) fn run(
        mut self,
        file: &str,
        all: &[Instruction],
        on_step: &dyn Fn(usize, &Instruction),
    ) -> Result<ImageConfig, EffectError> {
        for (index, instruction) in all.iter().enumerate() {
            if (self.stop)() {
                return Err(EffectError::new(ErrorKind::Cancelled, "the build was cancelled").not_applied());
            }
            on_step(index, instruction);
            self.apply(instruction)?;
        }
        let location = SourceLocation { file: file.into(), line: all.last().map_or(1, |last| last.location.line) };
        if !self.state.has_base {
            return Err(location.invalid("`FROM` is missing"));
        }
        if let Some(target) = self.target.filter(|target| self.state.stage.as_deref() != Some(*target)) {
            return Err(location.invalid(format!("stage `{target}` does not exist")));
        }
        if let Some(unknown) = self.build_args.keys().find(|name| !self.state.declared.contains(*name)) {
            let near = crate::base::suggest::did_you_mean(unknown, self.state.declared.iter().map(String::as_str));
            let error = location.invalid(format!("build argument `{unknown}` has no `ARG`"));
            return Err(match near {
                Some(near) => error.hint(near),
                None => error.hint(format!("declare it: `ARG {unknown}`")),
            });
        }
        Ok(self.state.config)
    }

    fn apply(&mut self, instruction: &Instruction) -> Result<(), EffectError> {
        let location = &instruction.location;
        if !self.state.has_base && !matches!(instruction.keyword.as_str(), "FROM" | "ARG") {
            return Err(location.invalid(format!("`{}` comes before `FROM`", instruction.keyword)));
        }
        match instruction.keyword.as_str() {
            "FROM" => self.from(instruction),
            "ARG" => self.arg(instruction),
            "COPY" => self.copy(instruction),
            "ENV" => {
                let pairs = self.pairs(instruction)?;
                self.state.config.environment.extend(pairs);
                Ok(())
            }
            "LABEL" => {
                let pairs = self.pairs(instruction)?;
                self.state.config.labels.extend(pairs);
                Ok(())
            }
            "WORKDIR" => self.working_dir(instruction),
            "EXPOSE" => self.expose(instruction),
            "CMD" => {
                self.state.config.command = program(instruction);
                self.state.command_is_own = true;
                Ok(())
            }
            "ENTRYPOINT" => {
                self.state.config.entrypoint = program(instruction);
                // As in Docker, a new entrypoint discards the command of the base.
                if !self.state.command_is_own {
                    self.state.config.command.clear();
                }
                Ok(())
            }
            other => Err(unsupported_instruction(other, location)),
        }
    }

    fn from(&mut self, instruction: &Instruction) -> Result<(), EffectError> {
        let location = &instruction.location;
        if self.state.has_base {
            return Err(location.unsupported(
                "a second `FROM`: builds of several stages need `RUN`, and there is no container to run in",
            ));
        }
        let words = self.words(instruction, &instruction.rest)?;
        let image = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [image] => image,
            [image, keyword, stage] if keyword.eq_ignore_ascii_case("as") => {
                self.state.stage = Some(stage.to_owned());
                image
            }
            [flag, ..] if flag.starts_with("--") => {
                return Err(location.unsupported(format!("the flag `{flag}` of `FROM`")));
            }
            _ => {
                return Err(location.invalid("write `FROM scratch`, or `FROM IMAGE` with an image that was built here"));
            }
        };
        self.state.has_base = true;
        // Arguments before FROM are valid for FROM only.
        self.state.args.clear();
        if image != "scratch" {
            let (root, config) = (self.base)(image).map_err(|error| match error.kind {
                ErrorKind::NotFound => location.invalid(format!("`FROM {image}`: local image not found")).hint(
                    error
                        .hint
                        .unwrap_or_else(|| "start with `FROM scratch`; programs are taken from this machine".into()),
                ),
                _ => error,
            })?;
            copy_tree(&root, &self.root, self.stop)?;
            self.state.config = config;
        }
        Ok(())
    }

    fn arg(&mut self, instruction: &Instruction) -> Result<(), EffectError> {
        for word in self.words(instruction, &instruction.rest)? {
            let (name, preset) =
                word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
            self.state.declared.insert(name.to_owned());
            if let Some(value) = self.build_args.get(name).map(String::as_str).or(preset) {
                self.state.args.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }

    fn copy(&mut self, instruction: &Instruction) -> Result<(), EffectError> {
        let location = &instruction.location;
        let (flags, rest) = instruction.flags();
        let mut mode = None;
        for (name, value) in flags {
            match name {
                "chmod" => {
                    let bits = u32::from_str_radix(value, 8).ok().filter(|bits| *bits <= 0o7777);
                    mode = Some(bits.ok_or_else(|| {
                        location.invalid(format!("`--chmod={value}` is not an octal mode like `755`"))
                    })?);
                }
                "chown" => {
                    return Err(location.unsupported("`COPY --chown`: files belong to the user who runs deployer"));
                }
                "from" => return Err(location.unsupported("`COPY --from`: there is only one stage")),
                other => return Err(location.unsupported(format!("the flag `--{other}` of `COPY`"))),
            }
        }
        if rest.contains("<<") {
            return Err(location.unsupported("`COPY` of a here-document"));
        }
        let listed: Option<Vec<String>> = rest.starts_with('[').then(|| serde_json::from_str(rest).ok()).flatten();
        let words = match listed {
            Some(list) => list
                .iter()
                .map(|word| dockerfile_words::expand(word, &|name| self.variable(name)))
                .collect::<Result<_, _>>()
                .map_err(|why| location.invalid(why))?,
            None => self.words(instruction, rest)?,
        };
        let Some((target, sources)) = words.split_last().filter(|(_, sources)| !sources.is_empty()) else {
            return Err(location.invalid("`COPY` needs a source and a target"));
        };
        let mut found = Vec::new();
        for source in sources {
            found.extend(self.context.select(source).map_err(|why| location.invalid(format!("`COPY`: {why}")))?);
        }
        let absolute = self.absolute(target);
        let is_folder = target.ends_with('/') || matches!(target.as_str(), "." | "..") || target.ends_with("/.");
        if found.len() > 1 && !is_folder {
            return Err(location.invalid(format!("`COPY` of several files: end the target `{target}` with `/`")));
        }
        for entry in &found {
            self.copy_one(entry, &absolute, is_folder, mode).map_err(|error| EffectError {
                message: format!("{}:{}: {}", location.file, location.line, error.message),
                ..error
            })?;
        }
        Ok(())
    }

    fn copy_one(&self, entry: &str, target: &str, is_folder: bool, mode: Option<u32>) -> Result<(), EffectError> {
        let from = self.context.full(entry);
        if from.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            let to = inside(&self.root, &format!("{target}/."))?;
            std::fs::create_dir_all(&to)
                .map_err(|why| crate::world::local::state_folder::io_error("create", &to, &why))?;
            for below in self.context.below(entry) {
                if (self.stop)() {
                    return Err(EffectError::new(ErrorKind::Cancelled, "the build was cancelled").not_applied());
                }
                copy_entry(&from.join(below), &inside(&self.root, &format!("{target}/{below}"))?, mode)?;
            }
            return Ok(());
        }
        let is_folder = is_folder || inside(&self.root, target)?.is_dir();
        let name = entry.rsplit('/').next().unwrap_or(entry);
        let target = if is_folder { format!("{target}/{name}") } else { target.to_owned() };
        copy_entry(&from, &inside(&self.root, &target)?, mode)
    }

    fn working_dir(&mut self, instruction: &Instruction) -> Result<(), EffectError> {
        let path = dockerfile_words::expand(&instruction.rest, &|name| self.variable(name))
            .map_err(|why| instruction.location.invalid(why))?;
        let path = crate::world::local::file_tree::normal(&self.absolute(path.trim_matches('"')));
        let folder = inside(&self.root, &path)?;
        std::fs::create_dir_all(&folder)
            .map_err(|why| crate::world::local::state_folder::io_error("create", &folder, &why))?;
        self.state.config.working_dir = path;
        Ok(())
    }

    fn expose(&mut self, instruction: &Instruction) -> Result<(), EffectError> {
        for word in self.words(instruction, &instruction.rest)? {
            let number = word.strip_suffix("/tcp").or_else(|| word.strip_suffix("/udp")).unwrap_or(&word);
            match number.parse::<u16>() {
                Ok(port) if port > 0 => drop(self.state.config.exposed.insert(port)),
                _ => return Err(instruction.location.invalid(format!("`EXPOSE {word}`: not a port"))),
            }
        }
        Ok(())
    }

    /// Parses `KEY=VALUE ...`, or the old form `KEY VALUE`.
    fn pairs(&self, instruction: &Instruction) -> Result<Vec<(String, String)>, EffectError> {
        let location = &instruction.location;
        let first = instruction.rest.split_whitespace().next().unwrap_or_default();
        if !first.contains('=') {
            let (key, value) = instruction
                .rest
                .split_once(char::is_whitespace)
                .ok_or_else(|| location.invalid(format!("`{} {first}`: write `{first}=VALUE`", instruction.keyword)))?;
            let value = dockerfile_words::expand(value.trim(), &|name| self.variable(name))
                .map_err(|why| location.invalid(why))?;
            return Ok(vec![(key.to_owned(), value)]);
        }
        self.words(instruction, &instruction.rest)?
            .into_iter()
            .map(|word| match word.split_once('=') {
                Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
                _ => Err(location.invalid(format!("`{word}`: write `KEY=VALUE`"))),
            })
            .collect()
    }

    fn words(&self, instruction: &Instruction, text: &str) -> Result<Vec<String>, EffectError> {
        dockerfile_words::split(text, &|name| self.variable(name)).map_err(|why| instruction.location.invalid(why))
    }

    /// ENV takes precedence over ARG.
    fn variable(&self, name: &str) -> Option<String> {
        self.state.config.environment.get(name).or_else(|| self.state.args.get(name)).cloned()
    }

    fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{}/{path}", self.state.config.working_dir.trim_end_matches('/'))
        }
    }
}

/// Returns the list of the JSON form, or a shell command.
fn program(instruction: &Instruction) -> Vec<String> {
    instruction.json().unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into(), instruction.rest.clone()])
}

const KEYWORDS: [&str; 9] = ["FROM", "COPY", "ENV", "WORKDIR", "EXPOSE", "CMD", "ENTRYPOINT", "ARG", "LABEL"];

fn unsupported_instruction(keyword: &str, location: &SourceLocation) -> EffectError {
    let why = match keyword {
        "RUN" => "there is no container to run it in; programs are taken from this machine",
        "ADD" => "use `COPY` for files; downloads and archives are not unpacked here",
        "HEALTHCHECK" => "use the option `healthcheck` of `docker_run`",
        "USER" => "everything runs as the user who runs deployer",
        "VOLUME" => "use the option `volumes` of `docker_run`",
        "STOPSIGNAL" => "use the option `stop_signal` of `docker_run`",
        "SHELL" => "the shell is always `/bin/sh`",
        "ONBUILD" => "images are not used as a base for later triggers",
        "MAINTAINER" => "use `LABEL`",
        other => {
            let error = location.invalid(format!("`{other}` is not an instruction"));
            return match crate::base::suggest::did_you_mean(other, KEYWORDS) {
                Some(near) => error.hint(near),
                None => error.hint(format!("supported instructions: {}", KEYWORDS.join(", "))),
            };
        }
    };
    location.unsupported(format!("`{keyword}` is not supported with `--engine local`: {why}"))
}
