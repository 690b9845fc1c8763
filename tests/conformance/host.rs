//! What the suite must be told of a world: its apps and where things are. Knows no scenario.

use std::sync::Arc;

use deployer::base::run_id::RunId;
use deployer::effect::image::BuildImage;
use deployer::world::World;

/// The apps that every host has an image of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum App {
    /// Answers 200 on `/` and `/health`, ends with code 0 on SIGTERM, logs `listening`. Has `sh`.
    Web,
    /// Answers 500 everywhere.
    Broken,
    /// Logs `no configuration` and ends with code 3.
    Dies,
    /// Runs, listens on nothing and ignores SIGTERM.
    Stubborn,
}

impl App {
    pub const ALL: [Self; 4] = [Self::Web, Self::Broken, Self::Dies, Self::Stubborn];

    pub fn word(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Broken => "broken",
            Self::Dies => "dies",
            Self::Stubborn => "stubborn",
        }
    }
}

/// The port that the apps listen on inside.
pub const APP_PORT: u16 = 5000;

/// A world as used by a process that ends when `die` is called.
pub struct Mortal {
    pub world: Arc<dyn World>,
    pub die: Box<dyn FnOnce() + Send>,
}

/// One world with its apps.
pub trait Host: Send + Sync {
    /// The world as this process uses it.
    fn world(&self) -> &dyn World;

    /// The same world as used by another process, which can be made to die: to leave locks behind. Asked for once.
    fn mortal(&self, run: &RunId) -> Mortal;

    /// Begins the name of everything that the suite makes, so that it is found again.
    fn prefix(&self) -> &str;

    /// The request that builds an app's image under this tag; two builds with different tags give two images.
    fn build(&self, app: App, tag: &str) -> BuildImage;

    /// The address of a folder, which is there, for objects of the scenario of this name.
    fn folder(&self, scenario: &str) -> String;

    /// A port that nobody listens on, each time another.
    fn free_port(&self) -> u16;

    /// The driver of routes that runs on the host: the embedded proxy, as a script names it.
    fn proxy(&self) -> serde_json::Value;
}
