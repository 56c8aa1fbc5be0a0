//! The Rust twins of the rows in bench/: the same workloads, the same data, the same checksums.
//!
//! usage: spgrust tokio|compio|monoio|may ROW [--workers N] [--ops N] [--min-ms N] [--addr HOST:PORT]
//!                   [--peer-pid PID] [--once]
//!
//! Tokio and may have N worker threads. Compio and Monoio are one runtime on one thread, or, where a
//! row has several streams, with N > 1 one runtime a thread and the streams dealt out.
//! Each row prints one JSON line.

mod compio_rows;
mod may_rows;
mod monoio_rows;
mod tokio_rows;
mod tokio_service;
mod servers;
mod work;

use std::time::{Duration, Instant};

pub struct Options {
    pub workers: usize,
    pub ops: u64,
    pub min_ms: u64,
    pub addr: String,
    /// The peer, whose CPU time is read around the passes; 0: none.
    pub peer_pid: i32,
    /// One pass and no warm-up: the program is measured from outside.
    pub once: bool,
}

fn usage() -> ! {
    eprintln!("usage: spgrust tokio|compio|monoio|may ROW [--workers N] [--ops N] [--min-ms N] [--addr HOST:PORT]");
    std::process::exit(2)
}

fn parse() -> (String, String, Options) {
    let mut o = Options { workers: 2, ops: 100_000, min_ms: 200, addr: "127.0.0.1:7777".into(), peer_pid: 0, once: false };
    let mut args = std::env::args().skip(1);
    let (Some(runtime), Some(row)) = (args.next(), args.next()) else { usage() };
    while let Some(name) = args.next() {
        if name == "--once" {
            o.once = true;
            continue;
        }
        let Some(value) = args.next() else { usage() };
        let number = || value.parse::<u64>().unwrap_or_else(|_| usage());
        match name.as_str() {
            "--workers" => o.workers = number() as usize,
            "--ops" => o.ops = number(),
            "--min-ms" => o.min_ms = number(),
            "--peer-pid" => o.peer_pid = number() as i32,
            "--addr" => o.addr = value.clone(),
            _ => usage(),
        }
    }
    (runtime, row, o)
}

/// A number of /proc/self/status.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: t is a valid timespec.
    unsafe { libc::clock_gettime(clock, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

fn rusage() -> libc::rusage {
    // SAFETY: a rusage is plain numbers, and getrusage fills it.
    unsafe {
        let mut r: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut r);
        r
    }
}

/// What the process, and its peer, have used up: CPU ns, the peer's, context switches, involuntary ones.
fn used(o: &Options) -> [u64; 4] {
    let (r, mut clock) = (rusage(), 0);
    // SAFETY: clock is a valid clockid_t.
    let peer = o.peer_pid > 0 && unsafe { libc::clock_getcpuclockid(o.peer_pid, &mut clock) } == 0;
    [
        clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID),
        if peer { clock_ns(clock) } else { 0 },
        (r.ru_nvcsw + r.ru_nivcsw) as u64,
        r.ru_nivcsw as u64,
    ]
}

/// Repeats `pass` until min_ms were measured, after a tenth as warm-up; every pass gives the same sum.
fn measure(runtime: &str, row: &str, o: &Options, pass: &mut dyn FnMut(u64) -> u64) {
    if !o.once {
        pass(o.ops / 10 + 1);
    }
    work::reset_latencies();
    let (mut wall, mut all, mut passes, mut sum) = (Duration::ZERO, [0; 4], 0u64, 0);
    while passes == 0 || (wall < Duration::from_millis(o.min_ms) && !o.once) {
        let (before, start) = (used(o), Instant::now());
        let got = pass(o.ops);
        wall += start.elapsed();
        for (total, (after, before)) in all.iter_mut().zip(used(o).into_iter().zip(before)) {
            *total += after - before;
        }
        if passes > 0 && got != sum {
            eprintln!("spgrust: {row}: checksum {got:016x}, before {sum:016x}");
            std::process::exit(1);
        }
        sum = got;
        passes += 1;
    }
    let total = (o.ops * passes) as f64;
    let [cpu, peer, switches, preempted] = all.map(|n| n as f64 / total);
    let names = if row == "sleepers" { ["late_p50_us", "late_p99_us", "late_p999_us"] } else { ["p50_us", "p99_us", "p999_us"] };
    let latencies: String = names
        .iter()
        .zip([500_000, 990_000, 999_000])
        .filter_map(|(name, ppm)| work::percentile(ppm).map(|us| format!("\"{name}\": {us:.3}, ")))
        .collect();
    println!(
        "{{\"row\": \"{row}\", \"runtime\": \"{runtime}\", \"ns_per_op\": {:.3}, \"cpu_ns_per_op\": {cpu:.3}, \
         \"peer_cpu_ns_per_op\": {peer:.3}, \"switches_per_op\": {switches:.6}, \"preempted_per_op\": {preempted:.6}, \
         {latencies}\"threads\": {}, \"rss_kib\": {}, \
         \"ops\": {}, \"passes\": {passes}, \"workers\": {}, \"checksum\": \"{sum:016x}\"}}",
        wall.as_nanos() as f64 / total,
        status("Threads:"),
        status("VmHWM:"),
        o.ops,
        o.workers
    );
}

fn main() {
    let (runtime, row, o) = parse();
    if row == "echo" {
        servers::echo(&runtime, &o);
        return;
    }
    let pass = match runtime.as_str() {
        "tokio" => tokio_rows::pass(&row, &o),
        "compio" => compio_rows::pass(&row, &o),
        "monoio" => monoio_rows::pass(&row, &o),
        "may" => may_rows::pass(&row, &o),
        _ => usage(),
    };
    let Some(mut pass) = pass else {
        eprintln!("spgrust: {runtime} has no row {row}");
        std::process::exit(2)
    };
    measure(&runtime, &row, &o, &mut *pass);
}
