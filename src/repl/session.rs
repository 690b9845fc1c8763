//! A session: evaluates inputs, handles commands and undoes changes. Returns its output as text; knows no terminal.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::runtime::Handle;

use super::command::{Command, help};
use super::engine_names::NameCache;
use super::interrupt::Interrupt;
use super::recovered_session::{RecoveredSession, group_by_input};
use super::session_context::SessionContext;
use super::session_script::{Input, InputStatus, script};
use super::table::{TextStyle, shown};
use crate::base::seq::Seq;
use crate::journal::entry::{Entry, EntryAccess, RunEnd, RunEvent, RunStatus};
use crate::journal::run_state::{UndoAction, UndoStep};
use crate::report::layout::one_line;
use crate::run::closure_error::ClosureError;
use crate::run::runner::Render;
use crate::run::session_run::{SessionRun, UndoError};
use crate::script::check::check;
use crate::script::evaluator::Evaluator;
use crate::script::function_doc::function_doc;
use crate::script::program::Failure;
use crate::script::reference;
use crate::script::source::{Source, SourceLoader};

/// Why a rollback closure of a killed session is not called.
const LOST_CLOSURE: &str = "its closure was lost when the process was killed";

/// What a session is created with.
pub struct SessionOptions {
    /// The run that journals the session.
    pub run: SessionRun,
    /// The async runtime.
    pub handle: Handle,
    /// Loads imported modules.
    pub loader: Arc<dyn SourceLoader>,
    /// Access to everything besides effects.
    pub context: Arc<dyn SessionContext>,
    /// Cancels the current effect.
    pub interrupt: Interrupt,
    /// Renders diagnostics.
    pub render: Render,
    /// Width and colour of results.
    pub style: TextStyle,
    /// Whether results are one line of JSON each.
    pub json: bool,
    /// Kind and address of the engine, for display.
    pub location: String,
}

/// The result of an input.
#[derive(Debug)]
pub enum InputResult {
    /// Text for standard output.
    Output(String),
    /// An error message for standard error.
    Error(String),
    /// The user ended the session.
    Quit,
}

/// An interactive session.
pub struct Session {
    options: SessionOptions,
    evaluator: Evaluator,
    inputs: Vec<Input>,
    /// Changes of each input that can be undone, by its index in `inputs`.
    steps: Vec<BTreeSet<Seq>>,
    /// Names on the engine, for completion.
    pub names: NameCache,
    last_failure: Option<Failure>,
}

impl Session {
    /// Creates a session without variables.
    pub fn new(options: SessionOptions) -> Self {
        let evaluator = Evaluator::new(options.run.gateway.clone(), options.handle.clone(), options.loader.clone());
        let (inputs, steps) = (Vec::new(), Vec::new());
        Self { options, evaluator, inputs, steps, names: NameCache::default(), last_failure: None }
    }

    /// Loads the functions and imports of a script. Returns a message.
    ///
    /// # Errors
    /// Returns the rendered diagnostic if the script does not parse.
    pub fn load(&mut self, source: &Source) -> Result<String, String> {
        let functions = self.evaluator.load(source).map_err(|diagnostic| (self.options.render)(&*diagnostic))?;
        Ok(format!("{}: {functions} functions loaded; its statements were not run", source.name))
    }

    /// Continues a killed session. Returns how many of its inputs can be undone.
    pub fn resume(&mut self, recovered: &RecoveredSession) -> usize {
        self.evaluator.resume(&recovered.inputs);
        for (text, steps) in group_by_input(&self.options.run.undo_stack()) {
            self.inputs.push(Input { text, status: InputStatus::Recovered });
            self.steps.push(steps);
        }
        self.steps.len()
    }

    /// Returns what the session was created with.
    pub fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// Returns the evaluator.
    pub fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// Fetches the names on the engine in the background.
    pub fn refresh_names(&self) {
        let (names, context) = (self.names.clone(), self.options.context.clone());
        drop(self.options.handle.spawn_blocking(move || names.put(context.names())));
    }

    /// Handles one input: an expression or a command.
    pub fn handle(&mut self, input: &str) -> InputResult {
        self.options.interrupt.arm(&self.options.run.gateway);
        let answer = if input.trim_start().starts_with(':') { self.command(input) } else { self.evaluate(input) };
        self.refresh_names();
        answer
    }

    /// Returns the error of the last input, if it failed.
    pub fn last_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref()
    }

    fn evaluate(&mut self, input: &str) -> InputResult {
        let before: BTreeSet<Seq> = self.undoable();
        let result = self.evaluator.eval(input);
        let status = if result.is_ok() { InputStatus::Active } else { InputStatus::Failed };
        self.inputs.push(Input { text: input.to_owned(), status });
        self.steps.push(self.undoable().difference(&before).cloned().collect());
        match result {
            Ok(value) => {
                self.last_failure = None;
                InputResult::Output(self.result(&value))
            }
            Err(failure) => InputResult::Error(self.report_failure(failure)),
        }
    }

    fn report_failure(&mut self, failure: Failure) -> String {
        let mut text = (self.options.render)(&*failure.diagnostic);
        let left = self.steps.last().map_or(0, BTreeSet::len);
        if left > 0 {
            text += &format!("  {left} earlier changes of this input remain; `:undo` reverts them\n");
        }
        self.last_failure = Some(failure);
        text
    }

    fn result(&self, value: &Value) -> String {
        match (self.options.json, value) {
            (true, Value::Null) => String::new(),
            (true, value) => format!("{value}\n"),
            (false, value) => shown(value, self.options.style),
        }
    }

    fn undoable(&self) -> BTreeSet<Seq> {
        self.options.run.undo_stack().into_iter().map(|step| step.seq).collect()
    }

    fn command(&mut self, line: &str) -> InputResult {
        let command = match Command::parse(line) {
            Ok(command) => command,
            Err(why) => return InputResult::Error(format!("{why}\n")),
        };
        let result = match command {
            Command::Quit => return InputResult::Quit,
            Command::Help(None) => Ok(help()),
            Command::Help(Some(name)) => match function_doc(name) {
                Ok(page) => Ok(reference::help(&page, self.options.style.width)),
                Err(hint) => Err(format!("there is no function `{name}`; {hint}\n")),
            },
            Command::Services => self.options.context.services(),
            Command::Containers => return self.show("docker_list(#{all: true})"),
            Command::Logs { container, lines } => {
                let container = serde_json::to_string(container).unwrap_or_default();
                return self.show(&format!("docker_logs({container}, #{{tail: {lines}}}).lines"));
            }
            Command::Plan(expression) => self.plan(expression),
            Command::Undo(count) => self.undo(count),
            Command::Changes => Ok(self.changes()),
            Command::Vars => Ok(self.variables()),
            Command::Save(path) => self.save(path),
        };
        match result {
            Ok(text) => InputResult::Output(text),
            Err(why) => InputResult::Error(if why.ends_with('\n') { why } else { format!("{why}\n") }),
        }
    }

    /// Evaluates an expression that is not part of the saved script.
    fn show(&mut self, expression: &str) -> InputResult {
        match self.evaluator.eval(expression) {
            Ok(value) => InputResult::Output(self.result(&value)),
            Err(failure) => InputResult::Error((self.options.render)(&*failure.diagnostic)),
        }
    }

    fn plan(&mut self, expression: &str) -> Result<String, String> {
        let changes: Arc<Mutex<Vec<String>>> = Arc::default();
        let recorded = changes.clone();
        let run = self.options.context.simulate(Arc::new(move |event: &RunEvent| {
            if let RunEvent::Recorded(record) = event
                && let Entry::Intended { intent } = &record.entry
                && intent.access == EntryAccess::Write
            {
                let line = one_line(&format!("  would {} {}", intent.kind, intent.subject));
                recorded.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        }))?;
        run.begin().map_err(|error| error.to_string())?;
        let mut copy = self.evaluator.copy_for(run.gateway.clone(), self.options.handle.clone());
        let result = copy.eval(expression);
        let lines = changes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        match result {
            Ok(value) => {
                if lines.is_empty() {
                    text += "  would change nothing\n";
                }
                Ok(text + self.result(&value).as_str())
            }
            Err(failure) => Err(format!("{text}  would fail:\n{}", (self.options.render)(&*failure.diagnostic))),
        }
    }

    /// Undoes the changes of the last `count` inputs that have any.
    fn undo(&mut self, count: usize) -> Result<String, String> {
        let mut text = String::new();
        for _ in 0..count {
            let stack = self.options.run.undo_stack();
            let open: BTreeSet<&Seq> = stack.iter().map(|step| &step.seq).collect();
            let last = self.steps.iter().rposition(|steps| steps.iter().any(|seq| open.contains(seq)));
            let Some(at) = last else {
                return if text.is_empty() { Err("there is nothing to undo".into()) } else { Ok(text) };
            };
            let undo_steps: Vec<UndoStep> =
                stack.iter().rev().filter(|step| self.steps[at].contains(&step.seq)).cloned().collect();
            let input = self.inputs[at].text.lines().next().unwrap_or_default().to_owned();
            for step in &undo_steps {
                self.undo_step(step).map_err(|why| format!("{text}{why}"))?;
                self.steps[at].remove(&step.seq);
            }
            self.inputs[at].status = InputStatus::Undone;
            text += &format!("undone: {}\n", one_line(&input));
        }
        Ok(text)
    }

    fn undo_step(&mut self, step: &UndoStep) -> Result<(), String> {
        let undone = match step.action {
            UndoAction::Closure { .. } if !self.evaluator.has_rollback(&step.seq) => {
                Err(UndoError::Impossible(LOST_CLOSURE.into()))
            }
            _ => self.options.run.undo(&self.options.handle, step, &|seq| self.call_rollback(seq)),
        };
        match undone {
            Ok(()) => Ok(()),
            Err(UndoError::Impossible(why)) => {
                // Skips the change, so that the next `:undo` reaches the one before it.
                self.steps.iter_mut().for_each(|steps| steps.retain(|seq| *seq != step.seq));
                Err(format!(
                    "`{}` cannot be undone: {why}; the next `:undo` continues with the change before it",
                    step.of
                ))
            }
            Err(UndoError::Failed(error)) => {
                let hint = error.hint.as_deref().map(|hint| format!("\n  {hint}")).unwrap_or_default();
                Err(format!("`{}` was not undone: {error}{hint}", step.of))
            }
        }
    }

    fn call_rollback(&self, seq: &Seq) -> Result<(), ClosureError> {
        match self.evaluator.call_rollback(seq) {
            None => Err(ClosureError::NotCalled(LOST_CLOSURE.into())),
            Some(called) => called.map_err(ClosureError::from),
        }
    }

    fn changes(&self) -> String {
        let stack = self.options.run.undo_stack();
        if stack.is_empty() {
            return "there is nothing to undo\n".into();
        }
        stack.iter().rev().map(|step| format!("  {}\n", one_line(&step.of))).collect()
    }

    fn variables(&self) -> String {
        let mut names = self.evaluator.variables();
        names.extend(self.evaluator.functions().into_iter().map(|name| format!("{name}()")));
        names.dedup();
        if names.is_empty() { "no variables or functions\n".into() } else { names.join("\n") + "\n" }
    }

    /// Returns the session as a script.
    pub fn script(&self) -> String {
        let head = format!("deployer session on {}", self.options.location);
        script(&head, self.evaluator.imported(), &self.inputs)
    }

    fn save(&self, path: &str) -> Result<String, String> {
        let text = self.script();
        let found = check(Source::new(path, text.clone()), &self.options.loader);
        let errors: Vec<String> =
            found.iter().filter(|found| !found.is_warning()).map(|found| (self.options.render)(found)).collect();
        self.options.context.save(path, &text)?;
        if errors.is_empty() {
            return Ok(format!("saved to {path}; a check of it found no errors\n"));
        }
        Err(format!("saved to {path}, but `deployer check {path}` finds errors:\n{}", errors.concat()))
    }

    /// Ends the session and keeps its changes.
    pub fn finish(&self) -> RunEnd {
        self.options.interrupt.arm(&self.options.run.gateway);
        self.options.run.finish(&self.options.handle, self.evaluator.due_removals())
    }

    /// Ends the session and rolls back all its changes.
    pub fn roll_back(&self, reason: &str, status: RunStatus) -> RunEnd {
        self.options.interrupt.arm(&self.options.run.gateway);
        self.options.run.roll_back(&self.options.handle, &|seq| self.call_rollback(seq), reason, status)
    }
}
