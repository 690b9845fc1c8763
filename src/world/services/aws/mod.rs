//! What object storage on S3 and log streams on CloudWatch Logs share: the account, its credentials and their errors.

pub(crate) mod account;
pub(crate) mod s3_client;
