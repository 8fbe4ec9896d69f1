//! load
use std::time::Instant;
use zbus::connection::Builder;
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let a = std::env::args().nth(1).unwrap();
    let n: u32 = std::env::args().nth(2).and_then(|n| n.parse().ok()).unwrap_or(20000);
    let body: usize = std::env::args().nth(3).and_then(|n| n.parse().ok()).unwrap_or(20);
    let c = Builder::address(a.as_str()).build().await.unwrap();
    let data = vec![7u8; body];
    for _ in 0..3 {
        let t = Instant::now();
        for _ in 0..n {
            c.call_method(Some("org.bluez"), "/org/bluez", Some("org.bluez.X1"), "Echo", &(&data)).await.unwrap();
        }
        println!("{:.0} calls/s", f64::from(n) / t.elapsed().as_secs_f64());
    }
}
