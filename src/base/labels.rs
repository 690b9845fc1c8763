//! The labels that deployer sets on everything it creates. They tell, from any machine, what an object belongs to.

/// The run that created the object.
pub const RUN: &str = "deployer.run";
/// The effect that created the object, as `RUN/SEQ`: shows after a crash whether the effect happened.
pub const EFFECT: &str = "deployer.effect";
/// The epoch of the lock under which it was created: greater than that of any earlier run of the service.
pub const EPOCH: &str = "deployer.epoch";
/// The service that the object belongs to.
pub const SERVICE: &str = "deployer.service";
/// The object's part in the deploy: `live`, `candidate`, `lock` and so on.
pub const ROLE: &str = "deployer.role";
/// On a volume with the role `route`: the driver of the service's route, as JSON.
pub const ROUTE: &str = "deployer.route";
/// The number of a release of its service, on its containers.
pub const RELEASE: &str = "deployer.release";
/// The git commit that an image was built from.
pub const COMMIT: &str = "deployer.commit";
/// The same under its OCI name, which other builders set.
pub const REVISION: &str = "org.opencontainers.image.revision";
/// The volume that this one is a copy of.
pub const COPY_OF: &str = "deployer.copy.of";
/// On what marks an incomplete copy: the volume that is being created.
pub const COPY_TO: &str = "deployer.copy.to";
/// On the same: the ids of the containers that are paused during the copy, separated by commas.
pub const COPY_PAUSED: &str = "deployer.copy.paused";
/// The volume that this one is a snapshot of.
pub const SNAPSHOT_OF: &str = "deployer.snapshot.of";
/// When the snapshot was taken: RFC 3339, UTC.
pub const SNAPSHOT_AT: &str = "deployer.snapshot.at";
/// The name that an image was built under. Deployer may remove it.
pub const IMAGE: &str = "deployer.image";
