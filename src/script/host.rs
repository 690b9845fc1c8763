//! The host side of one script run: its gateway, the branch of the current thread and the closures it registered.

use std::cell::{Cell, RefCell};
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
use crate::gateway::simulation::WorldSnapshot;
use crate::gateway::{BrokenExpectation, Gateway};
use crate::journal::Durability;
use crate::journal::entry::Entry;

/// Result of a function that scripts call.
pub type Rhai<T> = Result<T, Box<EvalAltResult>>;

thread_local! {
    /// The branch that this thread runs: the main one, or one of a `parallel`.
    static BRANCH: RefCell<Arc<Branch>> = RefCell::new(Arc::new(Branch::root()));
    /// Whether this branch has come to where its run was interrupted, and goes no further. The other branches do not
    /// end with it: each must come to where it was, so that the closures of `on_rollback` exist.
    static AT_END: Cell<bool> = const { Cell::new(false) };
}

/// Runs `body` on this thread as `branch`.
pub fn on_branch<T>(branch: Branch, body: impl FnOnce() -> T) -> T {
    let before = (BRANCH.replace(Arc::new(branch)), AT_END.replace(false));
    let result = body();
    BRANCH.set(before.0);
    AT_END.set(before.1);
    result
}

/// Returns whether this thread runs the script, and no closure that is called at the end of the run.
pub fn is_on_script_branch() -> bool {
    BRANCH.with_borrow(|branch| branch.is_from_script())
}

/// Returns the next position on the branch of this thread.
pub fn next_seq() -> Seq {
    BRANCH.with_borrow(|branch| branch.next())
}

/// Why the host ends the script. `catch` cannot prevent it.
#[derive(Clone, Debug)]
pub enum Halt {
    /// `params` was reached, and only the declaration was requested.
    Declared,
    /// The run was cancelled, its journal cannot be written, or its replay diverged.
    Fatal(EffectError),
}

/// A closure that the script registered, with the context needed to call it later.
#[derive(Clone)]
pub struct StoredClosure {
    /// The closure.
    pub function: FnPtr,
    /// The imports and constants it can see.
    pub global: GlobalRuntimeState,
    /// Where it was registered.
    pub position: Position,
}

/// The host side of one script run.
pub struct Host {
    mode: Mode,
    /// The texts that were loaded.
    pub sources: SourceMap,
    inner: Mutex<Inner>,
    halted: AtomicBool,
    /// The state that a closure of `expect` sees while it is called.
    snapshot: Mutex<Option<Arc<WorldSnapshot>>>,
}

/// A property stated by `expect`, and the closure that checks it.
#[derive(Clone)]
pub struct Expectation {
    /// The property in words.
    pub sentence: String,
    /// The line of the script.
    pub site: Option<Site>,
    /// Returns whether the property holds.
    pub closure: StoredClosure,
}

enum Mode {
    /// Only the declaration of parameters is requested. No effect is performed.
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
    /// Why a branch of a replay goes no further.
    branch_end: Option<EffectError>,
    rollbacks: BTreeMap<Seq, StoredClosure>,
    finishers: Vec<StoredClosure>,
    expectations: Vec<Expectation>,
    /// Where the last primitive was called: used for errors without a location.
    last_site: Option<Site>,
}

impl Host {
    /// Creates a host that only collects the declared parameters.
    pub fn declaring() -> Self {
        Self::new(Mode::Declare)
    }

    /// Creates the host of a run. `given` are the unchecked parameters from the user.
    pub fn running(gateway: Arc<Gateway>, handle: Handle, given: Value) -> Self {
        Self::new(Mode::Run { gateway, handle, given })
    }

    fn new(mode: Mode) -> Self {
        let (inner, halted, snapshot) = (Mutex::default(), AtomicBool::new(false), Mutex::default());
        Self { mode, sources: SourceMap::default(), inner, halted, snapshot }
    }

    /// Returns the gateway; `None` in declaration mode.
    pub fn gateway(&self) -> Option<&Arc<Gateway>> {
        match &self.mode {
            Mode::Declare => None,
            Mode::Run { gateway, .. } => Some(gateway),
        }
    }

    /// Returns the unchecked parameters; `None` in declaration mode.
    pub fn given(&self) -> Option<&Value> {
        match &self.mode {
            Mode::Declare => None,
            Mode::Run { given, .. } => Some(given),
        }
    }

    /// Performs an effect for the script line of `context`.
    ///
    /// # Errors
    /// Returns the error as a map for `catch`, or an uncatchable error if the run must end.
    pub fn perform(&self, context: &NativeCallContext, effect: Effect) -> Rhai<Dynamic> {
        let site = self.site(context);
        self.inner().last_site.clone_from(&site);
        let kind = effect.kind();
        let raise = |error| self.raise(context.call_position(), kind, error);
        if let Some(snapshot) = self.snapshot() {
            let (_, handle) = self.running_parts().map_err(raise)?;
            let seen = handle.block_on(snapshot.perform(Branch::outside_script(0).next(), &effect));
            return seen.map(|outcome| from_json(outcome.value())).map_err(raise);
        }
        let result = self.perform_at(site, effect);
        self.check_expectations(context.engine());
        result.map(from_json).map_err(raise)
    }

    /// Registers a property to check after every change of a simulated run. Does nothing in a real run.
    pub fn add_expectation(&self, expectation: Expectation) {
        if self.gateway().is_some_and(|gateway| gateway.simulation().is_enabled()) {
            self.inner().expectations.push(expectation);
        }
    }

    /// Checks every property stated by `expect` and reports those that are violated.
    pub fn check_expectations(&self, engine: &Engine) {
        let expectations = self.inner().expectations.clone();
        let Some(gateway) = self.gateway().filter(|_| !expectations.is_empty() && self.snapshot().is_none()) else {
            return;
        };
        for Expectation { sentence, site, closure } in expectations {
            let Some(snapshot) = gateway.snapshot() else { return };
            let at_ms = snapshot.at_ms();
            self.set_snapshot(Some(Arc::new(snapshot)));
            let (name, source) = ("expect", site.as_ref().map(|site| site.source.as_str()));
            let context =
                NativeCallContext::new_with_all_fields(engine, name, source, &closure.global, closure.position);
            let holds = closure.function.call_within_context::<Dynamic>(&context, ());
            self.set_snapshot(None);
            let why = match holds.map(|value| value.as_bool()) {
                Ok(Ok(true)) => continue,
                Ok(Ok(false)) => None,
                Ok(Err(kind)) => Some(format!("the closure returned {kind}, not true or false")),
                Err(error) => Some(summary(&error)),
            };
            gateway.simulation().record_broken(BrokenExpectation { sentence, site, at_ms, why });
        }
    }

    fn snapshot(&self) -> Option<Arc<WorldSnapshot>> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_snapshot(&self, snapshot: Option<Arc<WorldSnapshot>>) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
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

    /// Records an entry that is not an effect, unless the replayed journal already has it.
    ///
    /// # Errors
    /// Returns an uncatchable error if the journal cannot be written.
    pub fn record(&self, position: Position, entry: Entry, durability: Durability) -> Rhai<()> {
        let Some(gateway) = self.gateway() else { return Ok(()) };
        gateway.ledger().record_frame(entry, durability).map_err(|error| self.raise(position, "journal", error))
    }

    /// Converts an error for the script. Cancellation, journal errors and divergence cannot be caught.
    pub fn raise(&self, position: Position, primitive: &str, error: EffectError) -> Box<EvalAltResult> {
        if error.kind == ErrorKind::Cancelled && self.gateway().is_some_and(|gateway| gateway.ledger().is_closed()) {
            self.inner().branch_end.get_or_insert(error);
            AT_END.set(true);
            return EvalAltResult::ErrorTerminated(Dynamic::UNIT, position).into();
        }
        if matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Journal | ErrorKind::Diverged) {
            return self.halt(Halt::Fatal(error), position);
        }
        EvalAltResult::ErrorRuntime(error_value(primitive, &error), position).into()
    }

    /// Ends the script. `catch` cannot prevent it.
    pub fn halt(&self, halt: Halt, position: Position) -> Box<EvalAltResult> {
        let mut inner = self.inner();
        if inner.halt.is_none() {
            inner.halt = Some(halt);
            self.halted.store(true, Ordering::Release);
        }
        EvalAltResult::ErrorTerminated(Dynamic::UNIT, position).into()
    }

    /// Whether the script must end now. Checked at every operation, because Rhai ignores some errors.
    pub fn is_halted(&self) -> bool {
        AT_END.get() || self.halted.load(Ordering::Acquire)
    }

    /// Ends this branch if one of its own branches goes no further.
    pub fn end_with_branches(&self) {
        AT_END.set(AT_END.get() || self.inner().branch_end.is_some());
    }

    /// Takes the reason why the script was ended. Later closures are not affected by it.
    pub fn take_halt(&self) -> Option<Halt> {
        let mut inner = self.inner();
        let branch_end = inner.branch_end.take().map(Halt::Fatal);
        let halt = inner.halt.take().or(branch_end);
        drop(inner);
        AT_END.set(false);
        self.halted.store(false, Ordering::Release);
        halt
    }

    /// Returns the line of the last primitive call.
    pub fn last_site(&self) -> Option<Site> {
        self.inner().last_site.clone()
    }

    /// Returns the next position on the branch of this thread.
    pub fn next_seq(&self) -> Seq {
        next_seq()
    }

    /// Stores a closure of `on_rollback` under its position.
    pub fn add_rollback(&self, seq: Seq, closure: StoredClosure) {
        self.inner().rollbacks.insert(seq, closure);
    }

    /// Returns the closure that `on_rollback` registered at `seq`.
    pub fn rollback(&self, seq: &Seq) -> Option<StoredClosure> {
        self.inner().rollbacks.get(seq).cloned()
    }

    /// Stores a closure of `on_finish`.
    pub fn add_finisher(&self, closure: StoredClosure) {
        self.inner().finishers.push(closure);
    }

    /// Returns the closures of `on_finish`, in order.
    pub fn finishers(&self) -> Vec<StoredClosure> {
        self.inner().finishers.clone()
    }

    /// Stores the declared parameters.
    pub fn declare(&self, declaration: Declaration) {
        self.inner().declaration = Some(declaration);
    }

    /// Returns the declared parameters, once `params` was called.
    pub fn declaration(&self) -> Option<Declaration> {
        self.inner().declaration.clone()
    }

    /// Returns the script line of a call.
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
