//! A non-interactive session: inputs from a pipe. The first failed input ends the session and rolls back all changes, as
//! in `deployer run`.

use std::io::{BufRead, Write};

use super::session::{InputResult, Session};
use super::tokens::is_complete;
use crate::effect::ErrorKind;
use crate::journal::entry::{RunEnd, RunStatus};

/// Maximum size of one input, in bytes. A longer one is a file piped by mistake.
const MAX_INPUT: usize = 4 << 20;

/// The streams of a session.
pub struct Streams<'a> {
    /// The inputs.
    pub input: &'a mut dyn BufRead,
    /// Results.
    pub data: &'a mut dyn Write,
    /// Messages and errors.
    pub talk: &'a mut dyn Write,
}

/// Evaluates inputs until the stream ends or an input fails.
pub fn run(session: &mut Session, streams: Streams<'_>) -> RunEnd {
    let Streams { input, data, talk } = streams;
    let mut open = String::new();
    let mut lines = input.lines();
    loop {
        let (line, last) = match lines.next() {
            Some(Ok(line)) => (line, false),
            Some(Err(error)) => return fail(session, talk, &format!("the input cannot be read: {error}")),
            None => (String::new(), true),
        };
        if open.len() + line.len() > MAX_INPUT {
            return fail(session, talk, "an input is larger than 4 MB");
        }
        open.push_str(&line);
        open.push('\n');
        let command = open.trim_start().starts_with(':');
        if !last && !command && !is_complete(&open) {
            continue;
        }
        let text = std::mem::take(&mut open);
        if !text.trim().is_empty() {
            match session.handle(text.trim_end()) {
                InputResult::Output(text) => drop(data.write_all(text.as_bytes()).and_then(|()| data.flush())),
                InputResult::Quit => return session.finish(),
                InputResult::Error(text) => {
                    drop(talk.write_all(text.as_bytes()));
                    let cancelled = session.options().interrupt.is_ending()
                        || session
                            .last_failure()
                            .and_then(|failure| failure.error.as_ref())
                            .is_some_and(|error| error.kind == ErrorKind::Cancelled);
                    let status = if cancelled { RunStatus::Cancelled } else { RunStatus::Failed };
                    let why = session.last_failure().map(|failure| failure.diagnostic.message.clone());
                    return session.roll_back(&why.unwrap_or_else(|| "an input failed".into()), status);
                }
            }
        }
        if last {
            return session.finish();
        }
    }
}

fn fail(session: &Session, talk: &mut dyn Write, why: &str) -> RunEnd {
    drop(writeln!(talk, "{why}"));
    session.roll_back(why, RunStatus::Failed)
}
