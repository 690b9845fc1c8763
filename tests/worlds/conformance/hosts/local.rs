//! Child processes of this machine. Apps are Python scripts; the state is in a temporary folder.

use std::path::Path;
use std::sync::Arc;

use deployer::base::run_id::RunId;
use deployer::effect::image::BuildImage;
use deployer::world::World;
use deployer::world::local::{LocalWorld, Shim};
use deployer::world::process_identity::ProcessIdentity;
use deployer::world::real_world::RealWorld;
use serde_json::json;
use tempfile::TempDir;

use super::machine::{IdleProcess, Ports, RunningProxy, this_process};
use crate::conformance::host::{APP_PORT, App, Host, OtherProcess};

pub struct LocalHost {
    world: Arc<RealWorld>,
    other_world: Arc<RealWorld>,
    other: Arc<IdleProcess>,
    folder: TempDir,
    ports: Ports,
    proxy: RunningProxy,
}

pub async fn open() -> LocalHost {
    let folder = tempfile::tempdir().unwrap();
    App::ALL.into_iter().for_each(|app| write_app(folder.path(), app));
    let other = Arc::new(IdleProcess::begin());
    let state = folder.path().join("state");
    LocalHost {
        world: open_world(&state, this_process()),
        other_world: open_world(&state, other.holder()),
        other,
        folder,
        ports: Ports::default(),
        proxy: RunningProxy::begin(),
    }
}

fn open_world(state: &Path, holder: ProcessIdentity) -> Arc<RealWorld> {
    let shim = Shim { program: env!("CARGO_BIN_EXE_deployer").into(), args: vec!["local-shim".into()] };
    let world = LocalWorld::open(state.to_owned(), shim, holder).unwrap();
    let engine = world.engine();
    Arc::new(RealWorld::new(Arc::new(world), engine, Arc::new(|name| std::env::var(name).ok())))
}

/// Serves on `$PORT`. `STATUS` is replaced by the status of all answers.
const SERVER: &str = r#"
import json, os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

class App(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"ok\n"
        if self.path == "/health":
            body = json.dumps({"status": "ok", "deep": {"rows": 1}}).encode()
        self.send_response(STATUS)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = HTTPServer(("127.0.0.1", int(os.environ["PORT"])), App)
print("listening", flush=True)
server.serve_forever()
"#;

fn write_app(folder: &Path, app: App) {
    let context = folder.join(app.name());
    std::fs::create_dir(&context).unwrap();
    let write = |name: &str, text: &str| std::fs::write(context.join(name), text).unwrap();
    let script = match app {
        App::Web => SERVER.replace("STATUS", "200"),
        App::Broken => SERVER.replace("STATUS", "500"),
        App::Dies => "import sys\nprint('no configuration', flush=True)\nsys.exit(3)\n".to_owned(),
        App::Stubborn => {
            "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('listening', flush=True)\nwhile True: time.sleep(60)\n"
                .to_owned()
        }
    };
    write("app.py", &script);
    let dockerfile = format!(
        "FROM scratch\nARG TAG\nLABEL conformance.tag=$TAG\nWORKDIR /app\nCOPY app.py ./\nEXPOSE {APP_PORT}\n\
         CMD [\"python3\", \"/app/app.py\"]\n"
    );
    write("Dockerfile", &dockerfile);
}

impl Host for LocalHost {
    fn world(&self) -> &dyn World {
        self.world.as_ref()
    }

    fn other_process(&self, _: &RunId) -> OtherProcess {
        let other = Arc::clone(&self.other);
        OtherProcess { world: Arc::clone(&self.other_world) as Arc<dyn World>, kill: Box::new(move || other.kill()) }
    }

    fn prefix(&self) -> &str {
        "conf"
    }

    fn build(&self, app: App, tag: &str) -> BuildImage {
        let context = self.folder.path().join(app.name());
        serde_json::from_value(json!({ "context": context, "tag": tag, "args": { "TAG": tag } })).unwrap()
    }

    fn folder(&self, scenario: &str) -> String {
        let folder = self.folder.path().join("objects").join(scenario);
        std::fs::create_dir_all(&folder).unwrap();
        format!("file://{}", folder.display())
    }

    fn free_port(&self) -> u16 {
        self.ports.next()
    }

    fn proxy(&self) -> serde_json::Value {
        self.proxy.driver()
    }
}
