//! `exec`: a program of the script's choice.

use super::Services;
use super::program::{Program, evidence};
use crate::effect::exec::{Exec, ExecEffect, ExecOutcome, ProgramResult};
use crate::effect::{EffectError, ErrorKind, Facts};
use crate::world::Call;

impl Services {
    pub(super) async fn exec(&self, call: &Call, effect: &ExecEffect) -> Result<ExecOutcome, EffectError> {
        match effect {
            ExecEffect::Run(request) => self.exec_run(call, request).await.map(ExecOutcome::Run),
        }
    }

    async fn exec_run(&self, call: &Call, request: &Exec) -> Result<ProgramResult, EffectError> {
        let subject = request.subject();
        let result = program_of(call, request)?.run(call, self.clock.as_ref()).await?;
        if request.check && result.exit_code != 0 {
            let message = format!("`{subject}` ended with exit code {}", result.exit_code);
            return Err(EffectError::new(ErrorKind::Failed, message)
                .detail(call.vault.scrub(&evidence(&result.stdout, &result.stderr))));
        }
        Ok(result)
    }
}

fn program_of(call: &Call, request: &Exec) -> Result<Program, EffectError> {
    let invalid = |message: &str| EffectError::new(ErrorKind::Invalid, message).not_applied();
    let vault = &call.vault;
    let mut words = request.command.iter().map(|word| vault.reveal(word)).collect::<Result<Vec<_>, _>>()?;
    let mut program = match (&request.shell, words.is_empty()) {
        (Some(line), true) => Program::new("/bin/sh", ["-c".to_owned(), vault.reveal(line)?]),
        (None, false) if words[0].is_empty() => return Err(invalid("the program's name is empty")),
        (None, false) => {
            let name = words.remove(0);
            Program::new(name, words)
        }
        (Some(_), false) => return Err(invalid("`command` and `shell` cannot both be given")),
        (None, true) => return Err(invalid("one of `command` and `shell` is needed")),
    };
    for (name, value) in &request.environment {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(invalid(&format!("`{name}` cannot be the name of an environment variable")));
        }
        program.environment.push((name.clone(), vault.reveal(value)?));
    }
    program.label = request.subject();
    program.working_dir = request.working_dir.as_ref().map(Into::into);
    program.stdin = request.stdin.as_ref().map(|text| vault.reveal(text)).transpose()?;
    program.timeout = request.timeout.0;
    program.output_limit = usize::try_from(request.output_limit.0).unwrap_or(usize::MAX);
    program.tells = true;
    Ok(program)
}
