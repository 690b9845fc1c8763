//! The composition root: the only file that names concrete worlds and stores together.

mod session;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use miette::{Report, miette};

use crate::base::run_id::RunId;
use crate::base::shell_word::shell_word;
use crate::base::vault::Vault;
use crate::effect::EffectError;
use crate::gateway::ledger::{Ledger, Listener};
use crate::gateway::{Cancel, Gateway};
use crate::journal::entry::{Process, RunHeader};
use crate::journal::halting_journal::{HaltAt, HaltingJournal};
use crate::journal::memory_journal::MemoryJournal;
use crate::journal::sqlite_journal::SqliteJournal;
use crate::journal::{Journal, JournalError};
use crate::script::diagnostic::effect_diagnostic;
use crate::world::World;
use crate::world::approvals::Approvals;
use crate::world::docker::{ConnectSpec, DockerWorld};
use crate::world::engine::Engine;
use crate::world::holder::Holder;
use crate::world::local::{LocalWorld, Shim};
use crate::world::real::RealWorld;

/// How long a daemon may take to answer the first question.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineChoice {
    /// Containers of a Docker Engine
    Docker,
    /// Child processes on this machine, where there is no Docker
    Local,
}

/// What an app is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// None: docker, when a daemon answers.
    pub engine: Option<EngineChoice>,
    /// None: DOCKER_HOST, the active context, the default socket.
    pub docker_host: Option<String>,
    /// Folder of the journal and of the local world. None: see [`default_state`].
    pub state: Option<PathBuf>,
}

/// A world and a journal, ready for runs.
pub struct App {
    pub world: Arc<dyn World>,
    /// Where the engine is.
    pub address: String,
    pub journal: Arc<dyn Journal>,
    pub vault: Arc<Vault>,
    pub holder: Holder,
    pub state: PathBuf,
    /// Arguments that lead another `deployer` here; empty for the defaults.
    engine_flags: String,
    pub state_flags: String,
    /// How long every `lock` waits at least for another run to let go.
    pub lock_wait: Duration,
}

impl App {
    /// # Errors
    /// When the journal cannot be used, or the engine does not answer.
    pub async fn open(options: &Options) -> Result<Self, Report> {
        let state = state_folder(options.state.as_ref());
        Self::with_journal(options, halting(Arc::new(SqliteJournal::open(&state)?))?).await
    }

    async fn with_journal(options: &Options, journal: Arc<dyn Journal>) -> Result<Self, Report> {
        let state = state_folder(options.state.as_ref());
        let holder = this_holder()?;
        let (world, address) = open_world(options, &holder).await?;
        Ok(Self {
            world,
            address,
            journal,
            vault: Arc::new(Vault::new(secret)),
            holder,
            state,
            engine_flags: engine_flags(options),
            state_flags: state_flags(options.state.as_ref()),
            lock_wait: Duration::ZERO,
        })
    }

    /// Opens an app that only looks: its journal is in memory.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn looking(options: &Options) -> Result<Self, Report> {
        Self::with_journal(options, Arc::new(MemoryJournal::default())).await
    }

    /// Opens the journal alone, for what only reads it; none when nothing was ever run. Makes no folder and no file.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn journal(state: Option<&PathBuf>) -> Result<Option<Arc<dyn Journal>>, JournalError> {
        let journal = SqliteJournal::open_to_read(&state_folder(state))?;
        Ok(journal.map(|journal| Arc::new(journal) as Arc<dyn Journal>))
    }

    /// Arguments that lead another `deployer` to the same engine; empty for the default.
    pub fn engine_flags(&self) -> &str {
        &self.engine_flags
    }

    /// The door for one run.
    ///
    /// # Errors
    /// With `reopen`: when the run in the journal cannot be read.
    pub fn gateway(
        &self,
        run: RunId,
        listener: Listener,
        cancel: Cancel,
        reopen: bool,
    ) -> Result<Gateway, JournalError> {
        let ledger = Ledger::new(run, self.journal.clone(), self.world.clock(), self.vault.clone(), listener);
        let ledger = if reopen { ledger.reopen()? } else { ledger };
        let gateway = Gateway::new(self.world.clone(), Arc::new(ledger), cancel, None);
        gateway.wait_for_locks(self.lock_wait);
        Ok(gateway)
    }

    /// What a run that begins now is called, and by whom it is run.
    pub fn header(&self, script: &str, digest: String, params: serde_json::Value) -> RunHeader {
        RunHeader {
            script: script.into(),
            digest,
            params,
            engine: self.world.name().into(),
            address: self.address.clone(),
            engine_flags: self.engine_flags.clone(),
            state_flags: self.state_flags.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            working_dir: working_dir(),
            process: self.process(),
        }
    }

    /// This process, as the journal names it.
    pub fn process(&self) -> Process {
        Process {
            host: self.holder.host.clone(),
            pid: self.holder.pid,
            boot_id: self.holder.boot_id.clone(),
            pid_namespace: self.holder.pid_namespace.clone(),
            process_start: self.holder.process_start,
        }
    }
}

fn working_dir() -> String {
    std::env::current_dir().map(|folder| folder.display().to_string()).unwrap_or_default()
}

/// Goes to the folder that a run was started in: its relative paths begin there.
///
/// # Errors
/// When it is not there any more.
pub fn enter_working_dir(header: &RunHeader) -> Result<(), Report> {
    if header.working_dir.is_empty() {
        return Ok(());
    }
    std::env::set_current_dir(&header.working_dir).map_err(|error| {
        let help = "the run's relative paths begin there: put the folder back, then try again";
        miette!(
            help = help,
            "the folder `{}` that the run was started in cannot be entered: {error}",
            header.working_dir
        )
    })
}

/// The world that the options ask for, and where it is.
///
/// # Errors
/// When the engine does not answer.
pub async fn open_world(options: &Options, holder: &Holder) -> Result<(Arc<dyn World>, String), Report> {
    let (containers, engine, address): (Arc<dyn World>, Arc<dyn Engine>, String) = match options.engine {
        Some(EngineChoice::Local) => {
            let folder = state_folder(options.state.as_ref()).join("local");
            let address = format!("local:{}", folder.display());
            let world = LocalWorld::open(folder, shim()?, holder.clone()).map_err(report)?;
            let engine = world.engine();
            (Arc::new(world), engine, address)
        }
        Some(EngineChoice::Docker) | None => {
            let spec = ConnectSpec::resolve(options.docker_host.as_deref(), &environment).map_err(report)?;
            let world = DockerWorld::open(spec, holder.clone(), CONNECT_TIMEOUT).await.map_err(report)?;
            let engine = world.engine();
            let address = engine.address().to_owned();
            (Arc::new(world), engine, address)
        }
    };
    let approvals = Approvals::of(&state_folder(options.state.as_ref()));
    let world = RealWorld::new(containers, engine, Arc::new(environment)).with_approvals(approvals);
    Ok((Arc::new(world), address))
}

/// With `DEPLOYER_HALT_AT_ENTRY`, which tests set, a journal that stops this process there, as SIGSTOP does.
fn halting(journal: Arc<dyn Journal>) -> Result<Arc<dyn Journal>, Report> {
    let Some(at) = environment("DEPLOYER_HALT_AT_ENTRY") else { return Ok(journal) };
    let at: HaltAt = at.parse().map_err(Report::msg)?;
    let halt = || {
        if let Err(error) = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP) {
            tracing::error!(%error, "this process cannot stop itself");
        }
    };
    Ok(Arc::new(HaltingJournal::new(journal, at, halt)))
}

/// This process, as locks name it.
///
/// # Errors
/// When the machine does not tell.
pub fn this_holder() -> Result<Holder, Report> {
    Holder::this_process().map_err(|error| Report::msg(format!("this process cannot be named: {error}")))
}

/// Whether the process that ran this is certainly gone.
pub fn is_dead(header: &RunHeader, here: &Holder) -> bool {
    let holder = Holder {
        host: header.process.host.clone(),
        // The journal is a folder of this machine.
        machine: here.machine.clone(),
        pid: header.process.pid,
        boot_id: header.process.boot_id.clone(),
        pid_namespace: header.process.pid_namespace.clone(),
        process_start: header.process.process_start,
    };
    holder.is_provably_dead(here)
}

/// A fresh run id.
///
/// # Errors
/// When the machine has no randomness.
pub fn new_run_id() -> Result<RunId, Report> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes).map_err(|error| Report::msg(format!("no randomness for a run id: {error}")))?;
    Ok(RunId::from_bytes(bytes))
}

/// The folder of the journal and of the local world, absolute: what is written down must mean the same everywhere.
pub fn state_folder(given: Option<&PathBuf>) -> PathBuf {
    let folder = given.cloned().unwrap_or_else(default_state);
    std::path::absolute(&folder).unwrap_or(folder)
}

fn engine_flags(options: &Options) -> String {
    match (options.engine, &options.docker_host) {
        (Some(EngineChoice::Local), _) => "--engine local".into(),
        (_, Some(host)) => format!("--docker-host {}", shell_word(host)),
        _ => String::new(),
    }
}

/// Arguments that lead to the same journal; empty for the default.
pub fn state_flags(state: Option<&PathBuf>) -> String {
    match state {
        Some(_) => format!("--state {}", shell_word(&state_folder(state).display().to_string())),
        None => String::new(),
    }
}

/// `$DEPLOYER_STATE`, else `$XDG_STATE_HOME/deployer`, else `~/.local/state/deployer`.
pub fn default_state() -> PathBuf {
    let set = |name| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("DEPLOYER_STATE")
        .or_else(|| set("XDG_STATE_HOME").map(|folder| folder.join("deployer")))
        .or_else(|| set("HOME").map(|folder| folder.join(".local/state/deployer")))
        .unwrap_or_else(|| PathBuf::from("/var/lib/deployer"))
}

/// An environment variable of this process.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The value of a secret: the variable `NAME`, or the file that `NAME_FILE` names, less its last line break.
pub fn secret(name: &str) -> Option<String> {
    environment(name).or_else(|| {
        let path = environment(&format!("{name}_FILE"))?;
        let text = std::fs::read_to_string(path).ok()?;
        Some(text.trim_end_matches(['\n', '\r']).to_owned())
    })
}

/// Whether a program is installed on this machine.
pub fn has_program(name: &str) -> bool {
    let is_program =
        |path: PathBuf| nix::unistd::access(&path, nix::unistd::AccessFlags::X_OK).is_ok() && path.is_file();
    if name.contains('/') {
        return is_program(PathBuf::from(name));
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| is_program(folder.join(name)))
}

/// The supervisor of local services is this very program.
fn shim() -> Result<Shim, Report> {
    let program =
        std::env::current_exe().map_err(|error| Report::msg(format!("this program cannot be found: {error}")))?;
    Ok(Shim { program, args: vec!["local-shim".into()] })
}

fn report(error: EffectError) -> Report {
    Report::new(effect_diagnostic(&error))
}
