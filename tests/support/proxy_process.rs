//! `deployer proxy run` as a separate process with its own folder. It is killed on drop.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::deadline::until;

const TIMEOUT: Duration = Duration::from_secs(30);

pub struct ProxyProcess {
    folder: tempfile::TempDir,
    child: Child,
}

impl ProxyProcess {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = spawn(&folder);
        let process = Self { folder, child };
        process.wait_ready();
        process
    }

    /// Returns the path of its control socket.
    pub fn control(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    /// Returns the `[traffic]` table for the configuration of a script.
    pub fn table(&self) -> String {
        let control = self.control();
        format!(
            "[traffic]\ndriver = \"proxy\"\nkeep_warm = \"1s\"\noptions = {{ control = \"{}\" }}\n",
            control.display()
        )
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.child = spawn(&self.folder);
        self.wait_ready();
    }

    fn wait_ready(&self) {
        until("the proxy", TIMEOUT, || UnixStream::connect(self.control()).ok());
    }
}

fn spawn(folder: &tempfile::TempDir) -> Child {
    let file = |name: &str| folder.path().join(name);
    Command::new(env!("CARGO_BIN_EXE_deployer"))
        .args(["proxy", "run", "--control"])
        .arg(file("control.sock"))
        .arg("--state")
        .arg(file("state.json"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::options().create(true).append(true).open(file("log")).unwrap())
        .spawn()
        .unwrap()
}

impl Drop for ProxyProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
