//! Who answers for a person in a session: somebody at the keyboard, or nobody.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use crossterm::event::{Event, KeyCode, KeyEventKind};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

use crate::gateway::consent::Consent;
use crate::report::layout::one_line;

/// None: nothing is asked.
pub fn consent(person: bool, yes: bool) -> Option<Arc<dyn Consent>> {
    match (yes, person) {
        (true, _) => None,
        (false, true) => Some(Arc::new(AtTheKeyboard::default())),
        (false, false) => Some(Arc::new(NobodyThere)),
    }
}

/// Asks with one key, one question at a time.
#[derive(Default)]
struct AtTheKeyboard(Mutex<()>);

impl Consent for AtTheKeyboard {
    fn allow(&self, question: &str) -> bool {
        let _one = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = std::io::stderr();
        drop(write!(out, "{}\nGo on? [y/N] ", one_line(question)).and_then(|()| out.flush()));
        // Raw, so that Ctrl-C is an answer too and no line is left for the next input.
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

struct NobodyThere;

impl Consent for NobodyThere {
    fn allow(&self, _: &str) -> bool {
        false
    }

    fn hint(&self) -> Option<&'static str> {
        Some("nobody is there to be asked: `deployer repl --yes`")
    }
}
