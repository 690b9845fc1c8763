//! What is verified: a script with its parameters, on a host, and what visitors are owed there.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::script::params::Declaration;
use crate::script::source::{Source, SourceLoader};
pub use crate::world::sim::{PublicAddress, Scenario};

/// A script on a host.
#[derive(Clone)]
pub struct Subject {
    pub source: Source,
    pub loader: Arc<dyn SourceLoader>,
    /// The parameters as given.
    pub given: Value,
    pub scenario: Scenario,
    /// None: nobody visits, so that nothing can be said of them.
    pub public: Option<PublicAddress>,
    /// None: what the script states by `gap`.
    pub gap: Option<Gap>,
}

/// How long visitors may be without a good answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// While nothing goes wrong.
    pub calm_ms: u64,
    /// When something does: until the run has noticed it and taken itself back.
    pub troubled_ms: u64,
}

/// Without a driver that owns the public port, it takes so long at the most until a run that goes wrong has noticed it
/// and taken itself back.
const TROUBLED_MS: u64 = 120_000;

impl Gap {
    /// What the script stated; without a statement there is none.
    pub fn stated(ms: u64) -> Self {
        Self { calm_ms: ms, troubled_ms: if ms > 0 { TROUBLED_MS.max(ms) } else { 0 } }
    }

    /// The same for all runs.
    pub fn of(ms: u64) -> Self {
        Self { calm_ms: ms, troubled_ms: ms }
    }
}

/// The address that visitors go to, as the parameters and the host tell it: the parameter `port`, else the port that
/// the container named like the parameter `service` publishes.
pub fn public_address(params: &Value, scenario: &Scenario) -> Option<PublicAddress> {
    let of = |pointer: &str| params.pointer(pointer);
    let by_parameter = of("/port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    let by_service = || {
        let service = of("/service")?.as_str()?;
        let placed = scenario.containers.iter().find(|placed| placed.spec.name == service)?;
        placed.spec.ports.iter().map(|mapping| mapping.host_port).find(|port| *port != 0)
    };
    let port = by_parameter.or_else(by_service)?;
    let path = of("/health/path").and_then(Value::as_str).unwrap_or("/");
    let status = of("/health/status").and_then(Value::as_array).into_iter().flatten();
    let status = status.filter_map(Value::as_u64).filter_map(|status| u16::try_from(status).ok()).collect();
    Some(PublicAddress { port, path: path.into(), status })
}

impl Subject {
    /// With the address and the gap that the script's parameters tell.
    pub fn new(
        source: Source,
        loader: Arc<dyn SourceLoader>,
        declaration: &Declaration,
        given: Value,
        scenario: Scenario,
    ) -> Self {
        let params = declaration.fill(&given).unwrap_or_else(|_| given.clone());
        let public = public_address(&params, &scenario);
        Self { source, loader, public, gap: None, given, scenario }
    }
}
