//! The properties that must hold in every simulated run, each with one sentence. Does not check them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A named check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Property {
    /// The public address answers.
    Serving,
    /// Requests go only to ready targets.
    Targets,
    /// Containers end their answers.
    CutOff,
    /// Database rows are kept.
    Rows,
    /// The run ends in a known state.
    End,
    /// The exit code matches the end.
    ExitCode,
    /// Nothing is left behind silently.
    LeftOver,
    /// Completed changes are not repeated.
    NotTwice,
    /// Closures of `on_rollback` are called.
    Closures,
    /// The run ends in time.
    WaitsEnd,
    /// Secrets do not leak.
    Secrets,
    /// The script's own, by `expect`.
    Expected,
}

impl Property {
    /// All properties.
    pub const ALL: [Self; 12] = [
        Self::Serving,
        Self::Targets,
        Self::CutOff,
        Self::Rows,
        Self::End,
        Self::ExitCode,
        Self::LeftOver,
        Self::NotTwice,
        Self::Closures,
        Self::WaitsEnd,
        Self::Secrets,
        Self::Expected,
    ];

    /// Returns the sentence that must hold.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Serving => "the public address always answers, except for the stated gap",
            Self::Targets => "no request goes to a target that is not ready or was removed",
            Self::CutOff => "no container is killed while it answers clients",
            Self::Rows => "committed rows are never lost",
            Self::End => "the run ends with the new release, with the old one, or stuck with instructions",
            Self::ExitCode => "the exit code is true",
            Self::LeftOver => "nothing is left behind without a warning",
            Self::NotTwice => "completed changes are not made twice",
            Self::Closures => "a rollback calls every closure of `on_rollback` to its end, once",
            Self::WaitsEnd => "every wait ends",
            Self::Secrets => "secrets stay out of journal and output",
            Self::Expected => "the expectations of the script hold",
        }
    }

    /// Returns how it is checked, for the documentation.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Serving => {
                "Simulated clients request `health.path` at every instant of virtual time, on the port of the parameter \
                 `port` (else the one that the container named like `service` publishes). From the first good answer on, \
                 an outage is a violation; at the end it always is. A script may state a `gap`, as `std/cutover` does \
                 where one container must stop before the other starts: then an outage may last that long, and 2 min \
                 with a fault. If an app exits or becomes unhealthy by itself, or the engine restarts, 10 s more are \
                 allowed, because no script can know in advance; and 20 s if the run was killed as well, because the \
                 resumed run must notice it again. `--gap` overrides this."
            }
            Self::Targets => {
                "A route sends requests to a target that does not answer. Not checked if a container exits or becomes \
                 unhealthy by itself, or the engine restarts."
            }
            Self::CutOff => {
                "A container that publishes the public port is killed, or removed while it runs, although it would have \
                 exited by itself with a longer grace period."
            }
            Self::Rows => {
                "Every row of every database that existed before the run exists after it, in the columns that its table still has."
            }
            Self::End => {
                "The end is compared with the beginning and with the end of a run without a fault: containers, the \
                 version that answers, images, volumes, networks. A run that ends stuck lists what remains."
            }
            Self::ExitCode => {
                "0 means that the new release serves; 1 and 130 mean that the old one does, unless `commit()` was \
                 reached or a warning says otherwise."
            }
            Self::LeftOver => {
                "No container, image, volume, network or lock remains that exists neither at the beginning nor at the \
                 end of a run without a fault, unless a warning of the script names it."
            }
            Self::NotTwice => {
                "After a crash, no completed change of the script, or of a closure of `on_rollback`, is completed again."
            }
            Self::Closures => {
                "Every closure that was registered and not committed was called when the run is rolled back, unless it \
                 ends stuck; and the journal says `rollback_called` only of what was called. Crashes are also tried with \
                 the branches of `parallel` in reverse order, so that each branch was ahead of each other one."
            }
            Self::WaitsEnd => "A run ends within 6 hours of virtual time, 20,000 effects and 20 million operations.",
            Self::Secrets => "The values of all secrets are searched for in the whole journal and in the final report.",
            Self::Expected => {
                "The closures given to `expect` are called after every effect and every step of a rollback."
            }
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// What shows that a run violates a property.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The property.
    pub property: Property,
    /// What was found.
    pub what: String,
    /// When, in milliseconds after the run started, if it was at one instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
}

impl Finding {
    /// Returns what distinguishes findings for the search: an outage is different from no answer at the end.
    pub fn class(&self) -> (Property, bool) {
        (self.property, self.what.ends_with("at the end"))
    }

    /// Returns what distinguishes findings in the report: the class, and what was found without its numbers.
    pub fn kind(&self) -> (Property, bool, String) {
        let (property, lasting) = self.class();
        let what = self.what.chars().filter(|c| !c.is_ascii_digit()).collect();
        (property, lasting, what)
    }
}
