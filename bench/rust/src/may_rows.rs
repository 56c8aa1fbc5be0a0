//! may: stackful coroutines over epoll.

use crate::work::*;
use crate::Options;
use may::coroutine;
use may::net::TcpStream;
use std::io::{Read, Write};

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
            number_frames(&mut self.buf, payload, first + i, batch);
            self.conn.write_all(&self.buf[..bytes]).expect("write");
            self.conn.read_exact(&mut self.buf[..bytes]).expect("read");
            self.sum = self.sum.wrapping_add(sum_frames(&self.buf, payload, batch));
            i += batch;
        }
    }
}

fn go<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> coroutine::JoinHandle<T> {
    // SAFETY: nothing of ours lives in thread-locals or overflows a stack.
    unsafe { coroutine::spawn(f) }
}

fn net_pass(shape: Shape, addr: String) -> Pass {
    let mut streams: Vec<Stream> = (0..shape.streams())
        .map(|id| {
            let conn = TcpStream::connect(addr.as_str()).expect("connect");
            conn.set_nodelay(true).expect("nodelay");
            Stream { conn, id, buf: vec![0; FRAMES_BYTES], sum: 0 }
        })
        .collect();
    Box::new(move |ops| {
        let plan = shape.plan(ops);
        let rounds = if plan.barrier { plan.steps } else { 1 };
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
        total(streams.iter().map(|s| (s.id, s.sum)))
    })
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
        let tasks: Vec<_> = (0..BRANCHES)
            .map(|i| {
                let steps = if i == request % BRANCHES { hot } else { light };
                go(move || synthetic_work(request << 8 | i, steps))
            })
            .collect();
        sum = tasks.into_iter().map(|t| t.join().expect("join")).fold(sum, u64::wrapping_add);
    }
    sum
}

pub fn pass(row: &str, o: &Options) -> Option<Pass> {
    may::config().set_workers(o.workers);
    if let Some(shape) = Shape::of(row) {
        return Some(net_pass(shape, o.addr.clone()));
    }
    Some(match row {
        "yield" => in_coroutine(yields),
        "spawn_wait" => in_coroutine(spawn_wait),
        "pingpong" => in_coroutine(pingpong),
        "wg_fanout" => in_coroutine(wg_fanout),
        "fanout_balanced" => in_coroutine(|ops| fanout(ops, 2000, 2000)),
        "fanout_skewed" => in_coroutine(|ops| fanout(ops, 500, 20000)),
        _ => return None,
    })
}
