//! What all runtimes share: the data, the work, and the shapes of the workloads.

pub const STREAMS: u64 = 8;
pub const BRANCHES: u64 = 16;
pub const BLOCK: usize = 4096;
pub const FRAMES_BYTES: usize = 32 * 4096;

pub type Pass = Box<dyn FnMut(u64) -> u64>;

/// Spreads a counter over 64 bits. Twin of bench_mix in bench.h.
pub fn mix(mut x: u64) -> u64 {
    x ^= x >> 31;
    x = x.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^ x >> 29
}

pub fn synthetic_work(seed: u64, n: u64) -> u64 {
    let mut x = seed ^ 0x9E37_79B9_7F4A_7C15;
    for i in 0..n {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407 ^ i);
        x ^= x >> 29;
    }
    x
}

pub fn cpu_stage(seed: u64, stream: u64, frame: u64, iters: u64) -> u64 {
    let mut x = seed << 40 ^ stream << 17 ^ frame << 3 ^ 0x9E37_79B9_7F4A_7C15;
    for i in 0..iters {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x = x.wrapping_add(i.wrapping_mul(0x27D4_EB2D));
    }
    x
}

/// What one stream does in one pass, phase by phase: frames to send, and the work after each batch.
#[derive(Clone, Copy)]
pub enum Shape {
    Rtt,
    Window,
    Imbalanced,
    Rotation,
    Pipeline,
    Flip,
}

pub struct Plan {
    pub payload: usize,
    pub window: u64,
    /// All streams wait for one another after each step.
    pub barrier: bool,
    pub steps: u64,
}

impl Shape {
    pub fn of(row: &str) -> Option<Shape> {
        Some(match row {
            "net_rtt" => Shape::Rtt,
            "net_window" => Shape::Window,
            "net_imbalanced" => Shape::Imbalanced,
            "net_rotation" => Shape::Rotation,
            "net_pipeline" => Shape::Pipeline,
            "net_flip" => Shape::Flip,
            _ => return None,
        })
    }

    pub fn plan(self, ops: u64) -> Plan {
        let (payload, window, barrier, steps) = match self {
            Shape::Rtt => (256, 1, false, 1),
            Shape::Window | Shape::Imbalanced => (4096, 32, false, 1),
            Shape::Rotation => (4096, 32, false, ops / 46),
            Shape::Pipeline => (4096, 32, false, (ops / STREAMS).div_ceil(32)),
            Shape::Flip => (4096, 32, true, ops / 110),
        };
        Plan { payload, window, barrier, steps }
    }

    pub fn streams(self) -> u64 {
        match self {
            Shape::Rtt | Shape::Window => 1,
            _ => STREAMS,
        }
    }

    /// (number of the first frame, how many) of a stream in a step.
    pub fn frames(self, ops: u64, id: u64, step: u64) -> (u64, u64) {
        match self {
            Shape::Rtt | Shape::Window => (0, ops),
            Shape::Imbalanced => (0, if id == 0 { ops * 16 / 23 } else { ops / 23 }),
            Shape::Rotation => (step, if step % STREAMS == id { 32 } else { 2 }),
            Shape::Pipeline => (step * 32, (ops / STREAMS - step * 32).min(32)),
            Shape::Flip => (step, if step / 10 % STREAMS == id { 96 } else { 2 }),
        }
    }

    /// The work after a step's frames, added to the stream's sum.
    pub fn after(self, id: u64, first: u64, frames: u64) -> u64 {
        let Shape::Pipeline = self else { return 0 };
        (first..first + frames)
            .map(|frame| cpu_stage(1, id, frame, if frame / 64 % STREAMS == id { 4000 } else { 150 }))
            .fold(0, u64::wrapping_add)
    }
}

/// Writes the frames' numbers; the first byte of each.
pub fn number_frames(buf: &mut [u8], payload: usize, first: u64, batch: u64) {
    for k in 0..batch {
        buf[k as usize * payload] = (first + k) as u8;
    }
}

pub fn sum_frames(buf: &[u8], payload: usize, batch: u64) -> u64 {
    (0..batch).map(|k| u64::from(buf[k as usize * payload])).sum()
}

pub fn total(sums: impl Iterator<Item = (u64, u64)>) -> u64 {
    sums.fold(0u64, |sum, (id, s)| sum.wrapping_add(s.wrapping_mul(id + 1)))
}

/// 16 MiB in the page cache: every block holds its number and 0xA5.
pub fn make_file() -> std::fs::File {
    use std::os::unix::fs::FileExt;
    let path = std::env::temp_dir().join(format!("spg-bench-{}", std::process::id()));
    let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path).expect("a file");
    std::fs::remove_file(&path).expect("unlink");
    let mut block = [0xA5u8; BLOCK];
    for i in 0..4096u64 {
        block[..8].copy_from_slice(&i.to_le_bytes());
        file.write_all_at(&block, i * BLOCK as u64).expect("write");
    }
    file.sync_all().expect("sync");
    file
}

pub fn block_sum(buf: &[u8]) -> u64 {
    u64::from_le_bytes(buf[..8].try_into().unwrap()) + u64::from(buf[8])
}
