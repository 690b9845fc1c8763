//! What must hold in every simulated run: each property with its one sentence. Decides nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A named check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Property {
    Serving,
    Targets,
    CutOff,
    Rows,
    End,
    ExitCode,
    LeftOver,
    NotTwice,
    WaitsEnd,
    Secrets,
    /// The script's own, by `expect`.
    Expected,
}

impl Property {
    pub const ALL: [Self; 11] = [
        Self::Serving,
        Self::Targets,
        Self::CutOff,
        Self::Rows,
        Self::End,
        Self::ExitCode,
        Self::LeftOver,
        Self::NotTwice,
        Self::WaitsEnd,
        Self::Secrets,
        Self::Expected,
    ];

    /// What holds.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Serving => "somebody healthy answers the public address at every instant, but for the stated gap",
            Self::Targets => "no request goes to a target that is not ready, or gone",
            Self::CutOff => "nobody who answers visitors is killed in the middle of it",
            Self::Rows => "committed rows are never lost",
            Self::End => "the end is the new release, the old one, or stuck with instructions",
            Self::ExitCode => "the exit code tells the truth",
            Self::LeftOver => "nothing is left over, or it is told",
            Self::NotTwice => "what was completed is not done again",
            Self::WaitsEnd => "every wait ends",
            Self::Secrets => "secrets stay out of journal and output",
            Self::Expected => "what the script expects holds",
        }
    }

    /// How it is checked, for the documentation.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Serving => {
                "Visitors come at every instant of virtual time to the port of the parameter `port` (else the one that \
                 the container called `service` publishes) and ask for `health.path`. From the first good answer on, a \
                 spell without one is a violation, at the end always. A script may state a `gap`, as `std/cutover` does \
                 where one container makes room for the other: then that long is allowed, and 2 min when something \
                 goes wrong. An app that ends or falls ill by itself and an engine that restarts get 10 s more: nobody can \
                 know before; and 20 s where the run was killed besides, for it must be noticed once more. `--gap` says \
                 otherwise."
            }
            Self::Targets => {
                "A route gives requests to a target that does not answer. Not judged where a container dies, falls ill or the \
                 engine restarts: nobody can know before."
            }
            Self::CutOff => {
                "A container that owns the public port is killed, or removed while it runs, although it would have \
                 ended by itself in the time that a longer grace gives."
            }
            Self::Rows => "Every row of every database that was there before is there afterwards.",
            Self::End => {
                "The end is compared with the beginning and with the end of a run in which nothing goes wrong: \
                 containers, who answers, images, volumes, networks. A run that ends stuck names what remains."
            }
            Self::ExitCode => {
                "0 means that the new release serves; 1 and 130 mean that the old one does, unless `commit()` was \
                 passed or a warning says otherwise."
            }
            Self::LeftOver => {
                "No container, image, volume, network or lock stays that the end of a good run, or the beginning, has \
                 not, unless a warning of the script names it."
            }
            Self::NotTwice => "After a crash, no change of the script that was completed is completed again.",
            Self::WaitsEnd => "A run ends within 6 hours of virtual time, 20,000 effects and 20 million operations.",
            Self::Secrets => {
                "Every secret has a value that is looked for in the whole journal and in the end's report."
            }
            Self::Expected => {
                "The closures given to `expect` are called after every effect and every step of taking back."
            }
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A property that did not hold in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub property: Property,
    /// What was seen in its place.
    pub what: String,
    /// Milliseconds after the run began, where it was at an instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
}

impl Finding {
    /// What tells findings apart that matter to the search: a spell without answers is another thing than an end
    /// without any.
    pub fn class(&self) -> (Property, bool) {
        (self.property, self.what.ends_with("at the end"))
    }

    /// What tells findings apart that are worth a story of their own: the class, and what was seen less its figures.
    pub fn kind(&self) -> (Property, bool, String) {
        let (property, lasting) = self.class();
        let what = self.what.chars().filter(|c| !c.is_ascii_digit()).collect();
        (property, lasting, what)
    }
}
