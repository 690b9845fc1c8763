//! Digests of contents, of entries and of whole trees. Knows nothing of where they are read from.

use sha2::{Digest, Sha256};

/// What is compared at once. Blocks of zeros count for nothing, so that holes need not be read.
const BLOCK: usize = 64 << 10;
/// How much is looked at to find out whether a block is zero.
const STRIDE: usize = 4 << 10;

/// The digest of one file's content: alike for a file with holes and for the same file with zeros in their place.
pub struct ContentDigest {
    sha: Sha256,
    block: Box<[u8]>,
    index: u64,
    /// Where what is written of the block ends.
    end: usize,
}

impl Default for ContentDigest {
    fn default() -> Self {
        Self { sha: Sha256::new(), block: vec![0; BLOCK].into_boxed_slice(), index: 0, end: 0 }
    }
}

impl ContentDigest {
    /// Takes the bytes at `offset`. Offsets may leave holes and never go back.
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

    /// The digest of a content of this length; the next one begins.
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

/// Zeros at the end of a block may be a hole elsewhere.
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

/// What is compared of an entry besides its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Below the root; empty for the root itself.
    pub path: Vec<u8>,
    /// `f`ile, `d`irectory, symbolic `l`ink, `p`ipe, `c`haracter or `b`lock device, `s`ocket.
    pub kind: u8,
    /// The permissions; nothing for a link, which has none.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: (i64, u32),
    /// The number of a device.
    pub device: u64,
    /// Where a symbolic link leads.
    pub target: Vec<u8>,
    /// Extended attributes, sorted by name.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Head {
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

    /// What differs from another, in a word; none when nothing does.
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let parts = [
            (self.path == other.path, "name"),
            (self.kind == other.kind, "kind"),
            (self.mode == other.mode, "mode"),
            ((self.uid, self.gid) == (other.uid, other.gid), "owner"),
            (self.mtime == other.mtime, "time of change"),
            (self.device == other.device, "device number"),
            (self.target == other.target, "link target"),
            (self.attributes == other.attributes, "extended attributes"),
        ];
        parts.into_iter().find(|(same, _)| !same).map(|(_, word)| word)
    }
}

/// The digest of all entries, whatever their order: the sum of theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeDigest([u8; 32]);

impl TreeDigest {
    /// Adds an entry; of what has no content, `content` is zero.
    pub fn add(&mut self, head: &Head, content: [u8; 32]) {
        let mut carry = 0;
        for (sum, byte) in self.0.iter_mut().zip(head.digest(content)) {
            let total = u16::from(*sum) + u16::from(byte) + carry;
            *sum = (total & 0xff) as u8;
            carry = total >> 8;
        }
    }

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
    fn holes_and_pieces_do_not_matter_and_bytes_do() {
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
    fn one_digest_serves_for_many_files() {
        let mut digest = ContentDigest::default();
        digest.update(100_000, b"left over");
        digest.finish(100_009);
        digest.update(0, b"x");
        assert_eq!(digest.finish(1), of(&[(0, b"x")], 1));
    }

    #[test]
    fn the_order_of_entries_does_not_matter() {
        let head = |path: &str, mode| Head { path: path.into(), kind: b'f', mode, ..Head::default() };
        let (mut one, mut other) = (TreeDigest::default(), TreeDigest::default());
        one.add(&head("a", 0o644), [1; 32]);
        one.add(&head("b", 0o600), [2; 32]);
        other.add(&head("b", 0o600), [2; 32]);
        other.add(&head("a", 0o644), [1; 32]);
        assert_eq!(one, other);
        other.add(&head("c", 0o600), [0; 32]);
        assert_ne!(one, other);
        assert_eq!(head("a", 0o644).difference(&head("a", 0o600)), Some("mode"));
    }
}
