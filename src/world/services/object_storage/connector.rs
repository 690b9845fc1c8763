//! Opens the storage that an address belongs to.

use std::sync::Arc;

use super::s3::S3Bucket;
use super::storage::Storage;
use crate::base::object_url::ObjectUrl;
use crate::effect::EffectError;
use crate::effect::object::S3Access;
use crate::world::Call;
use crate::world::clock::Clock;
use crate::world::services::aws::account::{AwsAccount, AwsService};
use crate::world::services::cloudwatch::log_group::LogGroup;
use crate::world::services::environment::EnvLookup;
use crate::world::services::http::clients::HttpClients;

/// Opens object storage and log groups with the credentials of the request or of the machine.
#[derive(Clone)]
pub(crate) struct StorageConnector {
    clients: Arc<HttpClients>,
    env: EnvLookup,
    clock: Arc<dyn Clock>,
}

impl StorageConnector {
    pub(crate) fn new(clients: Arc<HttpClients>, env: EnvLookup, clock: Arc<dyn Clock>) -> Self {
        Self { clients, env, clock }
    }

    /// Opens the storage of an object.
    pub(crate) fn storage(&self, call: &Call, url: &ObjectUrl, access: &S3Access) -> Result<Storage, EffectError> {
        match url {
            ObjectUrl::File { .. } => Ok(Storage::Folder),
            ObjectUrl::S3 { bucket, .. } => {
                let account = AwsAccount::resolve(call, AwsService::S3, access, &self.env)?;
                S3Bucket::open(bucket, account, self.clients.storage()?).map(|bucket| Storage::S3(Box::new(bucket)))
            }
        }
    }

    /// Opens a log group of CloudWatch Logs.
    pub(super) fn log_group(&self, call: &Call, group: &str, access: &S3Access) -> Result<LogGroup, EffectError> {
        let account = AwsAccount::resolve(call, AwsService::CloudWatchLogs, access, &self.env)?;
        LogGroup::open(group, account, self.clients.storage()?, self.clock.clone()).map_err(EffectError::not_applied)
    }
}
