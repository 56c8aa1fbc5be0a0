//! Echo servers, a task a connection; measured from outside, ended by a signal. Tokio and may have N
//! workers, Compio and Monoio one runtime.

use crate::Options;
use std::io::{Read, Write};

const BYTES: usize = 4096;

fn announce(addr: std::io::Result<std::net::SocketAddr>) {
    println!("listening on {}", addr.expect("address"));
}

fn tokio_echo(o: &Options) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(o.workers).enable_all().build().expect("runtime");
    rt.block_on(async {
        let listener = tokio::net::TcpListener::bind(&o.addr).await.expect("listen");
        announce(listener.local_addr());
        loop {
            let Ok((mut conn, _)) = listener.accept().await else { continue };
            tokio::spawn(async move {
                let mut buf = [0; BYTES];
                conn.set_nodelay(true).ok();
                while let Ok(n @ 1..) = conn.read(&mut buf).await {
                    if conn.write_all(&buf[..n]).await.is_err() {
                        break;
                    }
                }
            });
        }
    })
}

fn compio_echo(o: &Options) {
    use compio::buf::{IntoInner, IoBuf};
    use compio::io::{AsyncRead, AsyncWriteExt};
    compio::runtime::Runtime::new().expect("runtime").block_on(async {
        let listener = compio::net::TcpListener::bind(&o.addr).await.expect("listen");
        announce(listener.local_addr());
        loop {
            let Ok((mut conn, _)) = listener.accept().await else { continue };
            compio::runtime::spawn(async move {
                let mut buf = Vec::with_capacity(BYTES);
                conn.set_nodelay(true).ok();
                loop {
                    buf.clear();
                    let (done, back) = conn.read(buf).await.into();
                    let Ok(n @ 1..) = done else { break };
                    let (done, slice) = conn.write_all(back.slice(..n)).await.into();
                    if done.is_err() {
                        break;
                    }
                    buf = slice.into_inner();
                }
            })
            .detach();
        }
    })
}

fn monoio_echo(o: &Options) {
    use monoio::buf::IoBuf;
    use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
    let mut rt = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().build().expect("runtime");
    rt.block_on(async {
        let listener = monoio::net::TcpListener::bind(&o.addr).expect("listen");
        announce(listener.local_addr());
        loop {
            let Ok((mut conn, _)) = listener.accept().await else { continue };
            monoio::spawn(async move {
                let mut buf = Vec::with_capacity(BYTES);
                conn.set_nodelay(true).ok();
                loop {
                    buf.clear();
                    let (done, back) = conn.read(buf).await;
                    let Ok(n @ 1..) = done else { break };
                    let (done, slice) = conn.write_all(back.slice(..n)).await;
                    if done.is_err() {
                        break;
                    }
                    buf = slice.into_inner();
                }
            });
        }
    })
}

fn may_echo(o: &Options) {
    may::config().set_workers(o.workers);
    let listener = may::net::TcpListener::bind(&o.addr).expect("listen");
    announce(listener.local_addr());
    let serve = move || {
        for conn in listener.incoming() {
            let Ok(mut conn) = conn else { continue };
            let echo = move || {
                let mut buf = [0; BYTES];
                conn.set_nodelay(true).ok();
                while let Ok(n @ 1..) = conn.read(&mut buf) {
                    if conn.write_all(&buf[..n]).is_err() {
                        break;
                    }
                }
            };
            // SAFETY: nothing of ours lives in thread-locals; the stack holds the buffer (see set_stack_size).
            unsafe { may::coroutine::spawn(echo) };
        }
    };
    may::config().set_stack_size(0x1000); // in words: 32 KiB
    // SAFETY: as above.
    unsafe { may::coroutine::spawn(serve) }.join().expect("join");
}

pub fn echo(runtime: &str, o: &Options) {
    match runtime {
        "tokio" => tokio_echo(o),
        "compio" => compio_echo(o),
        "monoio" => monoio_echo(o),
        "may" => may_echo(o),
        _ => panic!("no runtime {runtime}"),
    }
}
