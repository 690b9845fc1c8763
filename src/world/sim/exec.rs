//! Programs on the host and inside containers, with the results that the scenario prescribes. Knows nothing of why they
//! run.
//!
//! Faults: a program that is not installed, fails or takes too long, or that changes a database.

use super::model::behaviour::Behaviour;
use super::model::program::SimProgram;
use super::sim_clock::whole_ms;
use super::sim_host::SimHost;
use crate::base::duration_text::DurationText;
use crate::base::text::Text;
use crate::effect::EffectError;
use crate::effect::exec::{
    Exec, ExecEffect, ExecOutcome, ProgramResult, command_line, program_failed, program_not_found, program_timed_out,
};
use crate::world::Call;

/// The shell's exit code for a program that does not exist.
const NO_SUCH_PROGRAM: i64 = 127;

/// What the two requests that run programs have in common.
pub(super) struct ProgramRequest {
    /// Names the program, with backticks.
    pub(super) label: String,
    pub(super) timeout: DurationText,
    pub(super) check: bool,
    pub(super) limit: u64,
}

impl SimHost {
    pub(super) fn exec(&mut self, call: &Call, effect: &ExecEffect) -> Result<ExecOutcome, EffectError> {
        let ExecEffect::Run(request) = effect;
        request.validate()?;
        reveal_all(call, request.command.iter().chain(&request.shell).chain(&request.stdin))?;
        reveal_all(call, request.environment.values())?;
        let line = command_line_of(request);
        let program = self.programs.get(&line).cloned().unwrap_or_default();
        if program.missing && request.shell.is_none() {
            let name = request.command.first().map(ToString::to_string).unwrap_or_default();
            return Err(program_not_found(&name));
        }
        let asked = ProgramRequest {
            label: format!("`{line}`"),
            timeout: request.timeout,
            check: request.check,
            limit: request.output_limit.0,
        };
        self.run_program(program, &asked).map(ExecOutcome::Run)
    }

    pub(super) fn run_program(
        &mut self,
        program: SimProgram,
        asked: &ProgramRequest,
    ) -> Result<ProgramResult, EffectError> {
        let ProgramRequest { label, timeout, check, limit } = asked;
        if program.takes_ms > whole_ms(timeout.0) {
            self.advance(whole_ms(timeout.0));
            return Err(program_timed_out(label, *timeout));
        }
        self.advance(program.takes_ms);
        let exit_code = if program.missing { NO_SUCH_PROGRAM } else { program.exit_code };
        let (stdout, out_cut) = last_bytes(program.stdout, *limit);
        let (stderr, err_cut) = last_bytes(program.stderr, *limit);
        if exit_code != 0 && *check {
            return Err(program_failed(label, exit_code).detail(if stderr.trim().is_empty() {
                stdout
            } else {
                stderr
            }));
        }
        if exit_code == 0 {
            for (location, tables) in program.inserts {
                self.insert(&location, tables);
            }
            for (location, sql) in program.sql {
                self.run_sql(&location, &sql)?;
            }
        }
        Ok(ProgramResult { exit_code, stdout, stderr, truncated: out_cut || err_cut })
    }
}

pub(super) fn program_of(behaviour: &Behaviour, line: &str) -> SimProgram {
    behaviour.programs.get(line).cloned().unwrap_or_default()
}

fn command_line_of(request: &Exec) -> String {
    request.shell.as_ref().map_or_else(|| command_line(&request.command), ToString::to_string)
}

/// Fails for a secret that is not set, as the real worlds do.
pub(super) fn reveal_all<'a>(call: &Call, texts: impl Iterator<Item = &'a Text>) -> Result<(), EffectError> {
    for text in texts {
        call.vault.reveal(text)?;
    }
    Ok(())
}

/// Returns the end of a text, at most `limit` bytes, and whether it was cut.
fn last_bytes(text: String, limit: u64) -> (String, bool) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let surplus = text.len().saturating_sub(limit);
    if surplus == 0 {
        return (text, false);
    }
    let from = (surplus..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    (text[from..].to_owned(), true)
}
