//! What all runtimes share: the data, the work, and the shapes of the workloads.

use std::cell::{Cell, RefCell};
use std::future::{poll_fn, Future};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

pub const STREAMS: u64 = 8;
pub const BRANCHES: u64 = 16;
pub const BLOCK: usize = 4096;
pub const FRAMES_BYTES: usize = 32 * 4096;

pub const FIRST_K: u64 = 2;
pub const FS_BLOCKS: u64 = 128;
pub const DEADLINE_BLOCKS: u64 = 256;

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
    RotationSync,
    KeyedSum,
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
            "net_rotation_sync" => Shape::RotationSync,
            "net_keyed_sum" => Shape::KeyedSum,
            "net_pipeline" => Shape::Pipeline,
            "net_flip" => Shape::Flip,
            _ => return None,
        })
    }

    pub fn plan(self, ops: u64) -> Plan {
        let (payload, window, barrier, steps) = match self {
            Shape::Rtt => (256, 1, false, 1),
            Shape::Window | Shape::Imbalanced => (4096, 32, false, 1),
            Shape::Rotation | Shape::KeyedSum => (4096, 32, false, ops / 46),
            Shape::RotationSync => (4096, 32, true, ops / 46),
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
            Shape::Rotation | Shape::RotationSync | Shape::KeyedSum => (step, if step % STREAMS == id { 32 } else { 2 }),
            Shape::Pipeline => (step * 32, (ops / STREAMS - step * 32).min(32)),
            Shape::Flip => (step, if step / 10 % STREAMS == id { 96 } else { 2 }),
        }
    }

    /// Before and after a pass: the owners' sums of net_keyed_sum.
    pub fn begin(self) {
        OWNERS.iter().for_each(|o| o.store(0, Ordering::Relaxed));
    }

    pub fn finish(self, sum: u64) -> u64 {
        sum.wrapping_add(OWNERS[0].load(Ordering::Relaxed) + OWNERS[1].load(Ordering::Relaxed) * 3)
    }

    /// The work after a step's frames, added to the stream's sum.
    pub fn after(self, id: u64, first: u64, frames: u64) -> u64 {
        if let Shape::KeyedSum = self {
            for _ in 0..frames * 16 {
                OWNERS[first as usize % 2].fetch_add(1, Ordering::Relaxed);
            }
        }
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

/// Every sixteenth read is timed: two looks at the clock cost a tenth of one.
pub fn sampled(i: u64) -> bool {
    i / 32 % 16 == 0
}

/// Whether stream `id` answers request `number` of net_first_k.
pub fn wins(id: u64, number: u64) -> bool {
    (id + STREAMS - FIRST_K * number % STREAMS) % STREAMS < FIRST_K
}

static OWNERS: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

// A log-linear histogram of latencies, shared by all: twin of tools/hist.h.
const SUB_BITS: u32 = 7;
const SUB: usize = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize - 1) * SUB + 2 * SUB;
static LATENCIES: [AtomicU64; BUCKETS] = [const { AtomicU64::new(0) }; BUCKETS];
static LATENCY_MAX: AtomicU64 = AtomicU64::new(0);

fn bucket(value: u64) -> usize {
    if value < 2 * SUB as u64 {
        return value as usize;
    }
    let shift = 63 - value.leading_zeros() - SUB_BITS;
    shift as usize * SUB + (value >> shift) as usize
}

fn upper(index: usize) -> u64 {
    let shift = if index < 2 * SUB { 0 } else { index / SUB - 1 };
    (((index - shift * SUB) as u64) << shift) + ((1u64 << shift) - 1)
}

/// Notes that what began at `start` is done.
pub fn record(start: Instant) {
    let value = start.elapsed().as_nanos() as u64;
    LATENCIES[bucket(value)].fetch_add(1, Ordering::Relaxed);
    LATENCY_MAX.fetch_max(value, Ordering::Relaxed);
}

pub fn reset_latencies() {
    LATENCIES.iter().for_each(|b| b.store(0, Ordering::Relaxed));
    LATENCY_MAX.store(0, Ordering::Relaxed);
}

/// In us, what `ppm` millionths do not exceed; None where nothing was recorded.
pub fn percentile(ppm: u64) -> Option<f64> {
    let count: u64 = LATENCIES.iter().map(|b| b.load(Ordering::Relaxed)).sum();
    let rank = (count * ppm).div_ceil(1_000_000).max(1);
    let mut seen = 0;
    let index = (0..BUCKETS).find(|&i| {
        seen += LATENCIES[i].load(Ordering::Relaxed);
        seen >= rank
    })?;
    Some(upper(index).min(LATENCY_MAX.load(Ordering::Relaxed)) as f64 / 1e3)
}

/// An event of one thread.
#[derive(Default)]
pub struct Flag {
    raised: Cell<bool>,
    wakers: RefCell<Vec<Waker>>,
}

impl Flag {
    pub fn raise(&self) {
        self.raised.set(true);
        self.wakers.take().into_iter().for_each(Waker::wake);
    }

    pub async fn wait(&self) {
        poll_fn(|cx| {
            if self.raised.get() {
                return Poll::Ready(());
            }
            self.wakers.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// The result of `a`, or None when `end` came first; the loser is dropped.
pub async fn unless<T>(a: impl Future<Output = T>, end: impl Future<Output = ()>) -> Option<T> {
    let (mut a, mut end) = (pin!(a), pin!(end));
    poll_fn(|cx| match (a.as_mut().poll(cx), end.as_mut().poll(cx)) {
        (Poll::Ready(value), _) => Poll::Ready(Some(value)),
        (_, Poll::Ready(())) => Poll::Ready(None),
        _ => Poll::Pending,
    })
    .await
}

/// Closing the socket resets the connection: it leaves no TIME_WAIT behind, the ports would run out.
pub fn reset_on_close(conn: &impl std::os::fd::AsRawFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let len = std::mem::size_of_val(&linger) as libc::socklen_t;
    // SAFETY: the option's value is a linger of that size.
    let err = unsafe {
        libc::setsockopt(conn.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), len)
    };
    assert_eq!(err, 0, "linger");
}

pub const SLEEPERS: u64 = 10_000;

/// The n-th nap of a sleeper: 1 to 50 ms.
pub fn nap(id: u64, n: u64) -> Duration {
    Duration::from_nanos(1_000_000 + mix(id * 1_000_003 + n) % 49_000_000)
}

pub fn naps_sum(naps: u64) -> u64 {
    (0..SLEEPERS).flat_map(|id| (0..naps).map(move |n| nap(id, n).as_nanos() as u64)).sum()
}
