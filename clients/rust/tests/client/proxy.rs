//! A proxy that cuts, stalls, delays and corrupts the data of a server. A seed makes it repeatable.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp},
};

const BURST_BYTES: usize = 64;

/// A random generator that is equal on every machine (xorshift).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Cut,
    Stall,
    Delay,
    Corrupt,
}

/// The running proxy.
pub struct Proxy {
    pub address: SocketAddr,
    pub faults_left: Arc<AtomicU32>,
}

impl Proxy {
    /// Starts the proxy. Each fault is within `reach` bytes of the last one. After all faults it only forwards.
    pub fn start(server: SocketAddr, seed: u64, faults: u32, reach: u64) -> Self {
        let faults_left = Arc::new(AtomicU32::new(faults));
        let (left, (tell, told)) = (Arc::clone(&faults_left), std::sync::mpsc::channel());
        let chance = Arc::new(Mutex::new(Chance::new(seed)));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    let (client, _) = listener.accept().await.unwrap();
                    tokio::spawn(serve(client, server, Arc::clone(&left), Arc::clone(&chance), reach));
                }
            });
        });
        Self { address: told.recv().unwrap(), faults_left }
    }
}

async fn serve(client: TcpStream, server: SocketAddr, left: Arc<AtomicU32>, chance: Arc<Mutex<Chance>>, reach: u64) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        () = pass_on(from_server, to_client, left, chance, reach) => {}
    }
}

async fn pass_on(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    left: Arc<AtomicU32>,
    chance: Arc<Mutex<Chance>>,
    reach: u64,
) {
    let draw = |limit| chance.lock().unwrap().below(limit);
    let next = |passed: u64| {
        let is_left = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let fault = [Fault::Cut, Fault::Stall, Fault::Delay, Fault::Corrupt][draw(4) as usize];
        is_left.then(|| (passed + draw(reach), fault))
    };
    let (mut passed, mut buffer) = (0, vec![0; 16_384]);
    let mut fault = next(0);
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
        if let Some((at, kind)) = fault.filter(|(at, _)| *at < passed + count as u64) {
            let index = at.saturating_sub(passed) as usize;
            match kind {
                Fault::Cut => {
                    let _ = to.write_all(&buffer[..index]).await;
                    return;
                }
                Fault::Stall => std::future::pending().await,
                Fault::Delay => tokio::time::sleep(Duration::from_millis(50)).await,
                // Events have no checksum, so a single bit could turn an event into another valid one. A burst makes it
                // invalid, and tests the checksums of the audio just as well.
                Fault::Corrupt => {
                    for byte in &mut buffer[index..count.min(index + BURST_BYTES)] {
                        *byte = !*byte;
                    }
                }
            }
            fault = next(passed + count as u64);
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        passed += count as u64;
    }
}
