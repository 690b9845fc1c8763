//! The composition root: the only file that names concrete worlds and stores together.

mod session;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use miette::{Report, miette};

use crate::base::run_id::RunId;
use crate::base::shell_word::shell_word;
use crate::base::vault::Vault;
use crate::effect::EffectError;
use crate::gateway::ledger::{Ledger, Listener};
use crate::gateway::{Cancel, Gateway};
use crate::journal::entry::{Process, RunHeader};
use crate::journal::memory_journal::MemoryJournal;
use crate::journal::sqlite_journal::SqliteJournal;
use crate::journal::{Journal, JournalError};
use crate::run::unfinished::EngineIdentity;
use crate::script::diagnostic::effect_diagnostic;
use crate::world::World;
use crate::world::approval_store::ApprovalStore;
use crate::world::docker::{ConnectSpec, DockerWorld};
use crate::world::engine::Engine;
use crate::world::local::{LocalWorld, Shim};
use crate::world::private_folder;
use crate::world::process_identity::ProcessIdentity;
use crate::world::real_world::RealWorld;

/// How long a daemon may take to answer the first request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The kind of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineChoice {
    /// Containers of a Docker Engine
    Docker,
    /// Child processes on this machine, where there is no Docker
    Local,
}

/// How to open an app.
#[derive(Clone, Debug)]
pub struct Options {
    /// The engine; `None` is Docker.
    pub engine: Option<EngineChoice>,
    /// The address of Docker; `None` is DOCKER_HOST, the active context, or the default socket.
    pub docker_host: Option<String>,
    /// The folder of the journal and of the local world; `None` is [`default_state`].
    pub state: Option<PathBuf>,
}

/// A world and a journal, ready for runs.
pub struct App {
    /// Performs the effects.
    pub world: Arc<dyn World>,
    /// Where the engine is.
    pub address: String,
    /// What the engine calls itself; empty when that is not known.
    engine_id: String,
    /// Records the runs.
    pub journal: Arc<dyn Journal>,
    /// The secrets of this process.
    pub vault: Arc<Vault>,
    /// This process, as locks name it.
    pub holder: ProcessIdentity,
    /// The state folder.
    pub state: PathBuf,
    /// Arguments that select the same engine; empty for the default.
    engine_flags: String,
    /// Arguments that select the same journal; empty for the default.
    pub state_flags: String,
    /// Minimum time that every `lock` waits for another run to release it.
    pub lock_wait: Duration,
}

impl App {
    /// Opens the engine and the journal.
    ///
    /// # Errors
    /// When the journal cannot be used, or the engine does not answer.
    pub async fn open(options: &Options) -> Result<Self, Report> {
        let state = state_folder(options.state.as_ref());
        Self::with_journal(options, decorated(Arc::new(SqliteJournal::open(&state)?))).await
    }

    async fn with_journal(options: &Options, journal: Arc<dyn Journal>) -> Result<Self, Report> {
        let state = state_folder(options.state.as_ref());
        let holder = this_holder()?;
        private_folder::remove_abandoned();
        let (world, address, engine_id) = open_identified(options, &holder).await?;
        Ok(Self {
            world,
            address,
            engine_id,
            journal,
            vault: Arc::new(Vault::new(secret)),
            holder,
            state,
            engine_flags: engine_flags(options),
            state_flags: state_flags(options.state.as_ref()),
            lock_wait: Duration::ZERO,
        })
    }

    /// Opens the engine with a journal in memory, for commands that only read.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn read_only(options: &Options) -> Result<Self, Report> {
        Self::with_journal(options, Arc::new(MemoryJournal::default())).await
    }

    /// Opens only the journal, for reading; `None` when there is none. Creates no folder and no file.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn journal(state: Option<&PathBuf>) -> Result<Option<Arc<dyn Journal>>, JournalError> {
        let journal = SqliteJournal::open_to_read(&state_folder(state))?;
        Ok(journal.map(|journal| Arc::new(journal) as Arc<dyn Journal>))
    }

    /// Returns the engine, to compare it with that of another run.
    pub fn engine(&self) -> EngineIdentity<'_> {
        EngineIdentity { id: &self.engine_id, address: &self.address }
    }

    /// Returns the version of this program.
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// Returns the arguments that select the same engine; empty for the default.
    pub fn engine_flags(&self) -> &str {
        &self.engine_flags
    }

    /// Creates the gateway of one run.
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

    /// Creates the header of a run that starts now.
    pub fn header(&self, script: &str, digest: String, params: serde_json::Value) -> RunHeader {
        RunHeader {
            script: script.into(),
            digest,
            params,
            engine: self.world.name().into(),
            address: self.address.clone(),
            engine_id: self.engine_id.clone(),
            engine_flags: self.engine_flags.clone(),
            state_flags: self.state_flags.clone(),
            version: self.version().into(),
            working_dir: working_dir(),
            process: self.process(),
        }
    }

    /// Returns this process, as the journal names it.
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

/// Changes to the working directory of a run, which its relative paths start from.
///
/// # Errors
/// When it does not exist any more.
pub fn enter_working_dir(header: &RunHeader) -> Result<(), Report> {
    if header.working_dir.is_empty() {
        return Ok(());
    }
    std::env::set_current_dir(&header.working_dir).map_err(|error| {
        let help = "relative paths of the run start there: restore the folder, then try again";
        miette!(help = help, "the working directory `{}` of the run cannot be entered: {error}", header.working_dir)
    })
}

/// Opens the world that the options select, and returns it with its address.
///
/// # Errors
/// When the engine does not answer.
pub async fn open_world(options: &Options, holder: &ProcessIdentity) -> Result<(Arc<dyn World>, String), Report> {
    let (world, address, _) = open_identified(options, holder).await?;
    Ok((world, address))
}

/// Opens the world; also returns its address and what the engine calls itself.
async fn open_identified(
    options: &Options,
    holder: &ProcessIdentity,
) -> Result<(Arc<dyn World>, String, String), Report> {
    let (containers, engine, address, id): (Arc<dyn World>, Arc<dyn Engine>, String, String) = match options.engine {
        Some(EngineChoice::Local) => {
            let folder = state_folder(options.state.as_ref()).join("local");
            let address = format!("local:{}", folder.display());
            let world = LocalWorld::open(folder, shim()?, holder.clone()).map_err(report)?;
            let engine = world.engine();
            (Arc::new(world), engine, address, String::new())
        }
        Some(EngineChoice::Docker) | None => {
            let spec = ConnectSpec::resolve(options.docker_host.as_deref(), &environment).map_err(report)?;
            let world = DockerWorld::open(spec, holder.clone(), CONNECT_TIMEOUT).await.map_err(report)?;
            let engine = world.engine();
            let address = engine.address().to_owned();
            let id = engine.id().await;
            (Arc::new(world), engine, address, id)
        }
    };
    let approvals = ApprovalStore::new(&state_folder(options.state.as_ref()));
    let world = RealWorld::new(containers, engine, Arc::new(environment)).with_approvals(approvals);
    Ok((Arc::new(world), address, id))
}

/// Wraps the journal of every run.
pub type JournalDecorator = fn(Arc<dyn Journal>) -> Arc<dyn Journal>;

static JOURNAL_DECORATOR: OnceLock<JournalDecorator> = OnceLock::new();

/// Wraps the journals of all apps that this process opens from now on. For test programs; the first call decides.
pub fn decorate_journals(decorator: JournalDecorator) {
    JOURNAL_DECORATOR.get_or_init(|| decorator);
}

fn decorated(journal: Arc<dyn Journal>) -> Arc<dyn Journal> {
    match JOURNAL_DECORATOR.get() {
        Some(decorator) => decorator(journal),
        None => journal,
    }
}

/// Returns this process, as locks name it.
///
/// # Errors
/// When the operating system does not identify the process.
pub fn this_holder() -> Result<ProcessIdentity, Report> {
    ProcessIdentity::this_process().map_err(|error| Report::msg(format!("this process cannot be identified: {error}")))
}

/// Returns whether the process of a run certainly no longer exists.
pub fn is_dead(header: &RunHeader, here: &ProcessIdentity) -> bool {
    let holder = ProcessIdentity {
        host: header.process.host.clone(),
        // The journal is on this machine.
        machine: here.machine.clone(),
        pid: header.process.pid,
        boot_id: header.process.boot_id.clone(),
        pid_namespace: header.process.pid_namespace.clone(),
        process_start: header.process.process_start,
    };
    holder.is_provably_dead(here)
}

/// Creates a random run id.
///
/// # Errors
/// When the operating system provides no randomness.
pub fn new_run_id() -> Result<RunId, Report> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes).map_err(|error| Report::msg(format!("no randomness for a run id: {error}")))?;
    Ok(RunId::from_bytes(bytes))
}

/// Returns the folder of the journal and of the local world, as an absolute path: recorded paths must mean the same from
/// every working directory.
pub fn state_folder(given: Option<&PathBuf>) -> PathBuf {
    let folder = given.cloned().unwrap_or_else(default_state);
    std::path::absolute(&folder).unwrap_or(folder)
}

pub(crate) fn engine_flags(options: &Options) -> String {
    match (options.engine, &options.docker_host) {
        (Some(EngineChoice::Local), _) => "--engine local".into(),
        (_, Some(host)) => format!("--docker-host {}", shell_word(host)),
        _ => String::new(),
    }
}

/// Returns the arguments that select the same journal; empty for the default.
pub fn state_flags(state: Option<&PathBuf>) -> String {
    match state {
        Some(_) => format!("--state {}", shell_word(&state_folder(state).display().to_string())),
        None => String::new(),
    }
}

/// Returns the default state folder: `$DEPLOYER_STATE`, else `$XDG_STATE_HOME/deployer`, else `~/.local/state/deployer`.
pub fn default_state() -> PathBuf {
    let set = |name| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("DEPLOYER_STATE")
        .or_else(|| set("XDG_STATE_HOME").map(|folder| folder.join("deployer")))
        .or_else(|| set("HOME").map(|folder| folder.join(".local/state/deployer")))
        .unwrap_or_else(|| PathBuf::from("/var/lib/deployer"))
}

/// Returns an environment variable of this process.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Returns the value of a secret: the variable `NAME`, or the file that `NAME_FILE` names, without trailing line breaks.
pub fn secret(name: &str) -> Option<String> {
    environment(name).or_else(|| {
        let path = environment(&format!("{name}_FILE"))?;
        let text = std::fs::read_to_string(path).ok()?;
        Some(text.trim_end_matches(['\n', '\r']).to_owned())
    })
}

/// Returns whether a program is installed on this machine.
pub fn has_program(name: &str) -> bool {
    let is_program =
        |path: PathBuf| nix::unistd::access(&path, nix::unistd::AccessFlags::X_OK).is_ok() && path.is_file();
    if name.contains('/') {
        return is_program(PathBuf::from(name));
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| is_program(folder.join(name)))
}

/// Returns the supervisor of local services, which is this program.
fn shim() -> Result<Shim, Report> {
    let program =
        std::env::current_exe().map_err(|error| Report::msg(format!("this program cannot be found: {error}")))?;
    Ok(Shim { program, args: vec!["local-shim".into()] })
}

fn report(error: EffectError) -> Report {
    Report::new(effect_diagnostic(&error))
}
