//! Calls per second between a client in another thread and the service of a bus.

#[path = "../tests/bus/serve.rs"]
mod serve;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use brickproof_simulator::virtual_bluez::bus::socket::Listener;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

fn round_trips(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bus");
    let (sender, address) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, async {
            let listener = Listener::bind(&path).expect("a socket");
            sender.send(listener.address().to_owned()).expect("somebody who listens");
            serve::Server::new(listener).run().await;
        });
    });
    let address = address.recv().expect("an address");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = runtime.block_on(zbus::connection::Builder::address(&*address).build()).expect("a connection");
    let mut group = criterion.benchmark_group("bus");
    group.throughput(Throughput::Elements(1)).measurement_time(Duration::from_secs(3));
    for size in [20, 400] {
        let data = vec![7u8; size];
        group.bench_function(format!("call with {size} bytes"), |bencher| {
            bencher.iter_custom(|count| {
                let start = Instant::now();
                runtime.block_on(async {
                    for _ in 0..count {
                        let call = client.call_method(Some("org.bluez"), "/", Some("t.t"), "Echo", &data);
                        call.await.expect("an answer");
                    }
                });
                start.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, round_trips);
criterion_main!(benches);
