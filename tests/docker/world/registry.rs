//! Pushes to and pulls from a real registry on loopback that requires a password.

use std::fs;
use std::process::{Child, Command, Stdio};

use deployer::effect::ErrorKind;
use deployer::effect::image::{PullImage, PushImage, RemoveImage, TagImage};
use deployer::world::docker::{ConnectSpec, DockerWorld};
use serde_json::json;

use super::bench::{Bench, CONNECT, IMAGE, answers, free_port, holder, refused, unchanged};

/// Characters that standard and URL-safe base64 encode differently.
const PASSWORD: &str = "pa?s>w~rd?>~";
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuup.O6Acslyu2nWNwN13YTX79hIP0WJ8K";

struct Registry {
    child: Child,
    address: String,
    folder: tempfile::TempDir,
}

impl Registry {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (root, port) = (folder.path().display(), free_port());
        fs::write(folder.path().join("htpasswd"), format!("me:{HASH}\n")).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {root}/data}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\nauth: {{htpasswd: {{realm: test, path: {root}/htpasswd}}}}\n"
        );
        fs::write(folder.path().join("config.yml"), config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(folder.path().join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed");
        let registry = Self { child, address: format!("127.0.0.1:{port}"), folder };
        answers(registry.address.parse().unwrap()).await;
        registry
    }

    /// The configuration that `docker login` would store.
    fn login(&self) -> std::path::PathBuf {
        use base64::Engine as _;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("me:{PASSWORD}"));
        let config = json!({"auths": {self.address.clone(): {"auth": auth}}});
        fs::write(self.folder.path().join("config.json"), config.to_string()).unwrap();
        self.folder.path().to_owned()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn an_image_is_pushed_and_pulled() {
    let mut bench = Bench::new().await;
    let registry = Registry::start().await;
    let name = format!("{}/{}:v1", registry.address, bench.prefix);
    bench.json::<TagImage>(json!({"image": IMAGE, "tag": name})).await.unwrap();

    let error = refused(bench.json::<PushImage>(json!({"image": name})).await, ErrorKind::Refused);
    assert!(error.hint.unwrap().contains(&format!("docker login {}", registry.address)));
    let given = json!({"image": name, "username": "me", "password": PASSWORD});
    let pushed = bench.json::<PushImage>(given.clone()).await.unwrap();
    assert!(pushed.digest.unwrap().starts_with("sha256:"));

    bench.json::<RemoveImage>(json!({"image": name})).await.unwrap();
    refused(bench.json::<PullImage>(json!({"image": name})).await, ErrorKind::Refused);
    let pulled = bench.json::<PullImage>(given).await.unwrap();
    assert!(pulled.tags.contains(&name));

    // The same with the credentials that `docker login` stored.
    let spec = ConnectSpec { config_folder: Some(registry.login()), ..ConnectSpec::at(bench.world.engine().address()) };
    bench.world = DockerWorld::open(spec, holder(), CONNECT).await.unwrap();
    bench.json::<PushImage>(json!({"image": name})).await.unwrap();
    let missing = format!("{}/{}:none", registry.address, bench.prefix);
    unchanged(&refused(bench.json::<PushImage>(json!({"image": missing})).await, ErrorKind::NotFound));
    let error = refused(bench.json::<PullImage>(json!({"image": missing})).await, ErrorKind::NotFound);
    assert!(error.message.contains(&missing), "{error}");
    bench.json::<RemoveImage>(json!({"image": name})).await.unwrap();
    assert!(bench.json::<PullImage>(json!({"image": name})).await.is_ok());

    drop(registry);
    refused(bench.json::<PullImage>(json!({"image": missing})).await, ErrorKind::Unavailable);
}
