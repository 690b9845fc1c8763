//! `exec`: runs a program of the script's choice.

use std::sync::Arc;

use super::subprocess::{Subprocess, output_excerpt};
use crate::effect::exec::{Exec, ExecEffect, ExecOutcome, ProgramResult};
use crate::effect::{EffectError, EffectSpec};
use crate::world::Call;
use crate::world::clock::Clock;

/// Performs `exec`.
pub(crate) struct ExecService {
    clock: Arc<dyn Clock>,
}

impl ExecService {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }

    pub(crate) async fn perform(&self, call: &Call, effect: &ExecEffect) -> Result<ExecOutcome, EffectError> {
        match effect {
            ExecEffect::Run(request) => self.run(call, request).await.map(ExecOutcome::Run),
        }
    }

    async fn run(&self, call: &Call, request: &Exec) -> Result<ProgramResult, EffectError> {
        let result = subprocess(call, request)?.run(call, self.clock.as_ref()).await?;
        if request.check && result.exit_code != 0 {
            return Err(request
                .failed(result.exit_code)
                .detail(call.vault.scrub(&output_excerpt(&result.stdout, &result.stderr))));
        }
        Ok(result)
    }
}

fn subprocess(call: &Call, request: &Exec) -> Result<Subprocess, EffectError> {
    request.validate()?;
    let vault = &call.vault;
    let mut words = request.command.iter().map(|word| vault.reveal(word)).collect::<Result<Vec<_>, _>>()?;
    let mut subprocess = match &request.shell {
        Some(line) => Subprocess::new("/bin/sh", ["-c".to_owned(), vault.reveal(line)?]),
        None if words[0].is_empty() => return Err(EffectError::invalid("the program name is empty")),
        None => {
            let name = words.remove(0);
            Subprocess::new(name, words)
        }
    };
    for (name, value) in &request.environment {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(EffectError::invalid(format!("`{name}` is not a valid name of an environment variable")));
        }
        subprocess.environment.push((name.clone(), vault.reveal(value)?));
    }
    subprocess.label = request.subject();
    subprocess.working_dir = request.working_dir.as_ref().map(Into::into);
    subprocess.stdin = request.stdin.as_ref().map(|text| vault.reveal(text)).transpose()?;
    subprocess.timeout = request.timeout.0;
    subprocess.output_limit = usize::try_from(request.output_limit.0).unwrap_or(usize::MAX);
    subprocess.reports_progress = true;
    Ok(subprocess)
}
