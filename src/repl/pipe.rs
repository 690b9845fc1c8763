//! A session without a person: inputs from a pipe, one after the other. The first that fails ends it, and everything
//! is taken back, as `deployer run` does.

use std::io::{BufRead, Write};

use super::session::{Answer, Session};
use super::tokens::is_whole;
use crate::effect::ErrorKind;
use crate::journal::entry::{RunEnd, RunStatus};

/// Longest input: what is longer is a file that was not meant.
const LONGEST: usize = 4 << 20;

/// Where text goes.
pub struct Streams<'a> {
    pub input: &'a mut dyn BufRead,
    pub data: &'a mut dyn Write,
    pub talk: &'a mut dyn Write,
}

/// Takes inputs until there are no more.
pub fn run(session: &mut Session, streams: Streams<'_>) -> RunEnd {
    let Streams { input, data, talk } = streams;
    let mut open = String::new();
    let mut lines = input.lines();
    loop {
        let (line, last) = match lines.next() {
            Some(Ok(line)) => (line, false),
            Some(Err(error)) => return broken(session, talk, &format!("the input cannot be read: {error}")),
            None => (String::new(), true),
        };
        if open.len() + line.len() > LONGEST {
            return broken(session, talk, "an input is longer than 4 MB");
        }
        open.push_str(&line);
        open.push('\n');
        let command = open.trim_start().starts_with(':');
        if !last && !command && !is_whole(&open) {
            continue;
        }
        let text = std::mem::take(&mut open);
        if !text.trim().is_empty() {
            match session.take(text.trim_end()) {
                Answer::Shown(text) => drop(data.write_all(text.as_bytes()).and_then(|()| data.flush())),
                Answer::Quit => return session.finish(),
                Answer::Failed(text) => {
                    drop(talk.write_all(text.as_bytes()));
                    let cancelled = session.opening().interrupt.is_ending()
                        || session
                            .last_failure()
                            .and_then(|failure| failure.error.as_ref())
                            .is_some_and(|error| error.kind == ErrorKind::Cancelled);
                    let status = if cancelled { RunStatus::Cancelled } else { RunStatus::Failed };
                    let why = session.last_failure().map(|failure| failure.diagnostic.message.clone());
                    return session.take_back_all(&why.unwrap_or_else(|| "an input failed".into()), status);
                }
            }
        }
        if last {
            return session.finish();
        }
    }
}

fn broken(session: &Session, talk: &mut dyn Write, why: &str) -> RunEnd {
    drop(writeln!(talk, "{why}"));
    session.take_back_all(why, RunStatus::Failed)
}
