//! The labels that deployer writes on everything it creates. They answer "whose is this?" from any machine.

/// The run that created the object.
pub const RUN: &str = "deployer.run";
/// The effect, as `RUN/SEQ`, that created the object: the answer to "did it happen?" after a crash.
pub const EFFECT: &str = "deployer.effect";
/// The number of the lock under which it was created: greater than that of any earlier run of the service.
pub const EPOCH: &str = "deployer.epoch";
/// The service that the object belongs to.
pub const SERVICE: &str = "deployer.service";
/// The object's part in the deploy: `live`, `candidate`, `lock` ...
pub const ROLE: &str = "deployer.role";
/// On a volume with the role `route`: which program drives the service's route, as JSON.
pub const ROUTE: &str = "deployer.route";
/// The git commit that an image was built from.
pub const COMMIT: &str = "deployer.commit";
/// The volume that this one is a copy of.
pub const COPY_OF: &str = "deployer.copy.of";
/// On what stands as long as a copy is not whole: the volume that is being made.
pub const COPY_TO: &str = "deployer.copy.to";
/// On the same: ids of the containers that are halted meanwhile, with commas between them.
pub const COPY_PAUSED: &str = "deployer.copy.paused";
/// The volume that this one is a snapshot of.
pub const SNAPSHOT_OF: &str = "deployer.snapshot.of";
/// When the snapshot was taken: RFC 3339, UTC.
pub const SNAPSHOT_AT: &str = "deployer.snapshot.at";
/// The same, as OCI names it: what builders other than deployer write.
pub const REVISION: &str = "org.opencontainers.image.revision";
/// The name that an image was built under: one of the names that are deployer's to take away.
pub const IMAGE: &str = "deployer.image";
