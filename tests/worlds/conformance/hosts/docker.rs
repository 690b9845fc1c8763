//! The Docker Engine of this machine, or the one in DOCKER_HOST. Apps are busybox scripts in otherwise empty images.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deployer::base::run_id::RunId;
use deployer::effect::image::BuildImage;
use deployer::world::World;
use deployer::world::docker::DockerWorld;
use deployer::world::process_identity::ProcessIdentity;
use deployer::world::real_world::RealWorld;
use serde_json::json;
use tempfile::TempDir;

use super::machine::{IdleProcess, Ports, RunningProxy, this_process};
use crate::conformance::host::{APP_PORT, App, Host, OtherProcess};

const CONNECT: Duration = Duration::from_secs(10);

pub struct DockerHost {
    world: Arc<RealWorld>,
    other_world: Arc<RealWorld>,
    other: Arc<IdleProcess>,
    context: TempDir,
    prefix: String,
    ports: Ports,
    proxy: RunningProxy,
}

pub async fn open() -> DockerHost {
    let context = tempfile::tempdir().unwrap();
    write_apps(context.path());
    let other = Arc::new(IdleProcess::begin());
    DockerHost {
        world: connect(this_process()).await,
        other_world: connect(other.holder()).await,
        other,
        context,
        prefix: format!("conf-{}", std::process::id()),
        ports: Ports::default(),
        proxy: RunningProxy::begin(),
    }
}

async fn connect(holder: ProcessIdentity) -> Arc<RealWorld> {
    let world = DockerWorld::connect(None, holder, CONNECT).await.expect("a Docker Engine that answers");
    let engine = world.engine();
    Arc::new(RealWorld::new(Arc::new(world), engine, Arc::new(|name| std::env::var(name).ok())))
}

fn write_apps(folder: &Path) {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    std::fs::copy("/bin/busybox", folder.join("busybox")).expect("the package busybox-static");
    write("page", "ok\n");
    write("health", "{\"status\": \"ok\", \"deep\": {\"rows\": 1}}\n");
    for app in App::ALL {
        let script = match app {
            App::Web => {
                format!("trap 'exit 0' TERM\n/bin/busybox httpd -f -p {APP_PORT} -h /www &\necho listening\nwait\n")
            }
            App::Broken => format!(
                "trap 'exit 0' TERM\nwhile true; do\n  printf 'HTTP/1.1 500 Broken\\r\\nContent-Length: 7\\r\\nConnection: close\\r\\n\\r\\nbroken\\n' \
                 | /bin/busybox nc -l -p {APP_PORT} &\n  wait\ndone\n"
            ),
            App::Dies => "echo no configuration\nexit 3\n".to_owned(),
            App::Stubborn => "trap '' TERM\necho listening\nwhile true; do /bin/busybox sleep 1; done\n".to_owned(),
        };
        write(&format!("{}.sh", app.name()), &script);
        let dockerfile = format!(
            "FROM scratch\nARG TAG\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\nCOPY page /www/index.html\n\
             COPY health /www/health\nCOPY {word}.sh /app.sh\nLABEL conformance.tag=$TAG\nEXPOSE {APP_PORT}\n\
             CMD [\"/bin/sh\", \"/app.sh\"]\n",
            word = app.name(),
        );
        write(&format!("Dockerfile.{}", app.name()), &dockerfile);
    }
}

impl Host for DockerHost {
    fn world(&self) -> &dyn World {
        self.world.as_ref()
    }

    fn other_process(&self, _: &RunId) -> OtherProcess {
        let other = Arc::clone(&self.other);
        OtherProcess { world: Arc::clone(&self.other_world) as Arc<dyn World>, kill: Box::new(move || other.kill()) }
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn build(&self, app: App, tag: &str) -> BuildImage {
        let dockerfile = format!("Dockerfile.{}", app.name());
        let context = self.context.path();
        let args = json!({ "TAG": tag });
        serde_json::from_value(json!({ "context": context, "tag": tag, "dockerfile": dockerfile, "args": args }))
            .unwrap()
    }

    fn folder(&self, scenario: &str) -> String {
        let folder = self.context.path().join("objects").join(scenario);
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
