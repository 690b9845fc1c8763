//! Ids that look like those of the engine, generated from a seed and a counter.

/// Generates ids in order.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    seed: u64,
    count: u64,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    /// Returns the next id: 64 hexadecimal digits.
    pub(crate) fn next(&mut self) -> String {
        self.count += 1;
        (0u64..4).map(|part| format!("{:016x}", mix(self.seed ^ (self.count << 2 | part)))).collect()
    }

    /// Returns how many ids were generated.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

/// Spreads neighbouring numbers over the whole range (the finaliser of MurmurHash3).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let number = (number ^ (number >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    number ^ (number >> 33)
}
