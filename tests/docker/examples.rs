//! Deploys the examples with their own configuration files. The tests override only names and ports.

use crate::support;

use support::apps;
use support::deployer::Deployer;
use support::docker::Docker;
use support::git_repo::{GitRepo, copy_folder};
use support::http;
use support::ports::free_port;

/// Runs a shipped script with the configuration of the example, and overrides these parameters.
fn deploy(deployer: &Deployer, script: &str, config: &str, overrides: &[String]) {
    let mut args = vec!["--config", config];
    args.extend(overrides.iter().flat_map(|setting| ["--set", setting]));
    deployer.run(script, &args).ok();
}

#[test]
fn the_manual_generator_deploys_with_its_own_configuration() {
    let (docker, deployer, port) = (Docker::new(), Deployer::docker(), free_port());
    copy_folder(&apps::example("manual-generator"), deployer.home());
    let volume = docker.name("instance");
    let overrides = [
        format!("service={}", docker.name("manual")),
        format!("port={port}"),
        format!("green_port={}", free_port()),
        format!("volumes={volume}:/app/instance"),
        format!("database.volume={volume}"),
        "bake=200ms".to_owned(),
    ];
    for _ in 0..2 {
        deploy(&deployer, "bluegreen.rhai", "deploy.toml", &overrides);
        assert!(http::get(port, "/").unwrap().body.contains("Getting started"));
    }
    assert_eq!(docker.current_containers(), ["manual"]);
}

#[test]
fn the_logo_detection_api_deploys_with_its_own_configuration() {
    let (docker, deployer, port) = (Docker::new(), Deployer::docker(), free_port());
    let repo = GitRepo::of(&apps::example("logo-detection"));
    let config = repo.path().join("deploy.toml").to_str().unwrap().to_owned();
    let overrides = [
        format!("service={}", docker.name("logo")),
        format!("repo={}", repo.path().display()),
        format!("port={port}"),
        format!("new_port={}", free_port()),
        "bake=200ms".to_owned(),
    ];
    deploy(&deployer, "safe_deploy.rhai", &config, &overrides);
    assert!(http::get(port, "/api/v1/detect?text=rust+and+docker").unwrap().body.contains("Rust"));
    assert_eq!(docker.current_containers(), ["logo"]);
}
