//! What is the same for every change of who gets the requests of a route: it may be done twice, and is taken back from
//! the route as it was.

use std::time::Duration;

use super::look::{ShowRoute, Standing};
use super::standing;
use crate::effect::facts::PATIENCE;
use crate::effect::{Access, Effect, Facts, Outcome, Recovery, Undo};

pub(super) trait RouteChange: Send + Sync {
    /// The service whose route it is.
    fn of(&self) -> &str;

    /// What takes it back; `former` is the route before.
    fn taken_back(&self, former: Option<&Standing>) -> Undo;

    fn about(&self) -> String;

    fn lasts(&self) -> Duration {
        PATIENCE
    }
}

impl<T: RouteChange> Facts for T {
    fn access(&self) -> Access {
        Access::Write
    }

    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn patience(&self) -> Duration {
        self.lasts()
    }

    fn prior(&self) -> Option<Effect> {
        Some(ShowRoute { service: self.of().to_owned(), missing_ok: true }.into())
    }

    fn undo(&self, prior: Option<&Outcome>) -> Undo {
        self.taken_back(standing(prior))
    }

    fn service(&self) -> Option<&str> {
        Some(self.of())
    }

    fn subject(&self) -> String {
        self.about()
    }
}
