//! A disk of one megabyte, to run full. Mounting it needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of one megabyte, unmounted when dropped.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    pub fn mount(folder: &Path) -> Self {
        let path = folder.join("small");
        std::fs::create_dir(&path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&path).status().unwrap();
        assert!(mounted.success(), "the tests run as root");
        Self(path)
    }

    /// Fills it to the last byte.
    pub fn fill(&self) {
        let mut size = 1 << 20;
        let mut n = 0;
        while size > 0 {
            n += 1;
            if std::fs::write(self.0.join(format!("filler-{n}")), vec![0; size]).is_err() {
                size /= 2;
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whatever the test came to, the mount must not stay.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
