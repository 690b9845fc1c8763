//! Programs on the host and inside containers: what they leave is scripted. Knows nothing of why they are run.
//!
//! Faults: a program that is not installed, that ends with a failure, that takes too long; one that fills a
//! database or changes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::behaviour::Behaviour;
use super::containers::not_running;
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::base::duration_text::DurationText;
use crate::base::text::Text;
use crate::effect::container::ExecInContainer;
use crate::effect::exec::{Exec, ExecEffect, ExecOutcome, ProgramResult, command_line};
use crate::effect::{EffectError, ErrorKind};
use crate::world::Call;

/// What a program leaves, and when. The default succeeds at once without a word.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Program {
    pub exit_code: i64,
    pub stdout: String,
    pub stderr: String,
    pub takes_ms: u64,
    /// Whether the program is not there at all.
    pub missing: bool,
    /// Rows that it adds when it succeeds: `VOLUME:PATH`, table, rows.
    pub inserts: BTreeMap<String, BTreeMap<String, Vec<Map<String, Value>>>>,
    /// SQL that it runs when it succeeds: `VOLUME:PATH`, statements.
    pub sql: BTreeMap<String, String>,
}

/// The shell's code for a program that is not there.
const NO_SUCH_PROGRAM: i64 = 127;

/// How the two requests ask for a program.
struct Asked {
    line: String,
    timeout: DurationText,
    check: bool,
    limit: u64,
}

impl SimHost {
    pub(super) fn exec(&mut self, call: &Call, effect: &ExecEffect) -> Result<ExecOutcome, EffectError> {
        let ExecEffect::Run(request) = effect;
        reveal_all(call, request.command.iter().chain(&request.shell).chain(&request.stdin))?;
        reveal_all(call, request.environment.values())?;
        let line = line_of(request);
        if line.is_empty() {
            return Err(EffectError::new(ErrorKind::Invalid, "there is no command to run").not_applied());
        }
        let program = self.programs.get(&line).cloned().unwrap_or_default();
        if program.missing && request.shell.is_none() {
            let name = request.command.first().map(ToString::to_string).unwrap_or_default();
            return Err(EffectError::new(ErrorKind::MissingTool, format!("`{name}` is not installed")).not_applied());
        }
        let asked = Asked { line, timeout: request.timeout, check: request.check, limit: request.output_limit.0 };
        self.finish(program, &asked).map(ExecOutcome::Run)
    }

    /// Runs a program inside a running container.
    pub(super) fn enter(&mut self, call: &Call, request: &ExecInContainer) -> Result<ProgramResult, EffectError> {
        reveal_all(call, request.command.iter().chain(request.environment.values()))?;
        let container = self.find(&request.container)?;
        if !container.is_running() {
            return Err(not_running(container.name()));
        }
        let line = command_line(&request.command);
        let program = program_of(&container.behaviour, &line);
        let asked = Asked { line, timeout: request.timeout, check: request.check, limit: request.output_limit.0 };
        self.finish(program, &asked)
    }

    fn finish(&mut self, program: Program, asked: &Asked) -> Result<ProgramResult, EffectError> {
        let Asked { line, timeout, check, limit } = asked;
        if program.takes_ms > whole_ms(timeout.0) {
            self.pass(whole_ms(timeout.0));
            return Err(EffectError::new(ErrorKind::Timeout, format!("`{line}` took longer than {timeout}")));
        }
        self.pass(program.takes_ms);
        let exit_code = if program.missing { NO_SUCH_PROGRAM } else { program.exit_code };
        let (stdout, out_cut) = last_bytes(program.stdout, *limit);
        let (stderr, err_cut) = last_bytes(program.stderr, *limit);
        if exit_code != 0 && *check {
            return Err(EffectError::new(ErrorKind::Failed, format!("`{line}` ended with code {exit_code}"))
                .detail(if stderr.trim().is_empty() { stdout } else { stderr }));
        }
        if exit_code == 0 {
            for (place, tables) in program.inserts {
                self.insert(&place, tables);
            }
            for (place, sql) in program.sql {
                self.run_sql(&place, &sql)?;
            }
        }
        Ok(ProgramResult { exit_code, stdout, stderr, truncated: out_cut || err_cut })
    }
}

pub(super) fn program_of(behaviour: &Behaviour, line: &str) -> Program {
    behaviour.programs.get(line).cloned().unwrap_or_default()
}

fn line_of(request: &Exec) -> String {
    request.shell.as_ref().map_or_else(|| command_line(&request.command), ToString::to_string)
}

/// A secret that is not set fails here as it does in the real worlds.
fn reveal_all<'a>(call: &Call, texts: impl Iterator<Item = &'a Text>) -> Result<(), EffectError> {
    for text in texts {
        call.vault.reveal(text)?;
    }
    Ok(())
}

/// The end of a text, at most `limit` bytes, and whether it was cut.
fn last_bytes(text: String, limit: u64) -> (String, bool) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let surplus = text.len().saturating_sub(limit);
    if surplus == 0 {
        return (text, false);
    }
    let from = (surplus..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    (text[from..].to_owned(), true)
}
