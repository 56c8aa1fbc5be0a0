//! Monoio: one runtime on one thread, or one a thread with the streams dealt out.

use crate::work::*;
use crate::Options;
use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRentExt, AsyncWriteRentExt};
use monoio::net::TcpStream;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};
use std::rc::Rc;
use std::sync::mpsc;

struct Stream {
    conn: TcpStream,
    id: u64,
    buf: Vec<u8>,
    sum: u64,
}

fn runtime() -> Runtime<IoUringDriver> {
    RuntimeBuilder::<IoUringDriver>::new().build().expect("runtime")
}

async fn dial(addr: &str) -> TcpStream {
    let conn = TcpStream::connect(addr).await.expect("connect");
    conn.set_nodelay(true).expect("nodelay");
    conn
}

impl Stream {
    async fn windowed(&mut self, first: u64, frames: u64, payload: usize, window: u64) {
        let mut i = 0;
        while i < frames {
            let batch = (frames - i).min(window);
            let bytes = batch as usize * payload;
            let mut buf = std::mem::take(&mut self.buf);
            number_frames(&mut buf, payload, first + i, batch);
            let (done, slice) = self.conn.write_all(buf.slice(..bytes)).await;
            done.expect("write");
            let (done, slice) = self.conn.read_exact(slice.into_inner().slice_mut(..bytes)).await;
            done.expect("read");
            self.buf = slice.into_inner();
            // SAFETY: all of it was initialised at the start; reads only shorten the length.
            unsafe { self.buf.set_len(FRAMES_BYTES) };
            self.sum = self.sum.wrapping_add(sum_frames(&self.buf, payload, batch));
            i += batch;
        }
    }
}

async fn run_steps(mut s: Stream, shape: Shape, ops: u64, steps: std::ops::Range<u64>) -> Stream {
    let plan = shape.plan(ops);
    for step in steps {
        let (first, frames) = shape.frames(ops, s.id, step);
        s.windowed(first, frames, plan.payload, plan.window).await;
        s.sum = s.sum.wrapping_add(shape.after(s.id, first, frames));
    }
    s
}

/// The streams of one thread through some steps.
async fn run_streams(streams: Vec<Stream>, shape: Shape, ops: u64, steps: std::ops::Range<u64>) -> Vec<Stream> {
    let tasks: Vec<_> = streams
        .into_iter()
        .map(|s| monoio::spawn(run_steps(s, shape, ops, steps.clone())))
        .collect();
    let mut back = Vec::new();
    for task in tasks {
        back.push(task.await);
    }
    back
}

/// A thread with a runtime and its share of the streams; told what to do by channel.
struct Worker {
    work: mpsc::Sender<(u64, std::ops::Range<u64>, bool)>,
    done: mpsc::Receiver<u64>,
}

fn worker(shape: Shape, addr: String, ids: Vec<u64>) -> Worker {
    let (work, orders) = mpsc::channel::<(u64, std::ops::Range<u64>, bool)>();
    let (report, done) = mpsc::channel();
    std::thread::spawn(move || {
        let mut rt = runtime();
        let mut streams = rt.block_on(async {
            let mut streams = Vec::new();
            for id in ids {
                streams.push(Stream { conn: dial(&addr).await, id, buf: vec![0; FRAMES_BYTES], sum: 0 });
            }
            streams
        });
        for (ops, steps, first) in orders {
            for s in &mut streams {
                if first {
                    s.sum = 0;
                }
            }
            streams = rt.block_on(run_streams(streams, shape, ops, steps));
            report.send(total(streams.iter().map(|s| (s.id, s.sum)))).expect("report");
        }
    });
    Worker { work, done }
}

fn threads_pass(shape: Shape, addr: String, threads: u64) -> Pass {
    let workers: Vec<_> = (0..threads)
        .map(|t| worker(shape, addr.clone(), (0..shape.streams()).filter(|id| id % threads == t).collect()))
        .collect();
    Box::new(move |ops| {
        let plan = shape.plan(ops);
        let rounds = if plan.barrier { plan.steps } else { 1 };
        let mut sum = 0;
        for round in 0..rounds {
            let steps = if plan.barrier { round..round + 1 } else { 0..plan.steps };
            for w in &workers {
                w.work.send((ops, steps.clone(), round == 0)).expect("order");
            }
            sum = workers.iter().map(|w| w.done.recv().expect("sum")).fold(0, u64::wrapping_add);
        }
        sum
    })
}

/// One runtime on this thread.
fn net_pass(shape: Shape, addr: String) -> Pass {
    let mut rt = runtime();
    let mut streams = rt.block_on(async {
        let mut streams = Vec::new();
        for id in 0..shape.streams() {
            streams.push(Stream { conn: dial(&addr).await, id, buf: vec![0; FRAMES_BYTES], sum: 0 });
        }
        streams
    });
    Box::new(move |ops| {
        let plan = shape.plan(ops);
        for s in &mut streams {
            s.sum = 0;
        }
        let taken = std::mem::take(&mut streams);
        streams = rt.block_on(async {
            let mut taken = taken;
            if !plan.barrier {
                return run_streams(taken, shape, ops, 0..plan.steps).await;
            }
            for step in 0..plan.steps {
                taken = run_streams(taken, shape, ops, step..step + 1).await;
            }
            taken
        });
        total(streams.iter().map(|s| (s.id, s.sum)))
    })
}

fn read_pass(depth: u64) -> Pass {
    let mut rt = runtime();
    let file = Rc::new(rt.block_on(async { monoio::fs::File::from_std(make_file()).expect("file") }));
    Box::new(move |ops| {
        rt.block_on(async {
            let tasks: Vec<_> = (0..depth)
                .map(|first| {
                    let file = file.clone();
                    monoio::spawn(async move {
                        let (mut buf, mut sum, mut i) = (Vec::with_capacity(BLOCK), 0, first);
                        while i < ops {
                            buf.clear();
                            let (done, back) = file.read_exact_at(buf, mix(i) % 4096 * BLOCK as u64).await;
                            done.expect("read");
                            buf = back;
                            sum += block_sum(&buf);
                            i += depth;
                        }
                        sum
                    })
                })
                .collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await;
            }
            sum
        })
    })
}

pub fn pass(row: &str, o: &Options) -> Option<Pass> {
    if let Some(shape) = Shape::of(row) {
        return Some(if o.workers > 1 && shape.streams() > 1 {
            threads_pass(shape, o.addr.clone(), o.workers as u64)
        } else {
            net_pass(shape, o.addr.clone())
        });
    }
    Some(match row {
        "read_rtt" => read_pass(1),
        "read_qd32" => read_pass(32),
        _ => return None,
    })
}
