//! Tokio's part of the coordination rows: the twins of rows_msg.c. Two tasks on two workers, over
//! unbounded channels, as in the reference's suite.

use crate::work::*;
use tokio::sync::mpsc::unbounded_channel;

/// One iteration: so many messages, then the flush, then the wait for its ACK.
pub const ITERATION: u64 = 2048;

/// A question and its answer. Tokio may run both tasks on one worker. Expected: 100 ns to 6 us.
pub async fn ping_pong(ops: u64) -> u64 {
    let (ask, mut questions) = unbounded_channel::<u64>();
    let (reply, mut answers) = unbounded_channel::<u64>();
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            reply.send(mix(question)).expect("answer");
        }
    });
    let mut sum = 0u64;
    for i in 0..ops {
        ask.send(i).expect("question");
        sum = sum.wrapping_add(answers.recv().await.expect("answer"));
    }
    sum
}

enum Message {
    Value(u32),
    Flush,
}

/// Messages one way, one at a time. Expected: 20 to 60 ns each.
pub async fn one_way(ops: u64) -> u64 {
    let (tx, mut rx) = unbounded_channel();
    let (ack, mut acks) = unbounded_channel();
    tokio::spawn(async move {
        let mut at = 0;
        while at < ops {
            for i in at..ops.min(at + ITERATION) {
                tx.send(Message::Value(mix(i) as u32)).ok().expect("value");
            }
            tx.send(Message::Flush).ok().expect("flush");
            acks.recv().await.expect("ACK");
            at += ITERATION;
        }
    });
    let (mut sum, mut count) = (0u64, 0u64);
    while let Some(message) = rx.recv().await {
        match message {
            Message::Value(value) => {
                sum = sum.wrapping_add(value as u64 ^ count);
                count += 1;
            }
            Message::Flush => ack.send(()).expect("ACK"),
        }
    }
    assert_eq!(count, ops);
    sum
}

/// In vectors of `batch`; an empty one is the flush. Expected: 1 to 10 ns a message.
pub async fn one_way_batched(ops: u64, batch: u64) -> u64 {
    let (tx, mut rx) = unbounded_channel::<Vec<u32>>();
    let (ack, mut acks) = unbounded_channel();
    tokio::spawn(async move {
        let mut at = 0;
        while at < ops {
            let end = ops.min(at + ITERATION);
            let mut first = at;
            while first < end {
                let some = first..end.min(first + batch);
                first = some.end;
                tx.send(some.map(|i| mix(i) as u32).collect()).expect("batch");
            }
            tx.send(Vec::new()).expect("flush");
            acks.recv().await.expect("ACK");
            at += ITERATION;
        }
    });
    let (mut sum, mut count) = (0u64, 0u64);
    while let Some(some) = rx.recv().await {
        if some.is_empty() {
            ack.send(()).expect("ACK");
        }
        for value in some {
            sum = sum.wrapping_add(value as u64 ^ count);
            count += 1;
        }
    }
    assert_eq!(count, ops);
    sum
}
