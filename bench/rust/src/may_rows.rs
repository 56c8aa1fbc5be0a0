//! may: stackful coroutines over epoll.

use crate::work::*;
use crate::Options;
use may::coroutine;
use may::net::TcpStream;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

struct Stream {
    conn: TcpStream,
    id: u64,
    buf: Vec<u8>,
    sum: u64,
}

impl Stream {
    fn windowed(&mut self, first: u64, frames: u64, payload: usize, window: u64) {
        let mut i = 0;
        while i < frames {
            let batch = (frames - i).min(window);
            let bytes = batch as usize * payload;
            let start = Instant::now();
            number_frames(&mut self.buf, payload, first + i, batch);
            self.conn.write_all(&self.buf[..bytes]).expect("write");
            self.conn.read_exact(&mut self.buf[..bytes]).expect("read");
            self.sum = self.sum.wrapping_add(sum_frames(&self.buf, payload, batch));
            record(start);
            i += batch;
        }
    }
}

fn go<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> coroutine::JoinHandle<T> {
    // SAFETY: nothing of ours lives in thread-locals or overflows a stack.
    unsafe { coroutine::spawn(f) }
}

fn net_pass(shape: Shape, addr: String) -> Pass {
    let mut streams: Vec<Stream> =
        (0..shape.streams()).map(|id| dial(&addr, id, vec![0; FRAMES_BYTES])).collect();
    Box::new(move |ops| {
        let plan = shape.plan(ops);
        let rounds = if plan.barrier { plan.steps } else { 1 };
        shape.begin();
        for s in &mut streams {
            s.sum = 0;
        }
        for round in 0..rounds {
            let tasks: Vec<_> = streams
                .drain(..)
                .map(|mut s| {
                    let steps = if plan.barrier { round..round + 1 } else { 0..plan.steps };
                    let (payload, window) = (plan.payload, plan.window);
                    go(move || {
                        for step in steps {
                            let (first, frames) = shape.frames(ops, s.id, step);
                            s.windowed(first, frames, payload, window);
                            s.sum = s.sum.wrapping_add(shape.after(s.id, first, frames));
                        }
                        s
                    })
                })
                .collect();
            for task in tasks {
                streams.push(task.join().expect("join"));
            }
        }
        shape.finish(total(streams.iter().map(|s| (s.id, s.sum))))
    })
}

fn dial(addr: &str, id: u64, buf: Vec<u8>) -> Stream {
    let conn = TcpStream::connect(addr).expect("connect");
    conn.set_nodelay(true).expect("nodelay");
    Stream { conn, id, buf, sum: 0 }
}

/// Its channels have no bound: senders never wait.
fn keyed_pass(addr: String) -> Pass {
    let mut streams: Vec<Stream> = (0..STREAMS).map(|id| dial(&addr, id, vec![0; FRAMES_BYTES])).collect();
    Box::new(move |ops| {
        let (mut owners, mut totals) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let (tx, rx) = may::sync::mpsc::channel::<u64>();
            owners.push(tx);
            totals.push(go(move || rx.iter().sum::<u64>()));
        }
        let tasks: Vec<_> = streams
            .drain(..)
            .map(|mut s| {
                let owners = owners.clone();
                go(move || {
                    s.sum = 0;
                    for step in 0..ops / 46 {
                        let (first, frames) = Shape::Rotation.frames(ops, s.id, step);
                        s.windowed(first, frames, 4096, 32);
                        for _ in 0..frames * 16 {
                            owners[step as usize % 2].send(1).expect("send");
                        }
                    }
                    s
                })
            })
            .collect();
        drop(owners);
        streams.extend(tasks.into_iter().map(|t| t.join().expect("join")));
        let sum = total(streams.iter().map(|s| (s.id, s.sum)));
        totals.into_iter().enumerate().fold(sum, |sum, (i, t)| sum.wrapping_add(t.join().expect("join") * (2 * i as u64 + 1)))
    })
}

fn sparse_pass(addr: String) -> Pass {
    let mut stream = Some(dial(&addr, 0, vec![0; FRAMES_BYTES]));
    Box::new(move |ops| {
        let mut s = stream.take().expect("stream");
        s.sum = 0;
        let back = go(move || {
            let (command, commands) = may::sync::mpsc::channel::<u64>();
            let (reply, replies) = may::sync::mpsc::channel::<u64>();
            let courier = go(move || {
                for n in commands.iter() {
                    s.windowed(n, 1, 64, 1);
                    reply.send(n).expect("send");
                }
                s
            });
            for n in 0..ops {
                command.send(n).expect("send");
                replies.recv().expect("reply");
                coroutine::sleep(Duration::from_micros(50));
            }
            drop(command);
            courier.join().expect("join")
        })
        .join()
        .expect("join");
        let sum = total(std::iter::once((0, back.sum)));
        stream = Some(back);
        sum
    })
}

fn churn_pass(addr: String) -> Pass {
    Box::new(move |ops| {
        let tasks: Vec<_> = (0..STREAMS)
            .map(|id| {
                let addr = addr.clone();
                go(move || {
                    let (mut sum, mut buf) = (0u64, vec![0u8; FRAMES_BYTES]);
                    for i in 0..ops / STREAMS {
                        let mut s = dial(&addr, id, buf);
                        s.windowed(i, 1, 256, 1);
                        sum += s.sum;
                        reset_on_close(&s.conn);
                        buf = s.buf;
                    }
                    sum
                })
            })
            .collect();
        total(tasks.into_iter().enumerate().map(|(id, t)| (id as u64, t.join().expect("join"))))
    })
}

/// It has no files of its own: a read blocks the worker.
fn fs_pass(addr: String) -> Pass {
    let mut stream = Some(dial(&addr, 0, vec![0; FRAMES_BYTES]));
    let file = std::sync::Arc::new(make_file());
    Box::new(move |ops| {
        let (mut s, file) = (stream.take().expect("stream"), file.clone());
        let (back, read) = go(move || {
            let (mut block, mut read) = ([0; BLOCK], 0);
            s.sum = 0;
            for i in 0..ops {
                file.read_exact_at(&mut block, i % FS_BLOCKS * BLOCK as u64).expect("read");
                read += block_sum(&block);
                s.windowed(i, 1, 256, 1);
            }
            (s, read)
        })
        .join()
        .expect("join");
        let sum = total(std::iter::once((0, back.sum))) + read;
        stream = Some(back);
        sum
    })
}

fn sleepers(ops: u64) -> u64 {
    let naps = (ops / SLEEPERS).max(1);
    let tasks: Vec<_> = (0..SLEEPERS)
        .map(|id| {
            go(move || {
                for n in 0..naps {
                    let due = Instant::now() + nap(id, n);
                    coroutine::sleep(nap(id, n));
                    record(due);
                }
            })
        })
        .collect();
    tasks.into_iter().for_each(|t| t.join().expect("join"));
    naps_sum(naps)
}

fn in_coroutine(f: impl Fn(u64) -> u64 + Send + Sync + Copy + 'static) -> Pass {
    Box::new(move |ops| go(move || f(ops)).join().expect("join"))
}

fn yields(ops: u64) -> u64 {
    let tasks: Vec<_> = (0..2)
        .map(|id| {
            go(move || {
                let mut sum = 0u64;
                for i in 0..ops / 2 {
                    sum = sum.wrapping_add(mix(i << 1 | id));
                    coroutine::yield_now();
                }
                sum
            })
        })
        .collect();
    tasks.into_iter().map(|t| t.join().expect("join")).fold(0, u64::wrapping_add)
}

fn spawn_wait(ops: u64) -> u64 {
    (0..ops).map(|i| go(move || mix(i)).join().expect("join")).fold(0, u64::wrapping_add)
}

fn pingpong(ops: u64) -> u64 {
    let (there, questions) = may::sync::mpsc::channel::<u64>();
    let (back, answers) = may::sync::mpsc::channel::<u64>();
    go(move || {
        while let Ok(n) = questions.recv() {
            back.send(mix(n)).expect("send");
        }
    });
    let mut sum = 0u64;
    for i in 0..ops {
        there.send(i).expect("send");
        sum = sum.wrapping_add(answers.recv().expect("answer"));
    }
    sum
}

fn wg_fanout(ops: u64) -> u64 {
    let (mut sum, mut start) = (0u64, 0);
    while start < ops {
        let tasks: Vec<_> = (start..start + 1000).map(|n| go(move || mix(n))).collect();
        sum = tasks.into_iter().map(|t| t.join().expect("join")).fold(sum, u64::wrapping_add);
        start += 1000;
    }
    sum
}

fn fanout(ops: u64, light: u64, hot: u64) -> u64 {
    let mut sum = 0u64;
    for request in 0..ops {
        let start = Instant::now();
        let tasks: Vec<_> = (0..BRANCHES)
            .map(|i| {
                let steps = if i == request % BRANCHES { hot } else { light };
                go(move || synthetic_work(request << 8 | i, steps))
            })
            .collect();
        sum = tasks.into_iter().map(|t| t.join().expect("join")).fold(sum, u64::wrapping_add);
        record(start);
    }
    sum
}

pub fn pass(row: &str, o: &Options) -> Option<Pass> {
    may::config().set_workers(o.workers);
    if let Some(shape) = Shape::of(row) {
        return Some(net_pass(shape, o.addr.clone()));
    }
    Some(match row {
        "net_keyed" => keyed_pass(o.addr.clone()),
        "net_sparse" => sparse_pass(o.addr.clone()),
        "net_churn" => churn_pass(o.addr.clone()),
        "net_fs" => fs_pass(o.addr.clone()),
        "sleepers" => in_coroutine(sleepers),
        "yield" => in_coroutine(yields),
        "spawn_wait" => in_coroutine(spawn_wait),
        "pingpong" => in_coroutine(pingpong),
        "wg_fanout" => in_coroutine(wg_fanout),
        "fanout_balanced" => in_coroutine(|ops| fanout(ops, 2000, 2000)),
        "fanout_skewed" => in_coroutine(|ops| fanout(ops, 500, 20000)),
        _ => return None,
    })
}
