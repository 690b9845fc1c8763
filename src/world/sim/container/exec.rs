//! Runs programs inside simulated containers.
//!
//! Faults: a container that is not running, a program that fails or takes too long.

use crate::effect::EffectError;
use crate::effect::container::ExecInContainer;
use crate::effect::exec::{ProgramResult, command_line};
use crate::world::Call;
use crate::world::sim::exec::{ProgramRequest, program_of, reveal_all};
use crate::world::sim::sim_host::SimHost;

impl SimHost {
    /// Runs a program inside a running container.
    pub(crate) fn exec_in_container(
        &mut self,
        call: &Call,
        request: &ExecInContainer,
    ) -> Result<ProgramResult, EffectError> {
        request.validate()?;
        reveal_all(call, request.command.iter().chain(request.environment.values()))?;
        let container = self.find(&request.container)?;
        if !container.is_running() {
            return Err(request.not_running(container.name()));
        }
        let program = program_of(&container.behaviour, &command_line(&request.command));
        let label = request.label(container.name());
        let asked =
            ProgramRequest { label, timeout: request.timeout, check: request.check, limit: request.output_limit.0 };
        self.run_program(program, &asked)
    }
}
