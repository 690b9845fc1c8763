//! What the suite needs to know about a world: its apps, ports and folders. Does not know the scenarios.

use std::sync::Arc;

use deployer::base::run_id::RunId;
use deployer::effect::image::BuildImage;
use deployer::world::World;

/// The apps that every host has an image of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum App {
    /// Answers 200 on `/` and `/health`, exits with code 0 on SIGTERM, logs `listening`. Has `sh`.
    Web,
    /// Answers 500 everywhere.
    Broken,
    /// Logs `no configuration` and exits with code 3.
    Dies,
    /// Runs, listens on nothing and ignores SIGTERM.
    Stubborn,
}

impl App {
    pub const ALL: [Self; 4] = [Self::Web, Self::Broken, Self::Dies, Self::Stubborn];

    pub fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Broken => "broken",
            Self::Dies => "dies",
            Self::Stubborn => "stubborn",
        }
    }
}

/// The container port that the apps listen on.
pub const APP_PORT: u16 = 5000;

/// The world as used by another process, which ends when `kill` is called.
pub struct OtherProcess {
    pub world: Arc<dyn World>,
    pub kill: Box<dyn FnOnce() + Send>,
}

/// One world with its apps.
pub trait Host: Send + Sync {
    /// The world as this process uses it.
    fn world(&self) -> &dyn World;

    /// The same world as used by another process, which can be killed so that it leaves locks behind. Called once.
    fn other_process(&self, run: &RunId) -> OtherProcess;

    /// Prefix of the names of everything that the suite creates, to find it for the clean-up.
    fn prefix(&self) -> &str;

    /// The request that builds an app's image under this tag. Builds with different tags give different images.
    fn build(&self, app: App, tag: &str) -> BuildImage;

    /// The URL of an existing folder for the objects of this scenario.
    fn folder(&self, scenario: &str) -> String;

    /// An unused port, a different one each time.
    fn free_port(&self) -> u16;

    /// The traffic driver of the host: the embedded proxy, in the form that a script uses.
    fn proxy(&self) -> serde_json::Value;
}
