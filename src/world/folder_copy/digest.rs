//! Digests of file contents, of entries and of whole trees. Knows nothing of where they are read from.

use sha2::{Digest, Sha256};

/// The block size. Blocks of zeros do not count, so that holes need not be read.
const BLOCK: usize = 64 << 10;
/// The size of the pieces that are checked for zeros.
const STRIDE: usize = 4 << 10;

/// Computes the digest of a file's content. A file with holes has the same digest as the file with zeros in their
/// place.
pub struct ContentDigest {
    sha: Sha256,
    block: Box<[u8]>,
    index: u64,
    /// The end of the data in the block.
    end: usize,
}

impl Default for ContentDigest {
    fn default() -> Self {
        Self { sha: Sha256::new(), block: vec![0; BLOCK].into_boxed_slice(), index: 0, end: 0 }
    }
}

impl ContentDigest {
    /// Adds the bytes at `offset`. Offsets may leave holes, but never go back.
    pub fn update(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let index = offset / BLOCK as u64;
            let within = (offset % BLOCK as u64) as usize;
            if index != self.index {
                self.flush();
                self.index = index;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - within));
            if now.len() == BLOCK {
                absorb(&mut self.sha, index, now);
            } else {
                self.block[within..within + now.len()].copy_from_slice(now);
                self.end = within + now.len();
            }
            offset += now.len() as u64;
            bytes = rest;
        }
    }

    /// Returns the digest of a content of this length, and starts the next one.
    pub fn finish(&mut self, length: u64) -> [u8; 32] {
        self.flush();
        self.index = 0;
        self.sha.update(length.to_le_bytes());
        self.sha.finalize_reset().into()
    }

    fn flush(&mut self) {
        let end = std::mem::take(&mut self.end);
        absorb(&mut self.sha, self.index, &self.block[..end]);
        self.block[..end].fill(0);
    }
}

/// Adds a block without its trailing zeros, which may be a hole in another file.
fn absorb(sha: &mut Sha256, index: u64, block: &[u8]) {
    let zero = |stride: &[u8]| stride.iter().fold(0, |all, byte| all | byte) == 0;
    let mut end = block.len();
    while end > 0 {
        let start = (end - 1) / STRIDE * STRIDE;
        if !zero(&block[start..end]) {
            break;
        }
        end = start;
    }
    while end > 0 && block[end - 1] == 0 {
        end -= 1;
    }
    if end > 0 {
        sha.update(index.to_le_bytes());
        sha.update((end as u64).to_le_bytes());
        sha.update(&block[..end]);
    }
}

/// The metadata of an entry that a copy must preserve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryMetadata {
    /// The path below the root. Empty for the root itself.
    pub path: Vec<u8>,
    /// The type: `f`ile, `d`irectory, symbolic `l`ink, `p`ipe, `c`haracter or `b`lock device, `s`ocket.
    pub kind: u8,
    /// The permission bits. Zero for a symbolic link, which has none.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The time of the last modification: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// The device number of a device file.
    pub device: u64,
    /// The target of a symbolic link.
    pub target: Vec<u8>,
    /// The extended attributes, sorted by name.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl EntryMetadata {
    fn digest(&self, content: [u8; 32]) -> [u8; 32] {
        let mut sha = Sha256::new();
        let mut text = |bytes: &[u8]| {
            sha.update((bytes.len() as u64).to_le_bytes());
            sha.update(bytes);
        };
        text(&self.path);
        text(&self.target);
        self.attributes.iter().for_each(|(name, value)| {
            text(name);
            text(value);
        });
        text(&[self.kind]);
        for number in [self.mode, self.uid, self.gid, self.mtime.1] {
            sha.update(number.to_le_bytes());
        }
        sha.update(self.mtime.0.to_le_bytes());
        sha.update(self.device.to_le_bytes());
        sha.update(content);
        sha.finalize().into()
    }

    /// Names the first part that differs from another entry. `None` when they are equal.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let parts = [
            (self.path == other.path, "name"),
            (self.kind == other.kind, "kind"),
            (self.mode == other.mode, "mode"),
            ((self.uid, self.gid) == (other.uid, other.gid), "owner"),
            (self.mtime == other.mtime, "modification time"),
            (self.device == other.device, "device number"),
            (self.target == other.target, "link target"),
            (self.attributes == other.attributes, "extended attributes"),
        ];
        parts.into_iter().find(|(same, _)| !same).map(|(_, name)| name)
    }
}

/// The digest of all entries of a tree, in any order: the sum of their digests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeDigest([u8; 32]);

impl TreeDigest {
    /// Adds an entry. `content` is zero for an entry without content.
    pub fn add(&mut self, entry: &EntryMetadata, content: [u8; 32]) {
        let mut carry = 0;
        for (sum, byte) in self.0.iter_mut().zip(entry.digest(content)) {
            let total = u16::from(*sum) + u16::from(byte) + carry;
            *sum = (total & 0xff) as u8;
            carry = total >> 8;
        }
    }

    /// Returns the digest as `sha256:` and hexadecimal digits.
    pub fn text(&self) -> String {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{digits}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pieces: &[(u64, &[u8])], length: u64) -> [u8; 32] {
        let mut digest = ContentDigest::default();
        pieces.iter().for_each(|(offset, bytes)| digest.update(*offset, bytes));
        digest.finish(length)
    }

    #[test]
    fn depends_on_bytes_and_not_on_holes_or_chunks() {
        let mut whole = vec![0u8; 300_000];
        whole[10] = 1;
        whole[200_000] = 2;
        let plain = of(&[(0, &whole)], 300_000);
        assert_eq!(plain, of(&[(10, &[1]), (200_000, &[2])], 300_000));
        assert_eq!(plain, of(&[(0, &whole[..70_000]), (70_000, &whole[70_000..])], 300_000));
        assert_ne!(plain, of(&[(11, &[1]), (200_000, &[2])], 300_000));
        assert_ne!(plain, of(&[(0, &whole)], 300_001));
        assert_ne!(of(&[(0, &[7])], 1), of(&[(65_536, &[7])], 65_537));
    }

    #[test]
    fn one_digest_is_reused_for_many_files() {
        let mut digest = ContentDigest::default();
        digest.update(100_000, b"remainder");
        digest.finish(100_009);
        digest.update(0, b"x");
        assert_eq!(digest.finish(1), of(&[(0, b"x")], 1));
    }

    #[test]
    fn the_order_of_entries_does_not_matter() {
        let entry =
            |path: &str, mode| EntryMetadata { path: path.into(), kind: b'f', mode, ..EntryMetadata::default() };
        let (mut left, mut right) = (TreeDigest::default(), TreeDigest::default());
        left.add(&entry("a", 0o644), [1; 32]);
        left.add(&entry("b", 0o600), [2; 32]);
        right.add(&entry("b", 0o600), [2; 32]);
        right.add(&entry("a", 0o644), [1; 32]);
        assert_eq!(left, right);
        right.add(&entry("c", 0o600), [0; 32]);
        assert_ne!(left, right);
        assert_eq!(entry("a", 0o644).difference(&entry("a", 0o600)), Some("mode"));
    }
}
