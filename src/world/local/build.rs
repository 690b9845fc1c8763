//! Builds an image's folder and configuration from a Dockerfile, restricted to the instructions that mean something
//! without a container. Knows nothing of where images are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::context::Context;
use super::dockerfile::{Instruction, Place};
use super::image_record::ImageConfig;
use super::tree::{copy_entry, copy_tree, inside};
use super::words;
use crate::effect::{EffectError, ErrorKind};

/// The base of an image: its folder and its configuration.
pub type Base = (PathBuf, ImageConfig);

/// One build under way.
pub struct Build<'a> {
    pub context: &'a Context,
    /// The arguments of `docker_build`.
    pub given: &'a BTreeMap<String, String>,
    /// Finds a local image by name.
    pub base: &'a dyn Fn(&str) -> Result<Base, EffectError>,
    pub stop: &'a dyn Fn() -> bool,
    /// The empty folder to fill.
    pub root: PathBuf,
    /// The stage that was asked for.
    pub target: Option<&'a str>,
    state: State,
}

#[derive(Default)]
struct State {
    config: ImageConfig,
    args: BTreeMap<String, String>,
    declared: BTreeSet<String>,
    has_base: bool,
    stage: Option<String>,
    command_is_own: bool,
}

impl<'a> Build<'a> {
    pub fn new(
        context: &'a Context,
        given: &'a BTreeMap<String, String>,
        base: &'a dyn Fn(&str) -> Result<Base, EffectError>,
        stop: &'a dyn Fn() -> bool,
        root: PathBuf,
        target: Option<&'a str>,
    ) -> Self {
        Self { context, given, base, stop, root, target, state: State::default() }
    }

    /// Performs all instructions; `told` hears of each before it is done.
    ///
    /// # Errors
    /// `unsupported` or `invalid` with file and line.
    pub fn perform(
        mut self,
        file: &str,
        all: &[Instruction],
        told: &dyn Fn(usize, &Instruction),
    ) -> Result<ImageConfig, EffectError> {
        for (index, instruction) in all.iter().enumerate() {
            if (self.stop)() {
                return Err(EffectError::new(ErrorKind::Cancelled, "the build was cancelled").not_applied());
            }
            told(index, instruction);
            self.one(instruction)?;
        }
        let place = Place { file: file.into(), line: all.last().map_or(1, |last| last.place.line) };
        if !self.state.has_base {
            return Err(place.invalid("there is no `FROM`"));
        }
        if let Some(target) = self.target.filter(|target| self.state.stage.as_deref() != Some(*target)) {
            return Err(place.invalid(format!("there is no stage `{target}`")));
        }
        if let Some(unknown) = self.given.keys().find(|name| !self.state.declared.contains(*name)) {
            let near = crate::base::suggest::did_you_mean(unknown, self.state.declared.iter().map(String::as_str));
            let error = place.invalid(format!("no `ARG` takes the build argument `{unknown}`"));
            return Err(match near {
                Some(near) => error.hint(near),
                None => error.hint(format!("declare it: `ARG {unknown}`")),
            });
        }
        Ok(self.state.config)
    }

    fn one(&mut self, instruction: &Instruction) -> Result<(), EffectError> {
        let place = &instruction.place;
        if !self.state.has_base && !matches!(instruction.keyword.as_str(), "FROM" | "ARG") {
            return Err(place.invalid(format!("`{}` comes before `FROM`", instruction.keyword)));
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
                // Docker: an entrypoint of its own takes the base's command away.
                if !self.state.command_is_own {
                    self.state.config.command.clear();
                }
                Ok(())
            }
            other => Err(refusal(other, place)),
        }
    }

    fn from(&mut self, instruction: &Instruction) -> Result<(), EffectError> {
        let place = &instruction.place;
        if self.state.has_base {
            return Err(place.unsupported(
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
                return Err(place.unsupported(format!("the flag `{flag}` of `FROM`")));
            }
            _ => return Err(place.invalid("write `FROM scratch`, or `FROM IMAGE` with an image that was built here")),
        };
        self.state.has_base = true;
        // Arguments before FROM hold for FROM only.
        self.state.args.clear();
        if image != "scratch" {
            let (root, config) =
                (self.base)(image).map_err(|error| match error.kind {
                    ErrorKind::NotFound => place
                        .invalid(format!("`FROM {image}`: there is no local image of that name"))
                        .hint(error.hint.unwrap_or_else(|| {
                            "begin with `FROM scratch`; programs are taken from this machine".into()
                        })),
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
            if let Some(value) = self.given.get(name).map(String::as_str).or(preset) {
                self.state.args.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }

    fn copy(&mut self, instruction: &Instruction) -> Result<(), EffectError> {
        let place = &instruction.place;
        let (flags, rest) = instruction.flags();
        let mut mode = None;
        for (name, value) in flags {
            match name {
                "chmod" => {
                    let bits = u32::from_str_radix(value, 8).ok().filter(|bits| *bits <= 0o7777);
                    mode =
                        Some(bits.ok_or_else(|| {
                            place.invalid(format!("`--chmod={value}` is not an octal mode like `755`"))
                        })?);
                }
                "chown" => return Err(place.unsupported("`COPY --chown`: files belong to whoever runs deployer")),
                "from" => return Err(place.unsupported("`COPY --from`: there is only one stage")),
                other => return Err(place.unsupported(format!("the flag `--{other}` of `COPY`"))),
            }
        }
        if rest.contains("<<") {
            return Err(place.unsupported("`COPY` of a here-document"));
        }
        let listed: Option<Vec<String>> = rest.starts_with('[').then(|| serde_json::from_str(rest).ok()).flatten();
        let words = match listed {
            Some(list) => list
                .iter()
                .map(|word| words::fill(word, &|name| self.variable(name)))
                .collect::<Result<_, _>>()
                .map_err(|why| place.invalid(why))?,
            None => self.words(instruction, rest)?,
        };
        let Some((target, sources)) = words.split_last().filter(|(_, sources)| !sources.is_empty()) else {
            return Err(place.invalid("`COPY` needs a source and a target"));
        };
        let mut found = Vec::new();
        for source in sources {
            found.extend(self.context.select(source).map_err(|why| place.invalid(format!("`COPY`: {why}")))?);
        }
        let absolute = self.absolute(target);
        let is_folder = target.ends_with('/') || matches!(target.as_str(), "." | "..") || target.ends_with("/.");
        if found.len() > 1 && !is_folder {
            return Err(place.invalid(format!("`COPY` of several files: end the target `{target}` with `/`")));
        }
        for entry in &found {
            self.copy_one(entry, &absolute, is_folder, mode).map_err(|error| EffectError {
                message: format!("{}:{}: {}", place.file, place.line, error.message),
                ..error
            })?;
        }
        Ok(())
    }

    fn copy_one(&self, entry: &str, target: &str, is_folder: bool, mode: Option<u32>) -> Result<(), EffectError> {
        let from = self.context.full(entry);
        if from.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            let to = inside(&self.root, &format!("{target}/."))?;
            std::fs::create_dir_all(&to).map_err(|why| super::folder::io_error("create", &to, &why))?;
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
        let path = words::fill(&instruction.rest, &|name| self.variable(name))
            .map_err(|why| instruction.place.invalid(why))?;
        let path = super::tree::normal(&self.absolute(path.trim_matches('"')));
        let folder = inside(&self.root, &path)?;
        std::fs::create_dir_all(&folder).map_err(|why| super::folder::io_error("create", &folder, &why))?;
        self.state.config.working_dir = path;
        Ok(())
    }

    fn expose(&mut self, instruction: &Instruction) -> Result<(), EffectError> {
        for word in self.words(instruction, &instruction.rest)? {
            let number = word.strip_suffix("/tcp").or_else(|| word.strip_suffix("/udp")).unwrap_or(&word);
            match number.parse::<u16>() {
                Ok(port) if port > 0 => drop(self.state.config.exposed.insert(port)),
                _ => return Err(instruction.place.invalid(format!("`EXPOSE {word}`: not a port"))),
            }
        }
        Ok(())
    }

    /// `KEY=VALUE ...`, or the old form `KEY VALUE`.
    fn pairs(&self, instruction: &Instruction) -> Result<Vec<(String, String)>, EffectError> {
        let place = &instruction.place;
        let first = instruction.rest.split_whitespace().next().unwrap_or_default();
        if !first.contains('=') {
            let (key, value) = instruction
                .rest
                .split_once(char::is_whitespace)
                .ok_or_else(|| place.invalid(format!("`{} {first}`: write `{first}=VALUE`", instruction.keyword)))?;
            let value = words::fill(value.trim(), &|name| self.variable(name)).map_err(|why| place.invalid(why))?;
            return Ok(vec![(key.to_owned(), value)]);
        }
        self.words(instruction, &instruction.rest)?
            .into_iter()
            .map(|word| match word.split_once('=') {
                Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
                _ => Err(place.invalid(format!("`{word}`: write `KEY=VALUE`"))),
            })
            .collect()
    }

    fn words(&self, instruction: &Instruction, text: &str) -> Result<Vec<String>, EffectError> {
        words::split(text, &|name| self.variable(name)).map_err(|why| instruction.place.invalid(why))
    }

    /// ENV wins over ARG.
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

/// The list of a JSON form; else a line for a shell.
fn program(instruction: &Instruction) -> Vec<String> {
    instruction.json().unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into(), instruction.rest.clone()])
}

const KEYWORDS: [&str; 9] = ["FROM", "COPY", "ENV", "WORKDIR", "EXPOSE", "CMD", "ENTRYPOINT", "ARG", "LABEL"];

fn refusal(keyword: &str, place: &Place) -> EffectError {
    let why = match keyword {
        "RUN" => "there is no container to run it in; programs are taken from this machine",
        "ADD" => "use `COPY` for files; downloads and archives are not unpacked here",
        "HEALTHCHECK" => "use the option `healthcheck` of `docker_run`",
        "USER" => "everything runs as the user who runs deployer",
        "VOLUME" => "use the option `volumes` of `docker_run`",
        "STOPSIGNAL" => "use the option `stop_signal` of `docker_run`",
        "SHELL" => "the shell is always `/bin/sh`",
        "ONBUILD" => "there is no later build that it could wait for",
        "MAINTAINER" => "use `LABEL`",
        other => {
            let error = place.invalid(format!("`{other}` is not an instruction"));
            return match crate::base::suggest::did_you_mean(other, KEYWORDS) {
                Some(near) => error.hint(near),
                None => error.hint(format!("known are {}", KEYWORDS.join(", "))),
            };
        }
    };
    place.unsupported(format!("`{keyword}` has no meaning with `--engine local`: {why}"))
}
