//! One session: evaluates inputs, answers commands, takes back what was changed. Knows no terminal: what it shows is
//! text that it returns.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::runtime::Handle;

use super::command::{Command, help};
use super::former::{Former, by_input};
use super::interrupt::Interrupt;
use super::names::KnownNames;
use super::saved::{Fate, Input, script};
use super::surroundings::Surroundings;
use super::table::{Look, shown};
use crate::base::seq::Seq;
use crate::journal::entry::{Entry, EntryAccess, RunEnd, RunEvent, RunStatus};
use crate::journal::run_state::{UndoAction, UndoStep};
use crate::report::layout::one_line;
use crate::run::runner::Render;
use crate::run::session_run::{NotTakenBack, SessionRun};
use crate::script::check::check;
use crate::script::evaluator::Evaluator;
use crate::script::page::page;
use crate::script::program::Failure;
use crate::script::reference;
use crate::script::source::{Source, SourceLoader};

/// Why `on_rollback` of a session that was killed is not called.
const LOST_CLOSURE: &str = "the closure was lost with the process that was killed";

/// What a session is opened with.
pub struct Opening {
    pub run: SessionRun,
    pub handle: Handle,
    pub loader: Arc<dyn SourceLoader>,
    pub surroundings: Arc<dyn Surroundings>,
    pub interrupt: Interrupt,
    pub render: Render,
    pub look: Look,
    /// Results as one line of JSON each.
    pub json: bool,
    /// Where the session is, for people.
    pub place: String,
}

/// What came of an input.
#[derive(Debug)]
pub enum Answer {
    /// What was asked for: text for standard output.
    Shown(String),
    /// What went wrong: text for standard error.
    Failed(String),
    Quit,
}

pub struct Session {
    opening: Opening,
    evaluator: Evaluator,
    inputs: Vec<Input>,
    /// What can be taken back of each input, by its place in `inputs`.
    steps: Vec<BTreeSet<Seq>>,
    pub names: KnownNames,
    last_failure: Option<Failure>,
}

impl Session {
    pub fn new(opening: Opening) -> Self {
        let evaluator = Evaluator::new(opening.run.gateway.clone(), opening.handle.clone(), opening.loader.clone());
        let (inputs, steps) = (Vec::new(), Vec::new());
        Self { opening, evaluator, inputs, steps, names: KnownNames::default(), last_failure: None }
    }

    /// Takes the functions and imports of a script in.
    ///
    /// # Errors
    /// The report, when it does not parse.
    pub fn load(&mut self, source: &Source) -> Result<String, String> {
        let functions = self.evaluator.load(source).map_err(|diagnostic| (self.opening.render)(&*diagnostic))?;
        Ok(format!("{}: {functions} functions; none of its statements was run", source.name))
    }

    /// Goes on with what was done before the process of this session was killed. Returns how much of it can be taken
    /// back.
    pub fn go_on(&mut self, former: &Former) -> usize {
        self.evaluator.go_on(&former.earlier);
        for (words, steps) in by_input(&self.opening.run.pile()) {
            self.inputs.push(Input { text: words, fate: Fate::Former });
            self.steps.push(steps);
        }
        self.steps.len()
    }

    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    pub fn evaluator(&self) -> &Evaluator {
        &self.evaluator
    }

    /// Asks for the names on the engine, beside the session.
    pub fn refresh_names(&self) {
        let (names, surroundings) = (self.names.clone(), self.opening.surroundings.clone());
        drop(self.opening.handle.spawn_blocking(move || names.put(surroundings.names())));
    }

    /// Does what one input asks for.
    pub fn take(&mut self, input: &str) -> Answer {
        self.opening.interrupt.arm(&self.opening.run.gateway);
        let answer = if input.trim_start().starts_with(':') { self.command(input) } else { self.evaluate(input) };
        self.refresh_names();
        answer
    }

    /// The error of the latest input, if it ended with one.
    pub fn last_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref()
    }

    fn evaluate(&mut self, input: &str) -> Answer {
        let before: BTreeSet<Seq> = self.pile_places();
        let result = self.evaluator.eval(input);
        let fate = if result.is_ok() { Fate::Stands } else { Fate::Failed };
        self.inputs.push(Input { text: input.to_owned(), fate });
        self.steps.push(self.pile_places().difference(&before).cloned().collect());
        match result {
            Ok(value) => {
                self.last_failure = None;
                Answer::Shown(self.result(&value))
            }
            Err(failure) => Answer::Failed(self.told(failure)),
        }
    }

    fn told(&mut self, failure: Failure) -> String {
        let mut text = (self.opening.render)(&*failure.diagnostic);
        let left = self.steps.last().map_or(0, BTreeSet::len);
        if left > 0 {
            text += &format!("  what it did before that stays; `:undo` takes it back ({left})\n");
        }
        self.last_failure = Some(failure);
        text
    }

    fn result(&self, value: &Value) -> String {
        match (self.opening.json, value) {
            (true, Value::Null) => String::new(),
            (true, value) => format!("{value}\n"),
            (false, value) => shown(value, self.opening.look),
        }
    }

    fn pile_places(&self) -> BTreeSet<Seq> {
        self.opening.run.pile().into_iter().map(|step| step.seq).collect()
    }

    fn command(&mut self, line: &str) -> Answer {
        let command = match Command::read(line) {
            Ok(command) => command,
            Err(why) => return Answer::Failed(format!("{why}\n")),
        };
        let result = match command {
            Command::Quit => return Answer::Quit,
            Command::Help(None) => Ok(help()),
            Command::Help(Some(name)) => match page(name) {
                Ok(page) => Ok(reference::help(&page, self.opening.look.width)),
                Err(hint) => Err(format!("there is no primitive `{name}`; {hint}\n")),
            },
            Command::Services => self.opening.surroundings.services(),
            Command::Containers => return self.look("docker_list(#{all: true})"),
            Command::Logs { container, lines } => {
                let container = serde_json::to_string(container).unwrap_or_default();
                return self.look(&format!("docker_logs({container}, #{{tail: {lines}}}).lines"));
            }
            Command::Plan(expression) => self.plan(expression),
            Command::Undo(count) => self.undo(count),
            Command::Pile => Ok(self.pile()),
            Command::Vars => Ok(self.variables()),
            Command::Save(path) => self.save(path),
        };
        match result {
            Ok(text) => Answer::Shown(text),
            Err(why) => Answer::Failed(if why.ends_with('\n') { why } else { format!("{why}\n") }),
        }
    }

    /// What is only looked at: no part of what is saved.
    fn look(&mut self, expression: &str) -> Answer {
        match self.evaluator.eval(expression) {
            Ok(value) => Answer::Shown(self.result(&value)),
            Err(failure) => Answer::Failed((self.opening.render)(&*failure.diagnostic)),
        }
    }

    fn plan(&mut self, expression: &str) -> Result<String, String> {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = told.clone();
        let run = self.opening.surroundings.rehearsal(Arc::new(move |event: &RunEvent| {
            if let RunEvent::Recorded(record) = event
                && let Entry::Intended { intent } = &record.entry
                && intent.access == EntryAccess::Write
            {
                let line = one_line(&format!("  would {} {}", intent.kind, intent.subject));
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        }))?;
        run.begin().map_err(|error| error.to_string())?;
        let mut copy = self.evaluator.copy_for(run.gateway.clone(), self.opening.handle.clone());
        let result = copy.eval(expression);
        let lines = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        match result {
            Ok(value) => {
                if lines.is_empty() {
                    text += "  would change nothing\n";
                }
                Ok(text + self.result(&value).as_str())
            }
            Err(failure) => Err(format!("{text}  would fail:\n{}", (self.opening.render)(&*failure.diagnostic))),
        }
    }

    /// Takes back what the last `count` inputs that changed something did.
    fn undo(&mut self, count: usize) -> Result<String, String> {
        let mut text = String::new();
        for _ in 0..count {
            let pile = self.opening.run.pile();
            let on_pile: BTreeSet<&Seq> = pile.iter().map(|step| &step.seq).collect();
            let last = self.steps.iter().rposition(|steps| steps.iter().any(|seq| on_pile.contains(seq)));
            let Some(at) = last else {
                return if text.is_empty() { Err("there is nothing to take back".into()) } else { Ok(text) };
            };
            let mine: Vec<UndoStep> =
                pile.iter().rev().filter(|step| self.steps[at].contains(&step.seq)).cloned().collect();
            let input = self.inputs[at].text.lines().next().unwrap_or_default().to_owned();
            for step in &mine {
                self.undo_step(step).map_err(|why| format!("{text}{why}"))?;
                self.steps[at].remove(&step.seq);
            }
            self.inputs[at].fate = Fate::TakenBack;
            text += &format!("taken back: {}\n", one_line(&input));
        }
        Ok(text)
    }

    fn undo_step(&mut self, step: &UndoStep) -> Result<(), String> {
        let undone = match step.action {
            UndoAction::Closure { .. } if !self.evaluator.has_rollback(&step.seq) => {
                Err(NotTakenBack::Impossible(LOST_CLOSURE.into()))
            }
            _ => self.opening.run.undo(&self.opening.handle, step, &|seq| self.call_rollback(seq)),
        };
        match undone {
            Ok(()) => Ok(()),
            Err(NotTakenBack::Impossible(why)) => {
                // So that the one before it can be reached.
                self.steps.iter_mut().for_each(|steps| steps.retain(|seq| *seq != step.seq));
                Err(format!("`{}` cannot be taken back: {why}; the next `:undo` goes on below it", step.of))
            }
            Err(NotTakenBack::Failed(error)) => {
                let hint = error.hint.as_deref().map(|hint| format!("\n  {hint}")).unwrap_or_default();
                Err(format!("`{}` was not taken back: {error}{hint}", step.of))
            }
        }
    }

    fn call_rollback(&self, seq: &Seq) -> Result<(), String> {
        if !self.evaluator.has_rollback(seq) {
            return Err(LOST_CLOSURE.into());
        }
        self.evaluator.call_rollback(seq).map_err(|failure| failure.diagnostic.message.clone())
    }

    fn pile(&self) -> String {
        let pile = self.opening.run.pile();
        if pile.is_empty() {
            return "there is nothing to take back\n".into();
        }
        pile.iter().rev().map(|step| format!("  {}\n", one_line(&step.of))).collect()
    }

    fn variables(&self) -> String {
        let mut names = self.evaluator.variables();
        names.extend(self.evaluator.functions().into_iter().map(|name| format!("{name}()")));
        names.dedup();
        if names.is_empty() { "no variables and no functions yet\n".into() } else { names.join("\n") + "\n" }
    }

    /// The session as a script.
    pub fn script(&self) -> String {
        let head = format!("A session of deployer on {}.", self.opening.place);
        script(&head, self.evaluator.imported(), &self.inputs)
    }

    fn save(&self, path: &str) -> Result<String, String> {
        let text = self.script();
        let found = check(Source::new(path, text.clone()), &self.opening.loader);
        let wrong: Vec<String> =
            found.iter().filter(|found| !found.is_warning()).map(|found| (self.opening.render)(found)).collect();
        self.opening.surroundings.save(path, &text)?;
        if wrong.is_empty() {
            return Ok(format!("{path}: `deployer check {path}` accepts it\n"));
        }
        Err(format!("{path} is written, and needs your hand:\n{}", wrong.concat()))
    }

    /// Ends a session that goes well.
    pub fn finish(&self) -> RunEnd {
        self.opening.interrupt.arm(&self.opening.run.gateway);
        self.opening.run.finish(&self.opening.handle, self.evaluator.due_removals())
    }

    /// Ends one that nobody can go on with: everything is taken back.
    pub fn take_back_all(&self, reason: &str, status: RunStatus) -> RunEnd {
        self.opening.interrupt.arm(&self.opening.run.gateway);
        self.opening.run.take_back_all(&self.opening.handle, &|seq| self.call_rollback(seq), reason, status)
    }
}
