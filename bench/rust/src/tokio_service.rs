//! Tokio: services, and the rows of its channels, locks and timers.

use crate::tokio_rows::{on_workers, open, read_block, Stream};
use crate::work::*;
use crate::Options;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch, Mutex};
use tokio::time::sleep;

pub const ROWS: [&str; 14] = [
    "net_fs",
    "net_deadline",
    "net_first_k",
    "timer_storm",
    "steady_one_way_send_drain",
    "steady_one_way_send_drain_batched_64",
    "steady_one_way_send_drain_all",
    "skynet",
    "sieve",
    "select4",
    "select4_buf",
    "mutex",
    "mutex_two",
    "sleepers",
];

/// Its timers tick once a millisecond: a round takes one.
async fn storm(rounds: u64, batch: u64, timed: bool) {
    for _ in 0..rounds {
        let start = Instant::now();
        for _ in 0..batch {
            // Polled once, so that the timer is armed, then dropped.
            let mut timer = std::pin::pin!(sleep(Duration::from_micros(200)));
            std::future::poll_fn(|cx| {
                let _ = timer.as_mut().poll(cx);
                std::task::Poll::Ready(())
            })
            .await;
        }
        sleep(Duration::from_micros(1)).await;
        if timed {
            record(start);
        }
    }
}

async fn trips(mut s: Stream) -> Stream {
    for step in (s.id..1024).step_by(STREAMS as usize) {
        s.windowed(step, 1, 256, 1).await;
    }
    s
}

struct Race {
    answers: AtomicU64,
    canceled: AtomicU64,
    end: watch::Sender<bool>,
}

async fn racer(race: Arc<Race>, mut s: Stream, number: u64) -> Stream {
    if wins(s.id, number) {
        s.exchanged(number, 1, 256).await;
        if race.answers.fetch_add(1, Ordering::Relaxed) == FIRST_K - 1 {
            race.end.send_replace(true);
        }
        return s;
    }
    let (mut end, mut byte) = (race.end.subscribe(), [0]);
    tokio::select! {
        _ = end.wait_for(|ended| *ended) => race.canceled.fetch_add(1, Ordering::Relaxed),
        _ = s.conn.read(&mut byte) => panic!("a loser was not canceled"),
    };
    s
}

async fn all<T: Send + 'static>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.expect("task"));
    }
    done
}

async fn first_k(mut streams: Vec<Stream>, ops: u64) -> (Vec<Stream>, u64) {
    let mut canceled = 0;
    for number in 0..ops {
        let start = Instant::now();
        let race = Arc::new(Race { answers: 0.into(), canceled: 0.into(), end: watch::channel(false).0 });
        streams = all(streams.drain(..).map(|s| tokio::spawn(racer(race.clone(), s, number))).collect()).await;
        canceled += race.canceled.load(Ordering::Relaxed);
        record(start);
    }
    (streams, canceled)
}

async fn service(row: &str, mut streams: Vec<Stream>, file: Arc<std::fs::File>, ops: u64) -> (Vec<Stream>, u64) {
    let (mut more, mut buf) = (0, vec![0; BLOCK]);
    streams.iter_mut().for_each(|s| s.sum = 0);
    match row {
        "net_fs" => {
            for i in 0..ops {
                let (back, got) = read_block(file.clone(), buf, i % FS_BLOCKS).await;
                (buf, more) = (back, more + got);
                streams[0].windowed(i, 1, 256, 1).await;
            }
        }
        "net_deadline" => {
            for part in 0..ops / 1024 {
                storm(32, 4, false).await;
                for i in 0..64 {
                    let (back, got) = read_block(file.clone(), buf, (part * 64 + i) % DEADLINE_BLOCKS).await;
                    (buf, more) = (back, more + got);
                }
                streams = all(streams.drain(..).map(|s| tokio::spawn(trips(s))).collect()).await;
            }
        }
        _ => (streams, more) = first_k(streams, ops).await,
    }
    (streams, more)
}

fn service_pass(rt: Runtime, row: &'static str, addr: String) -> Pass {
    let mut streams = rt.block_on(open(&addr, STREAMS));
    let file = Arc::new(make_file());
    Box::new(move |ops| {
        let (taken, file) = (std::mem::take(&mut streams), file.clone());
        let (back, more) = rt.block_on(async { tokio::spawn(service(row, taken, file, ops)).await.expect("task") });
        streams = back;
        total(streams.iter().map(|s| (s.id, s.sum))) + more
    })
}

const ITERATION: u64 = 2048;

/// Some is a batch, None is FLUSH.
async fn one_way(ops: u64, batch: u64) -> u64 {
    let (out, mut values) = mpsc::unbounded_channel::<Option<Vec<u32>>>();
    let (ack, mut acks) = mpsc::unbounded_channel::<()>();
    tokio::spawn(async move {
        for at in (0..ops).step_by(ITERATION as usize) {
            let end = ops.min(at + ITERATION);
            for first in (at..end).step_by(batch as usize) {
                out.send(Some((first..end.min(first + batch)).map(|i| mix(i) as u32).collect())).expect("send");
            }
            out.send(None).expect("send");
            acks.recv().await.expect("ack");
        }
    });
    let (mut sum, mut count) = (0u64, 0u64);
    while let Some(some) = values.recv().await {
        let Some(some) = some else {
            ack.send(()).expect("ack");
            continue;
        };
        for value in some {
            sum = sum.wrapping_add(u64::from(value) ^ count);
            count += 1;
        }
    }
    assert_eq!(count, ops);
    sum
}

/// A message a value: no vector.
async fn one_way_single(ops: u64) -> u64 {
    let (out, mut values) = mpsc::unbounded_channel::<Option<u32>>();
    let (ack, mut acks) = mpsc::unbounded_channel::<()>();
    tokio::spawn(async move {
        for at in (0..ops).step_by(ITERATION as usize) {
            (at..ops.min(at + ITERATION)).for_each(|i| out.send(Some(mix(i) as u32)).expect("send"));
            out.send(None).expect("send");
            acks.recv().await.expect("ack");
        }
    });
    let (mut sum, mut count) = (0u64, 0u64);
    while let Some(value) = values.recv().await {
        let Some(value) = value else {
            ack.send(()).expect("ack");
            continue;
        };
        sum = sum.wrapping_add(u64::from(value) ^ count);
        count += 1;
    }
    assert_eq!(count, ops);
    sum
}

fn skynet(parent: mpsc::Sender<u64>, number: u64, leaves: u64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let mut sum = number;
        if leaves > 1 {
            let (tx, mut below) = mpsc::channel(10);
            for i in 0..10 {
                tokio::spawn(skynet(tx.clone(), number + i * (leaves / 10), leaves / 10));
            }
            sum = 0;
            for _ in 0..10 {
                sum += below.recv().await.expect("sum");
            }
        }
        parent.send(sum).await.expect("send");
    })
}

async fn skynet_root(ops: u64) -> u64 {
    let mut leaves = 1;
    while leaves * 10 <= ops {
        leaves *= 10;
    }
    let (tx, mut root) = mpsc::channel(1);
    tokio::spawn(skynet(tx, 0, leaves));
    let sum = root.recv().await.expect("sum");
    assert_eq!(sum, leaves * (leaves - 1) / 2);
    sum
}

fn prime_last(n: u64) -> u64 {
    (2u64..).filter(|&c| (2..).take_while(|d| d * d <= c).all(|d| c % d != 0)).nth(n as usize - 1).expect("a prime")
}

/// Channels of 1: there is no rendezvous.
async fn sieve(ops: u64) -> u64 {
    let (tx, mut from) = mpsc::channel::<u64>(1);
    let last = prime_last(ops);
    tokio::spawn(async move {
        for i in 2..=last {
            tx.send(i).await.expect("send");
        }
    });
    let mut sum = 0;
    for _ in 0..ops {
        let prime = from.recv().await.expect("prime");
        sum += prime;
        let (tx, next) = mpsc::channel(1);
        let mut below = std::mem::replace(&mut from, next);
        tokio::spawn(async move {
            while let Some(i) = below.recv().await {
                if i % prime != 0 {
                    tx.send(i).await.expect("send");
                }
            }
        });
    }
    assert_eq!(from.recv().await, None, "a prime too many");
    sum
}

async fn select4(ops: u64, capacity: usize) -> u64 {
    let (mut tx, mut rx) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let (t, r) = mpsc::channel::<u64>(capacity);
        tx.push(t);
        rx.push(r);
    }
    let sender = tokio::spawn(async move {
        for i in 0..ops {
            tx[i as usize % 4].send(mix(i)).await.expect("send");
        }
        tx
    });
    let [a, b, c, d] = &mut rx[..] else { unreachable!() };
    let mut sum = 0u64;
    for _ in 0..ops {
        let value = tokio::select! {
            Some(v) = a.recv() => v,
            Some(v) = b.recv() => v,
            Some(v) = c.recv() => v,
            Some(v) = d.recv() => v,
        };
        sum = sum.wrapping_add(value);
    }
    sender.await.expect("task");
    sum
}

async fn mutex(ops: u64, n: u64) -> u64 {
    let lock = Arc::new(Mutex::new(0u64));
    let tasks = (0..n)
        .map(|_| {
            let lock = lock.clone();
            tokio::spawn(async move {
                for _ in 0..ops / n {
                    *lock.lock().await += 1;
                }
            })
        })
        .collect();
    all(tasks).await;
    let value = *lock.lock().await;
    value
}

async fn sleepers(ops: u64) -> u64 {
    let naps = (ops / SLEEPERS).max(1);
    let tasks = (0..SLEEPERS)
        .map(|id| {
            tokio::spawn(async move {
                for n in 0..naps {
                    let due = Instant::now() + nap(id, n);
                    sleep(nap(id, n)).await;
                    record(due);
                }
            })
        })
        .collect();
    all(tasks).await;
    naps_sum(naps)
}

pub fn pass(rt: Runtime, row: &'static str, o: &Options) -> Pass {
    match row {
        "timer_storm" => on_workers(rt, |ops| async move {
            storm(ops, 8, true).await;
            ops * 8
        }),
        "steady_one_way_send_drain" => on_workers(rt, one_way_single),
        "steady_one_way_send_drain_batched_64" => on_workers(rt, |ops| one_way(ops, 64)),
        "steady_one_way_send_drain_all" => on_workers(rt, |ops| one_way(ops, ITERATION)),
        "skynet" => on_workers(rt, skynet_root),
        "sieve" => on_workers(rt, sieve),
        "select4" => on_workers(rt, |ops| select4(ops, 1)),
        "select4_buf" => on_workers(rt, |ops| select4(ops, 128)),
        "mutex" => on_workers(rt, |ops| mutex(ops, 1)),
        "mutex_two" => on_workers(rt, |ops| mutex(ops, 2)),
        "sleepers" => on_workers(rt, sleepers),
        _ => service_pass(rt, row, o.addr.clone()),
    }
}
