//! What to verify: a script with its parameters on a host, and the longest gap that its clients may see.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::script::params::Declaration;
use crate::script::source::{Source, SourceLoader};
pub use crate::world::sim::{PublicAddress, Scenario};

/// A script on a host.
#[derive(Clone)]
pub struct VerifyTarget {
    /// The script.
    pub source: Source,
    /// Loads its modules.
    pub loader: Arc<dyn SourceLoader>,
    /// The parameters as given.
    pub given: Value,
    /// The simulated host.
    pub scenario: Scenario,
    /// The address that simulated clients use; `None` when it is unknown, and then their view is not checked.
    pub public: Option<PublicAddress>,
    /// The longest gap; `None` is what the script allows with `gap`.
    pub gap: Option<Gap>,
}

/// How long clients may be without a good answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Without a fault.
    pub calm_ms: u64,
    /// With a fault: until the run has noticed it and rolled back.
    pub troubled_ms: u64,
}

/// Without a driver that owns the public port, a run needs at most this long to notice a fault and roll back.
const TROUBLED_MS: u64 = 120_000;

impl Gap {
    /// Creates the gap that the script allows; 0 allows none.
    pub fn stated(ms: u64) -> Self {
        Self { calm_ms: ms, troubled_ms: if ms > 0 { TROUBLED_MS.max(ms) } else { 0 } }
    }

    /// Creates the same gap for all runs.
    pub fn of(ms: u64) -> Self {
        Self { calm_ms: ms, troubled_ms: ms }
    }
}

/// Returns the public address, derived from the parameters and the host: the parameter `port`, else the port that the
/// container with the name of the parameter `service` publishes.
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

impl VerifyTarget {
    /// Creates a target with the public address that the parameters give.
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
