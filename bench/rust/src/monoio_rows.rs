//! Monoio: one runtime on one thread, or one a thread with the streams dealt out.

use crate::work::*;
use crate::Options;
use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRentExt, CancelableAsyncReadRent, Canceller, AsyncWriteRentExt};
use monoio::net::TcpStream;
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Waker;
use std::time::{Duration, Instant};

struct Stream {
    conn: TcpStream,
    id: u64,
    buf: Vec<u8>,
    sum: u64,
}

fn runtime() -> Runtime<IoUringDriver> {
    RuntimeBuilder::<IoUringDriver>::new().build().expect("runtime")
}

/// With timers.
fn timed_runtime() -> Runtime<TimeDriver<IoUringDriver>> {
    RuntimeBuilder::<IoUringDriver>::new().enable_timer().build().expect("runtime")
}

async fn dial(addr: &str) -> TcpStream {
    let conn = TcpStream::connect(addr).await.expect("connect");
    conn.set_nodelay(true).expect("nodelay");
    conn
}

impl Stream {
    /// A window that is not recorded.
    async fn exchanged(&mut self, first: u64, frames: u64, payload: usize) {
        let bytes = frames as usize * payload;
        let mut buf = std::mem::take(&mut self.buf);
        number_frames(&mut buf, payload, first, frames);
        let (done, slice) = self.conn.write_all(buf.slice(..bytes)).await;
        done.expect("write");
        let (done, slice) = self.conn.read_exact(slice.into_inner().slice_mut(..bytes)).await;
        done.expect("read");
        self.buf = slice.into_inner();
        // SAFETY: all of it was initialised at the start; reads only shorten the length.
        unsafe { self.buf.set_len(FRAMES_BYTES) };
        self.sum = self.sum.wrapping_add(sum_frames(&self.buf, payload, frames));
    }

    async fn windowed(&mut self, first: u64, frames: u64, payload: usize, window: u64) {
        let mut i = 0;
        while i < frames {
            let batch = (frames - i).min(window);
            let start = Instant::now();
            self.exchanged(first + i, batch, payload).await;
            record(start);
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
        shape.begin();
        for round in 0..rounds {
            let steps = if plan.barrier { round..round + 1 } else { 0..plan.steps };
            for w in &workers {
                w.work.send((ops, steps.clone(), round == 0)).expect("order");
            }
            sum = workers.iter().map(|w| w.done.recv().expect("sum")).fold(0, u64::wrapping_add);
        }
        shape.finish(sum)
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
        shape.begin();
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
        shape.finish(total(streams.iter().map(|s| (s.id, s.sum))))
    })
}

async fn read_block(file: &monoio::fs::File, mut buf: Vec<u8>, n: u64) -> Vec<u8> {
    buf.clear();
    let (done, back) = file.read_exact_at(buf, n * BLOCK as u64).await;
    done.expect("read");
    back
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
                            let start = Instant::now();
                            buf = read_block(&file, buf, mix(i) % 4096).await;
                            sum += block_sum(&buf);
                            if sampled(i) {
                                record(start);
                            }
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

/// A command, a round trip, 50 us of silence.
async fn sparse(mut s: Stream, ops: u64) -> (Stream, u64) {
    let commands = Rc::new((Cell::new(0u64), RefCell::new(Vec::<Waker>::new())));
    let replies = commands.clone();
    let courier = monoio::spawn(async move {
        for n in 0..ops {
            until(&replies, 2 * n + 1).await;
            s.windowed(n, 1, 64, 1).await;
            advance(&replies);
        }
        s
    });
    for n in 0..ops {
        advance(&commands);
        until(&commands, 2 * n + 2).await;
        monoio::time::sleep(Duration::from_micros(50)).await;
    }
    (courier.await, 0)
}

/// Two tasks of a thread take turns by a counter: odd is the courier's turn.
type Turn = (Cell<u64>, RefCell<Vec<Waker>>);

fn advance(turn: &Turn) {
    turn.0.set(turn.0.get() + 1);
    turn.1.take().into_iter().for_each(Waker::wake);
}

async fn until(turn: &Turn, n: u64) {
    std::future::poll_fn(|cx| {
        if turn.0.get() >= n {
            return std::task::Poll::Ready(());
        }
        turn.1.borrow_mut().push(cx.waker().clone());
        std::task::Poll::Pending
    })
    .await
}

async fn storm(rounds: u64, batch: u64, timed: bool) {
    for _ in 0..rounds {
        let start = Instant::now();
        for _ in 0..batch {
            // Polled once, so that the timer is armed, then dropped.
            let mut timer = std::pin::pin!(monoio::time::sleep(Duration::from_micros(200)));
            std::future::poll_fn(|cx| {
                let _ = timer.as_mut().poll(cx);
                std::task::Poll::Ready(())
            })
            .await;
        }
        monoio::time::sleep(Duration::from_micros(1)).await;
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

/// One request of net_first_k: the losers' reads hold handles of the canceller.
#[derive(Default)]
struct Race {
    answers: Cell<u64>,
    canceled: Cell<u64>,
    canceller: RefCell<Canceller>,
}

async fn racer(race: Rc<Race>, mut s: Stream, number: u64) -> Stream {
    if wins(s.id, number) {
        s.exchanged(number, 1, 256).await;
        race.answers.set(race.answers.get() + 1);
        if race.answers.get() == FIRST_K {
            race.canceller.replace_with(|c| std::mem::take(c).cancel());
        }
    } else {
        let handle = race.canceller.borrow().handle();
        let (done, _) = s.conn.cancelable_read(Vec::with_capacity(1), handle).await;
        assert_eq!(done.expect_err("a loser was not canceled").raw_os_error(), Some(libc::ECANCELED));
        race.canceled.set(race.canceled.get() + 1);
    }
    s
}

async fn first_k(mut streams: Vec<Stream>, ops: u64) -> (Vec<Stream>, u64) {
    let mut canceled = 0;
    for number in 0..ops {
        let (start, race) = (Instant::now(), Rc::new(Race::default()));
        let tasks: Vec<_> =
            streams.drain(..).map(|s| monoio::spawn(racer(race.clone(), s, number))).collect();
        for task in tasks {
            streams.push(task.await);
        }
        canceled += race.canceled.get();
        record(start);
    }
    (streams, canceled)
}

async fn churn(addr: Rc<String>, id: u64, each: u64) -> u64 {
    let (mut sum, mut buf) = (0u64, vec![0; FRAMES_BYTES]);
    for i in 0..each {
        let mut s = Stream { conn: dial(&addr).await, id, buf, sum: 0 };
        s.windowed(i, 1, 256, 1).await;
        sum += s.sum;
        reset_on_close(&s.conn);
        buf = std::mem::take(&mut s.buf);
    }
    sum
}

fn churn_pass(addr: String) -> Pass {
    let mut rt = runtime();
    let addr = Rc::new(addr);
    Box::new(move |ops| {
        rt.block_on(async {
            let tasks: Vec<_> = (0..STREAMS)
                .map(|id| monoio::spawn(churn(addr.clone(), id, ops / STREAMS)))
                .collect();
            let mut sums = Vec::new();
            for (id, task) in tasks.into_iter().enumerate() {
                sums.push((id as u64, task.await));
            }
            total(sums.into_iter())
        })
    })
}

fn storm_pass() -> Pass {
    let mut rt = timed_runtime();
    Box::new(move |ops| {
        rt.block_on(storm(ops, 8, true));
        ops * 8
    })
}

/// The rows over streams that are no Shape.
fn service_pass(row: &'static str, addr: String) -> Pass {
    let mut rt = timed_runtime();
    let file = rt.block_on(async { monoio::fs::File::from_std(make_file()).expect("file") });
    let mut streams = rt.block_on(async {
        let mut streams = Vec::new();
        for id in 0..STREAMS {
            streams.push(Stream { conn: dial(&addr).await, id, buf: vec![0; FRAMES_BYTES], sum: 0 });
        }
        streams
    });
    Box::new(move |ops| {
        streams.iter_mut().for_each(|s| s.sum = 0);
        let mut taken = std::mem::take(&mut streams);
        let (back, more) = rt.block_on(async {
            let (mut more, mut block) = (0, Vec::with_capacity(BLOCK));
            match row {
                "net_sparse" => {
                    let (s, _) = sparse(taken.remove(0), ops).await;
                    taken.insert(0, s);
                }
                "net_fs" => {
                    for i in 0..ops {
                        block = read_block(&file, block, i % FS_BLOCKS).await;
                        more += block_sum(&block);
                        taken[0].windowed(i, 1, 256, 1).await;
                    }
                }
                "net_deadline" => {
                    for part in 0..ops / 1024 {
                        storm(32, 4, false).await;
                        for i in 0..64 {
                            block = read_block(&file, block, (part * 64 + i) % DEADLINE_BLOCKS).await;
                            more += block_sum(&block);
                        }
                        let tasks: Vec<_> = taken.drain(..).map(|s| monoio::spawn(trips(s))).collect();
                        for task in tasks {
                            taken.push(task.await);
                        }
                    }
                }
                _ => (taken, more) = first_k(taken, ops).await,
            }
            (taken, more)
        });
        streams = back;
        total(streams.iter().map(|s| (s.id, s.sum))) + more
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
        "net_sparse" => service_pass("net_sparse", o.addr.clone()),
        "net_fs" => service_pass("net_fs", o.addr.clone()),
        "net_deadline" => service_pass("net_deadline", o.addr.clone()),
        "net_first_k" => service_pass("net_first_k", o.addr.clone()),
        "net_churn" => churn_pass(o.addr.clone()),
        "timer_storm" => storm_pass(),
        "read_rtt" => read_pass(1),
        "read_qd32" => read_pass(32),
        _ => return None,
    })
}
