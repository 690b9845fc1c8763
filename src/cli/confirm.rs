//! Confirmation questions: `--yes` answers them, otherwise the terminal is asked.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crossterm::event::{Event, KeyCode, KeyEventKind};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use miette::miette;

use super::command_error::CommandError;
use crate::gateway::consent::Consent;
use crate::report::layout::one_line;

/// Asks a yes-or-no question on standard error and reads one line from standard input. `help`: what to do when there is
/// no input.
///
/// # Errors
/// When standard input ends or cannot be read.
pub fn ask(question: &str, help: &str) -> Result<bool, CommandError> {
    let mut out = std::io::stderr();
    // A closed standard error does not change the answer.
    drop(write!(out, "{question} [y/N] ").and_then(|()| out.flush()));
    let mut answer = String::new();
    match std::io::stdin().read_line(&mut answer) {
        Ok(0) => Err(CommandError::usage(miette!(help = help.to_owned(), "no answer to `{question}`"))),
        Ok(_) => Ok(matches!(answer.trim(), "y" | "Y" | "yes")),
        Err(error) => Err(CommandError::usage(miette!("the answer cannot be read: {error}"))),
    }
}

/// Asks on a terminal. Returns `None` when standard input is not one.
///
/// # Errors
/// When standard input ends or cannot be read.
pub fn ask_on_terminal(question: &str) -> Result<Option<bool>, CommandError> {
    if !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    ask(question, "answer `y`, or add `--yes`").map(Some)
}

/// Returns who confirms dangerous actions of a session. `None`: no confirmation is needed.
pub fn session_consent(interactive: bool, yes: bool) -> Option<Arc<dyn Consent>> {
    match (yes, interactive) {
        (true, _) => None,
        (false, true) => Some(Arc::new(KeyboardConsent::default())),
        (false, false) => Some(Arc::new(NoConsent)),
    }
}

/// Asks for one key, one question at a time.
#[derive(Default)]
struct KeyboardConsent(Mutex<()>);

impl Consent for KeyboardConsent {
    fn allow(&self, question: &str) -> bool {
        let _guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = std::io::stderr();
        drop(write!(out, "{}\nContinue? [y/N] ", one_line(question)).and_then(|()| out.flush()));
        // In raw mode Ctrl-C counts as an answer, and no line is left for the next input.
        let answer = enable_raw_mode().is_ok() && key_says_yes();
        drop(disable_raw_mode());
        drop(writeln!(out, "{}", if answer { "yes" } else { "no" }));
        answer
    }
}

fn key_says_yes() -> bool {
    loop {
        match crossterm::event::read() {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                return matches!(key.code, KeyCode::Char('y' | 'Y'));
            }
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// Refuses everything, because there is no terminal to ask.
struct NoConsent;

impl Consent for NoConsent {
    fn allow(&self, _: &str) -> bool {
        false
    }

    fn hint(&self) -> Option<&'static str> {
        Some("there is no terminal to ask for confirmation: `deployer repl --yes`")
    }
}
