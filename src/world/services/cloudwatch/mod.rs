//! Log streams in CloudWatch Logs. Knows no container.

mod log_batches;
pub(crate) mod log_group;
