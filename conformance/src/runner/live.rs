//! A world on real time behind a UDP socket, a serial port or the virtual BlueZ.

use std::io;
use std::time::{Duration, Instant};

use brickproof_simulator::air::{Air, Place};
use brickproof_simulator::trace::Record;
use brickproof_simulator::world::World;

/// A world, its air and its clock. One task owns it; everything else sends it messages.
pub struct Live<'a> {
    /// The world.
    pub world: &'a mut World,
    air: Air,
    start: Instant,
    latest: Duration,
    /// Until when the next datagram is looked for without sleeping.
    eager_until: Instant,
    gone: Option<String>,
}

/// How long after a datagram the next one is looked for without sleeping: a client that sends one request
/// after the other answers within this time, and a sleep would cost more than the answer.
const EAGER: Duration = Duration::from_micros(50);

impl<'a> Live<'a> {
    /// Lets the clock of the world run from now.
    #[must_use]
    pub fn new(world: &'a mut World, air: Air) -> Self {
        world.set_carrier(air.carrier());
        // The host at the other end is BlueZ, or not to be known.
        world.set_identity_keys(false);
        let start = Instant::now();
        Self { world, air, start, latest: Duration::ZERO, eager_until: start, gone: None }
    }

    /// When the clock was started.
    #[must_use]
    pub fn start(&self) -> Instant {
        self.start
    }

    /// The air.
    #[must_use]
    pub fn air(&self) -> &Air {
        &self.air
    }

    /// Where the target is reached.
    ///
    /// # Errors
    /// From the operating system.
    pub fn place(&self) -> io::Result<Place> {
        self.air.place()
    }

    /// Takes the target off the air.
    pub async fn close(self) {
        self.air.close().await;
    }

    /// Microseconds since the start.
    #[must_use]
    pub fn elapsed_us(&self) -> u64 {
        us_since(self.start)
    }

    /// Why the air is gone, once it is: nothing arrives any more.
    #[must_use]
    pub fn gone(&self) -> Option<&str> {
        self.gone.as_deref()
    }

    /// How late something that was due has been done, at worst: a measure of how busy this machine is.
    #[must_use]
    pub fn latest(&self) -> Duration {
        self.latest
    }

    /// Does what is due and sends what the target has sent.
    pub async fn catch_up(&mut self) {
        let now = self.elapsed_us();
        self.world.advance(now);
        self.air.carry(self.world).await;
    }

    /// Waits for what arrives next or for the next thing that is due. Dropping the future loses nothing.
    pub async fn next(&mut self) {
        let due = self.world.next_wake().map(|at| self.start + Duration::from_micros(at));
        while Instant::now() < self.eager_until.min(due.unwrap_or(self.eager_until)) {
            if let Some(arrived) = self.air.poll() {
                self.world.advance(us_since(self.start));
                arrived.deliver(self.world);
                self.eager_until = Instant::now() + EAGER;
                return;
            }
            std::hint::spin_loop();
        }
        let may_spin = self.air.may_spin();
        tokio::select! {
            biased;
            received = self.air.receive() => match received {
                Ok(arrived) => {
                    self.world.advance(us_since(self.start));
                    arrived.deliver(self.world);
                    if may_spin {
                        self.eager_until = Instant::now() + EAGER;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotConnected => self.gone = Some(error.to_string()),
                Err(_) => {}
            },
            () = sleep_until(due) => {
                if let Some(due) = due {
                    self.latest = self.latest.max(Instant::now().saturating_duration_since(due));
                }
            }
        }
    }

    /// Records since the last call, with the wall clock.
    pub fn records(&mut self) -> Vec<Record> {
        let wall = self.elapsed_us();
        self.world.take_records().into_iter().map(|record| Record { wall_us: Some(wall), ..record }).collect()
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

fn us_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}
