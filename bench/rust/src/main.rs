//! The Rust twins of the rows in bench/: the same workloads, the same data, the same checksums.
//!
//! usage: spgrust tokio|compio|monoio|may ROW [--workers N] [--ops N] [--min-ms N] [--addr HOST:PORT]
//!
//! Tokio and may have N worker threads. Compio and Monoio are one runtime on one thread, or, where a
//! row has several streams, with N > 1 one runtime a thread and the streams dealt out.
//! Each row prints one JSON line.

mod compio_rows;
mod may_rows;
mod monoio_rows;
mod tokio_msg;
mod tokio_rows;
mod work;

use std::time::{Duration, Instant};

pub struct Options {
    pub workers: usize,
    pub ops: u64,
    pub min_ms: u64,
    pub addr: String,
}

fn usage() -> ! {
    eprintln!("usage: spgrust tokio|compio|monoio|may ROW [--workers N] [--ops N] [--min-ms N] [--addr HOST:PORT]");
    std::process::exit(2)
}

fn parse() -> (String, String, Options) {
    let mut o = Options { workers: 2, ops: 100_000, min_ms: 200, addr: "127.0.0.1:7777".into() };
    let mut args = std::env::args().skip(1);
    let (Some(runtime), Some(row)) = (args.next(), args.next()) else { usage() };
    while let Some(name) = args.next() {
        let Some(value) = args.next() else { usage() };
        let number = || value.parse::<u64>().unwrap_or_else(|_| usage());
        match name.as_str() {
            "--workers" => o.workers = number() as usize,
            "--ops" => o.ops = number(),
            "--min-ms" => o.min_ms = number(),
            "--addr" => o.addr = value.clone(),
            _ => usage(),
        }
    }
    (runtime, row, o)
}

/// CPU time of the process, all threads.
fn cpu_ns() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: t is a valid timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Repeats `pass` until min_ms were measured, after a tenth as warm-up; every pass gives the same sum.
fn measure(runtime: &str, row: &str, o: &Options, pass: &mut dyn FnMut(u64) -> u64) {
    pass(o.ops / 10 + 1);
    let (mut wall, mut cpu, mut passes, mut sum) = (Duration::ZERO, 0, 0u64, 0);
    while wall < Duration::from_millis(o.min_ms) || passes == 0 {
        let (cpu_start, start) = (cpu_ns(), Instant::now());
        let got = pass(o.ops);
        wall += start.elapsed();
        cpu += cpu_ns() - cpu_start;
        if passes > 0 && got != sum {
            eprintln!("spgrust: {row}: checksum {got:016x}, before {sum:016x}");
            std::process::exit(1);
        }
        sum = got;
        passes += 1;
    }
    let total = (o.ops * passes) as f64;
    println!(
        "{{\"row\": \"{row}\", \"runtime\": \"{runtime}\", \"ns_per_op\": {:.3}, \"cpu_ns_per_op\": {:.3}, \
         \"ops\": {}, \"passes\": {passes}, \"workers\": {}, \"checksum\": \"{sum:016x}\"}}",
        wall.as_nanos() as f64 / total,
        cpu as f64 / total,
        o.ops,
        o.workers
    );
}

fn main() {
    let (runtime, row, o) = parse();
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
