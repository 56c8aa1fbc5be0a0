//! Tokio: a multi-thread runtime with as many workers as spg has shards.

use crate::work::*;
use crate::{tokio_service, Options};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

pub struct Stream {
    pub conn: TcpStream,
    pub id: u64,
    pub buf: Vec<u8>,
    pub sum: u64,
}

async fn dial(addr: &str) -> TcpStream {
    let conn = TcpStream::connect(addr).await.expect("connect");
    conn.set_nodelay(true).expect("nodelay");
    conn
}

pub async fn open(addr: &str, n: u64) -> Vec<Stream> {
    let mut streams = Vec::new();
    for id in 0..n {
        streams.push(Stream { conn: dial(addr).await, id, buf: vec![0; FRAMES_BYTES], sum: 0 });
    }
    streams
}

impl Stream {
    /// A window that is not recorded.
    pub async fn exchanged(&mut self, first: u64, frames: u64, payload: usize) {
        let bytes = frames as usize * payload;
        number_frames(&mut self.buf, payload, first, frames);
        self.conn.write_all(&self.buf[..bytes]).await.expect("write");
        self.conn.read_exact(&mut self.buf[..bytes]).await.expect("read");
        self.sum = self.sum.wrapping_add(sum_frames(&self.buf, payload, frames));
    }

    pub async fn windowed(&mut self, first: u64, frames: u64, payload: usize, window: u64) {
        let mut i = 0;
        while i < frames {
            let batch = (frames - i).min(window);
            let start = Instant::now();
            self.exchanged(first + i, batch, payload).await;
            record(start);
            i += batch;
        }
    }

    async fn step(&mut self, shape: Shape, plan: &Plan, ops: u64, step: u64) {
        let (first, frames) = shape.frames(ops, self.id, step);
        self.windowed(first, frames, plan.payload, plan.window).await;
        self.sum = self.sum.wrapping_add(shape.after(self.id, first, frames));
    }
}

/// Each stream in a task of its own; with a barrier, in a new task each step.
async fn run_shape(mut streams: Vec<Stream>, shape: Shape, ops: u64) -> Vec<Stream> {
    let plan = Arc::new(shape.plan(ops));
    let rounds = if plan.barrier { plan.steps } else { 1 };
    for round in 0..rounds {
        let tasks: Vec<_> = streams
            .drain(..)
            .map(|mut s| {
                let plan = plan.clone();
                tokio::spawn(async move {
                    let steps = if plan.barrier { round..round + 1 } else { 0..plan.steps };
                    for step in steps {
                        s.step(shape, &plan, ops, step).await;
                    }
                    s
                })
            })
            .collect();
        for task in tasks {
            streams.push(task.await.expect("task"));
        }
    }
    streams
}

fn net_pass(rt: Runtime, shape: Shape, addr: String) -> Pass {
    let mut streams = rt.block_on(open(&addr, shape.streams()));
    Box::new(move |ops| {
        shape.begin();
        for s in &mut streams {
            s.sum = 0;
        }
        let taken = std::mem::take(&mut streams);
        streams = rt.block_on(async { tokio::spawn(run_shape(taken, shape, ops)).await.expect("task") });
        shape.finish(total(streams.iter().map(|s| (s.id, s.sum))))
    })
}

fn keyed_pass(rt: Runtime, addr: String) -> Pass {
    let mut streams = rt.block_on(open(&addr, STREAMS));
    Box::new(move |ops| {
        let taken = std::mem::take(&mut streams);
        let (back, sum) = rt.block_on(async {
            tokio::spawn(async move {
                let mut owners = Vec::new();
                let mut totals = Vec::new();
                for _ in 0..2 {
                    let (tx, mut rx) = mpsc::channel::<u64>(4096);
                    owners.push(tx);
                    totals.push(tokio::spawn(async move {
                        let mut total = 0;
                        while let Some(n) = rx.recv().await {
                            total += n;
                        }
                        total
                    }));
                }
                let tasks: Vec<_> = taken
                    .into_iter()
                    .map(|mut s| {
                        let owners = owners.clone();
                        tokio::spawn(async move {
                            s.sum = 0;
                            for step in 0..ops / 46 {
                                let (first, frames) = Shape::Rotation.frames(ops, s.id, step);
                                s.windowed(first, frames, 4096, 32).await;
                                for _ in 0..frames * 16 {
                                    owners[step as usize % 2].send(1).await.expect("send");
                                }
                            }
                            s
                        })
                    })
                    .collect();
                drop(owners);
                let mut streams = Vec::new();
                for task in tasks {
                    streams.push(task.await.expect("task"));
                }
                let mut sum = total(streams.iter().map(|s| (s.id, s.sum)));
                for (i, t) in totals.into_iter().enumerate() {
                    sum = sum.wrapping_add(t.await.expect("task") * (2 * i as u64 + 1));
                }
                (streams, sum)
            })
            .await
            .expect("task")
        });
        streams = back;
        sum
    })
}

fn sparse_pass(rt: Runtime, addr: String) -> Pass {
    let mut stream = rt.block_on(open(&addr, 1)).pop();
    Box::new(move |ops| {
        let mut s = stream.take().expect("stream");
        s.sum = 0;
        let back = rt.block_on(async {
            tokio::spawn(async move {
                let (command, mut commands) = mpsc::channel::<u64>(1);
                let (reply, mut replies) = mpsc::channel::<u64>(1);
                let courier = tokio::spawn(async move {
                    while let Some(n) = commands.recv().await {
                        s.windowed(n, 1, 64, 1).await;
                        reply.send(n).await.expect("send");
                    }
                    s
                });
                for n in 0..ops {
                    command.send(n).await.expect("send");
                    replies.recv().await.expect("reply");
                    tokio::time::sleep(Duration::from_micros(50)).await;
                }
                drop(command);
                courier.await.expect("task")
            })
            .await
            .expect("task")
        });
        let sum = total(std::iter::once((0, back.sum)));
        stream = Some(back);
        sum
    })
}

fn churn_pass(rt: Runtime, addr: String) -> Pass {
    let addr = Arc::new(addr);
    Box::new(move |ops| {
        rt.block_on(async {
            let tasks: Vec<_> = (0..STREAMS)
                .map(|id| {
                    let addr = addr.clone();
                    tokio::spawn(async move {
                        let mut sum = 0u64;
                        let mut buf = vec![0u8; FRAMES_BYTES];
                        for i in 0..ops / STREAMS {
                            let mut s = Stream { conn: dial(&addr).await, id, buf, sum: 0 };
                            s.windowed(i, 1, 256, 1).await;
                            sum += s.sum;
                            s.conn.set_zero_linger().expect("linger");
                            buf = s.buf;
                        }
                        sum
                    })
                })
                .collect();
            let mut all = 0u64;
            for (id, task) in tasks.into_iter().enumerate() {
                all = all.wrapping_add(task.await.expect("task").wrapping_mul(id as u64 + 1));
            }
            all
        })
    })
}

/// On the blocking pool, as tokio::fs does it, but with the buffer kept.
pub async fn read_block(file: Arc<std::fs::File>, mut buf: Vec<u8>, n: u64) -> (Vec<u8>, u64) {
    tokio::task::spawn_blocking(move || {
        file.read_exact_at(&mut buf, n * BLOCK as u64).expect("read");
        let sum = block_sum(&buf);
        (buf, sum)
    })
    .await
    .expect("task")
}

fn read_pass(rt: Runtime, depth: u64) -> Pass {
    let file = Arc::new(make_file());
    Box::new(move |ops| {
        let file = file.clone();
        rt.block_on(async move {
            let tasks: Vec<_> = (0..depth)
                .map(|first| {
                    let file = file.clone();
                    tokio::spawn(async move {
                        let (mut buf, mut sum, mut i) = (vec![0; BLOCK], 0, first);
                        while i < ops {
                            let start = Instant::now();
                            let (back, got) = read_block(file.clone(), buf, mix(i) % 4096).await;
                            if sampled(i) {
                                record(start);
                            }
                            buf = back;
                            sum += got;
                            i += depth;
                        }
                        sum
                    })
                })
                .collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.expect("task");
            }
            sum
        })
    })
}

async fn spawn_wait(ops: u64) -> u64 {
    let mut sum = 0u64;
    for i in 0..ops {
        sum = sum.wrapping_add(tokio::spawn(async move { mix(i) }).await.expect("task"));
    }
    sum
}

async fn yields(ops: u64) -> u64 {
    let tasks: Vec<_> = (0..2)
        .map(|id| {
            tokio::spawn(async move {
                let mut sum = 0u64;
                for i in 0..ops / 2 {
                    sum = sum.wrapping_add(mix(i << 1 | id));
                    tokio::task::yield_now().await;
                }
                sum
            })
        })
        .collect();
    let mut sum = 0u64;
    for task in tasks {
        sum = sum.wrapping_add(task.await.expect("task"));
    }
    sum
}

/// Tokio has no rendezvous; a capacity of 1 comes nearest.
async fn pingpong(ops: u64) -> u64 {
    let (there, mut questions) = mpsc::channel::<u64>(1);
    let (back, mut answers) = mpsc::channel::<u64>(1);
    tokio::spawn(async move {
        while let Some(n) = questions.recv().await {
            back.send(mix(n)).await.expect("send");
        }
    });
    let mut sum = 0u64;
    for i in 0..ops {
        there.send(i).await.expect("send");
        sum = sum.wrapping_add(answers.recv().await.expect("answer"));
    }
    sum
}

async fn chan128(ops: u64) -> u64 {
    let (tx, mut rx) = mpsc::channel::<u64>(128);
    tokio::spawn(async move {
        for i in 0..ops {
            tx.send(mix(i)).await.expect("send");
        }
    });
    let (mut sum, mut count) = (0u64, 0u64);
    while let Some(v) = rx.recv().await {
        sum = sum.wrapping_add(v ^ count);
        count += 1;
    }
    assert_eq!(count, ops);
    sum
}

async fn wg_fanout(ops: u64) -> u64 {
    let (mut sum, mut start) = (0u64, 0);
    while start < ops {
        let tasks: Vec<_> = (start..start + 1000).map(|n| tokio::spawn(async move { mix(n) })).collect();
        for task in tasks {
            sum = sum.wrapping_add(task.await.expect("task"));
        }
        start += 1000;
    }
    sum
}

async fn fanout(ops: u64, light: u64, hot: u64) -> u64 {
    let mut sum = 0u64;
    for request in 0..ops {
        let start = Instant::now();
        let tasks: Vec<_> = (0..BRANCHES)
            .map(|i| {
                let steps = if i == request % BRANCHES { hot } else { light };
                tokio::spawn(async move { synthetic_work(request << 8 | i, steps) })
            })
            .collect();
        for task in tasks {
            sum = sum.wrapping_add(task.await.expect("task"));
        }
        record(start);
    }
    sum
}

/// In a task of its own: block_on's future would run outside the workers.
pub fn on_workers<F>(rt: Runtime, row: impl Fn(u64) -> F + 'static) -> Pass
where
    F: std::future::Future<Output = u64> + Send + 'static,
{
    Box::new(move |ops| rt.block_on(async { tokio::spawn(row(ops)).await.expect("task") }))
}

pub fn pass(row: &str, o: &Options) -> Option<Pass> {
    let rt = Builder::new_multi_thread().worker_threads(o.workers).enable_all().build().expect("runtime");
    if let Some(shape) = Shape::of(row) {
        return Some(net_pass(rt, shape, o.addr.clone()));
    }
    if let Some(name) = tokio_service::ROWS.iter().find(|name| **name == row) {
        return Some(tokio_service::pass(rt, name, o));
    }
    Some(match row {
        "net_keyed" => keyed_pass(rt, o.addr.clone()),
        "net_sparse" => sparse_pass(rt, o.addr.clone()),
        "net_churn" => churn_pass(rt, o.addr.clone()),
        "read_rtt" => read_pass(rt, 1),
        "read_qd32" => read_pass(rt, 32),
        "yield" => on_workers(rt, yields),
        "spawn_wait" => on_workers(rt, spawn_wait),
        "pingpong" => on_workers(rt, pingpong),
        "chan128" => on_workers(rt, chan128),
        "wg_fanout" => on_workers(rt, wg_fanout),
        "fanout_balanced" => on_workers(rt, |ops| fanout(ops, 2000, 2000)),
        "fanout_skewed" => on_workers(rt, |ops| fanout(ops, 500, 20000)),
        _ => return None,
    })
}
