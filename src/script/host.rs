//! What the primitives of one run talk to: the gateway, the branch they run on, the closures they leave behind.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, GlobalRuntimeState, NativeCallContext, Position};
use serde_json::Value;
use tokio::runtime::Handle;

use super::diagnostic::{error_value, summary};
use super::params::Declaration;
use super::source::SourceMap;
use super::value::from_json;
use crate::base::seq::{Branch, Seq};
use crate::base::site::Site;
use crate::effect::{Effect, EffectError, ErrorKind};
use crate::gateway::look::Look;
use crate::gateway::{Broken, Gateway};
use crate::journal::Durability;
use crate::journal::entry::Entry;

/// What every function of a script returns.
pub type Rhai<T> = Result<T, Box<EvalAltResult>>;

thread_local! {
    /// The branch that this thread runs: the script's main line, or one of a `parallel`.
    static BRANCH: RefCell<Arc<Branch>> = RefCell::new(Arc::new(Branch::root()));
}

/// Runs `body` with `branch` as this thread's own.
pub fn on_branch<T>(branch: Branch, body: impl FnOnce() -> T) -> T {
    let before = BRANCH.replace(Arc::new(branch));
    let result = body();
    BRANCH.set(before);
    result
}

/// The next place on the branch of this thread.
pub fn next_seq() -> Seq {
    BRANCH.with_borrow(|branch| branch.next())
}

/// Why the script must not go on, whatever it tries to catch.
#[derive(Clone, Debug)]
pub enum Halt {
    /// `params` was reached, and nothing more was wanted.
    Declared,
    /// Cancelled, the journal cannot be written, or a replay leads elsewhere.
    Fatal(EffectError),
}

/// A closure that the script left with `on_rollback` or `on_finish`, with all it needs to be called later.
#[derive(Clone)]
pub struct Kept {
    pub function: FnPtr,
    pub global: GlobalRuntimeState,
    pub position: Position,
}

pub struct Host {
    mode: Mode,
    pub sources: SourceMap,
    inner: Mutex<Inner>,
    halted: AtomicBool,
    /// The instant that closures of `expect` look at, while one is called.
    look: Mutex<Option<Arc<Look>>>,
}

/// A sentence of the script, and the closure that tells whether it holds.
#[derive(Clone)]
pub struct Expectation {
    pub sentence: String,
    pub site: Option<Site>,
    pub kept: Kept,
}

enum Mode {
    /// Only what the script declares is wanted: nothing is performed.
    Declare,
    Run {
        gateway: Arc<Gateway>,
        handle: Handle,
        given: Value,
    },
}

#[derive(Default)]
struct Inner {
    declaration: Option<Declaration>,
    halt: Option<Halt>,
    rollbacks: BTreeMap<Seq, Kept>,
    finishers: Vec<Kept>,
    expectations: Vec<Expectation>,
    /// Where the last primitive was called: errors that carry no place get this one.
    last_site: Option<Site>,
}

impl Host {
    pub fn declaring() -> Self {
        Self::new(Mode::Declare)
    }

    /// `given` are the parameters as the user gave them, not yet checked.
    pub fn running(gateway: Arc<Gateway>, handle: Handle, given: Value) -> Self {
        Self::new(Mode::Run { gateway, handle, given })
    }

    fn new(mode: Mode) -> Self {
        let (inner, halted, look) = (Mutex::default(), AtomicBool::new(false), Mutex::default());
        Self { mode, sources: SourceMap::default(), inner, halted, look }
    }

    /// The gateway, once the run has begun.
    pub fn gateway(&self) -> Option<&Arc<Gateway>> {
        match &self.mode {
            Mode::Declare => None,
            Mode::Run { gateway, .. } => Some(gateway),
        }
    }

    /// The parameters as they were given; none while only the declaration is wanted.
    pub fn given(&self) -> Option<&Value> {
        match &self.mode {
            Mode::Declare => None,
            Mode::Run { given, .. } => Some(given),
        }
    }

    /// Performs an effect for the script line that `context` stands at.
    ///
    /// # Errors
    /// As a map that `catch` can look at; not catchable when the run must end.
    pub fn perform(&self, context: &NativeCallContext, effect: Effect) -> Rhai<Dynamic> {
        let site = self.site(context);
        self.inner().last_site.clone_from(&site);
        let kind = effect.kind();
        let raise = |error| self.raise(context.call_position(), kind, error);
        if let Some(look) = self.looking() {
            let (_, handle) = self.running_parts().map_err(raise)?;
            let seen = handle.block_on(look.perform(Branch::beside_script(0).next(), &effect));
            return seen.map(|outcome| from_json(outcome.value())).map_err(raise);
        }
        let result = self.perform_at(site, effect);
        self.check_expectations(context.engine());
        result.map(from_json).map_err(raise)
    }

    /// Keeps a sentence that must hold from now on, at every instant of a simulated run.
    pub fn keep_expectation(&self, expectation: Expectation) {
        if self.gateway().is_some_and(|gateway| gateway.simulation().is_on()) {
            self.inner().expectations.push(expectation);
        }
    }

    /// Asks every closure of `expect` whether its sentence holds now.
    pub fn check_expectations(&self, engine: &Engine) {
        let expectations = self.inner().expectations.clone();
        let Some(gateway) = self.gateway().filter(|_| !expectations.is_empty() && self.looking().is_none()) else {
            return;
        };
        for Expectation { sentence, site, kept } in expectations {
            let Some(look) = gateway.look() else { return };
            let at_ms = look.at_ms();
            self.look_at(Some(Arc::new(look)));
            let (name, source) = ("expect", site.as_ref().map(|site| site.source.as_str()));
            let context = NativeCallContext::new_with_all_fields(engine, name, source, &kept.global, kept.position);
            let holds = kept.function.call_within_context::<Dynamic>(&context, ());
            self.look_at(None);
            let why = match holds.map(|value| value.as_bool()) {
                Ok(Ok(true)) => continue,
                Ok(Ok(false)) => None,
                Ok(Err(kind)) => Some(format!("the closure gives {kind}, not true or false")),
                Err(error) => Some(summary(&error)),
            };
            gateway.simulation().note(Broken { sentence, site, at_ms, why });
        }
    }

    fn looking(&self) -> Option<Arc<Look>> {
        self.look.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look_at(&self, look: Option<Arc<Look>>) {
        *self.look.lock().unwrap_or_else(PoisonError::into_inner) = look;
    }

    fn perform_at(&self, site: Option<Site>, effect: Effect) -> Result<Value, EffectError> {
        let (gateway, handle) = self.running_parts()?;
        let outcome = handle.block_on(gateway.perform(self.next_seq(), site, effect))?;
        Ok(outcome.value())
    }

    fn running_parts(&self) -> Result<(&Arc<Gateway>, &Handle), EffectError> {
        match &self.mode {
            Mode::Run { gateway, handle, .. } => Ok((gateway, handle)),
            Mode::Declare => Err(EffectError::new(ErrorKind::Invalid, "`params` must come before any other primitive")
                .hint("make `let p = params(#{...});` the first statement of the script")
                .not_applied()),
        }
    }

    /// Writes an entry of the script's own making, unless a run that is replayed has it already.
    ///
    /// # Errors
    /// Not catchable: without a journal the run ends.
    pub fn record(&self, position: Position, entry: Entry, durability: Durability) -> Rhai<()> {
        let Some(gateway) = self.gateway() else { return Ok(()) };
        gateway.ledger().record_frame(entry, durability).map_err(|error| self.raise(position, "journal", error))
    }

    /// Turns an error into one that the script gets. Cancellation, a lost journal and a replay that leads elsewhere
    /// cannot be caught.
    pub fn raise(&self, position: Position, primitive: &str, error: EffectError) -> Box<EvalAltResult> {
        if matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Journal | ErrorKind::Diverged) {
            return self.halt(Halt::Fatal(error), position);
        }
        EvalAltResult::ErrorRuntime(error_value(primitive, &error), position).into()
    }

    /// Ends the script at once, past every `catch`.
    pub fn halt(&self, halt: Halt, position: Position) -> Box<EvalAltResult> {
        let mut inner = self.inner();
        if inner.halt.is_none() {
            inner.halt = Some(halt);
            self.halted.store(true, Ordering::Release);
        }
        EvalAltResult::ErrorTerminated(Dynamic::UNIT, position).into()
    }

    /// Whether the script must end now. Some errors Rhai swallows; this is asked at every step.
    pub fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Acquire)
    }

    /// Why the script was ended, told once: closures that are called afterwards end for reasons of their own.
    pub fn take_halt(&self) -> Option<Halt> {
        let halt = self.inner().halt.take();
        self.halted.store(false, Ordering::Release);
        halt
    }

    pub fn last_site(&self) -> Option<Site> {
        self.inner().last_site.clone()
    }

    /// The next place on the branch of this thread.
    pub fn next_seq(&self) -> Seq {
        next_seq()
    }

    pub fn keep_rollback(&self, seq: Seq, kept: Kept) {
        self.inner().rollbacks.insert(seq, kept);
    }

    pub fn rollback(&self, seq: &Seq) -> Option<Kept> {
        self.inner().rollbacks.get(seq).cloned()
    }

    pub fn keep_finisher(&self, kept: Kept) {
        self.inner().finishers.push(kept);
    }

    pub fn finishers(&self) -> Vec<Kept> {
        self.inner().finishers.clone()
    }

    pub fn declare(&self, declaration: Declaration) {
        self.inner().declaration = Some(declaration);
    }

    pub fn declaration(&self) -> Option<Declaration> {
        self.inner().declaration.clone()
    }

    /// The script line of a call.
    pub fn site(&self, context: &NativeCallContext) -> Option<Site> {
        let position = context.call_position();
        let line = u32::try_from(position.line()?).ok()?;
        let column = position.position().and_then(|column| u32::try_from(column).ok()).unwrap_or(1);
        let source = context.call_source().unwrap_or_default().to_owned();
        Some(Site { source, line, column })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
