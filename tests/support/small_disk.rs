//! A disk of one megabyte, for tests of full disks. Mounting it needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of one megabyte. It is unmounted on drop.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    pub fn mount(folder: &Path) -> Self {
        let path = folder.join("small");
        std::fs::create_dir(&path).unwrap();
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&path).status().unwrap();
        assert!(status.success(), "cannot mount a file system: run the tests as root");
        Self(path)
    }

    /// Fills the disk to the last byte.
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
        // Lazily, because a file may still be open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
