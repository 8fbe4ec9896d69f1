//! The way into the AppLoader, against a second reading of the code (simplicity sdk: `sl_bt_in_place_ota_dfu.c`).

use brickproof_flash_model::boot::gecko::{Options, reason};
use brickproof_flash_model::layout::Layout;
use proptest::prelude::*;

use super::{Bench, Said, board};
use crate::device::Endpoint;
use crate::device::program::Input;
use crate::gatt::{AttError, ConnectionParameters};
use crate::silabs::SilabsBoard;

/// The file's static variables, and what its configuration says.
struct Model {
    bonding_required: bool,
    min_delay: u32,
    multiplier: u32,
    boot_to_dfu: bool,
    delay_additional_ms: u32,
    /// The application's timer: when it is over, in microseconds.
    connection_close_delay: Option<u64>,
    now_us: u64,
    said: Vec<Said>,
}

impl Model {
    fn user_write_request(&mut self, request: u64) {
        let denied = self.bonding_required;
        if !denied {
            self.boot_to_dfu = true;
        }
        self.said.push(Said::Answer(request, if denied { Err(AttError(0xfc)) } else { Ok(()) }));
        self.connection_close_delay = Some(self.now_us + u64::from(self.delay_additional_ms) * 1000);
    }

    fn connection_parameters(&mut self, interval: u16, latency: u16) {
        let mut raw = f32::from(interval) * 1.25 * (f32::from(latency) + 1.0);
        raw *= self.multiplier as f32;
        self.delay_additional_ms = (raw.ceil() as u32).max(self.min_delay);
    }

    fn connection_closed(&mut self) {
        if self.boot_to_dfu {
            self.said.push(Said::Reset);
        }
    }

    fn wait(&mut self, us: u64) {
        self.now_us += us;
        if self.connection_close_delay.take_if(|at| *at <= self.now_us).is_some() && self.boot_to_dfu {
            self.said.push(Said::Disconnect);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<u8>),
    Parameters(u16, u16),
    Close,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..3).prop_map(Step::Write),
        2 => (6..3200_u16, 0..4_u16).prop_map(|(interval, latency)| Step::Parameters(interval, latency)),
        1 => Just(Step::Close),
        3 => prop_oneof![0..20_000_000_u64, Just(1_000_000), Just(999_999)].prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..12)
}

fn own(bonding_required: bool) -> (SilabsBoard, brickproof_flash_model::flash::Flash) {
    let layout = Layout::preset("gecko40-apploader").unwrap();
    let mut own = board(&layout, Options::apploader());
    own.ota.bonding_required = bonding_required;
    (own, layout.blank_flash())
}

proptest! {
    #[test]
    fn whatever_is_written_and_when(
        bonding_required in prop::bool::weighted(0.2),
        min_delay in 10..5000_u32,
        multiplier in 3..20_u32,
        steps in steps(),
    ) {
        let (mut own, flash) = own(bonding_required);
        own.ota.reboot_us = u64::from(min_delay) * 1000;
        own.ota.reboot_intervals = multiplier.into();
        let mut bench = Bench::application(own, flash);
        let mut model = Model {
            bonding_required,
            min_delay,
            multiplier,
            boot_to_dfu: false,
            delay_additional_ms: min_delay,
            connection_close_delay: None,
            now_us: 0,
            said: Vec::new(),
        };
        for step in steps {
            match step {
                Step::Write(value) => {
                    let request = bench.ask(Endpoint::OtaControl, &value);
                    model.user_write_request(request);
                }
                Step::Parameters(interval_max, latency) => {
                    let parameters = ConnectionParameters { interval_min: 6, interval_max, latency, timeout: 3200 };
                    bench.tell(Input::Parameters(parameters));
                    model.connection_parameters(interval_max, latency);
                }
                Step::Close => {
                    bench.tell(Input::Disconnected);
                    model.connection_closed();
                }
                Step::Wait(us) => {
                    bench.wait(us);
                    model.wait(us);
                }
            }
            prop_assert_eq!(&bench.said, &model.said);
            if bench.resets() {
                prop_assert_eq!(bench.info().reason, reason::BOOTLOAD);
                break;
            }
        }
    }
}

#[test]
fn a_low_battery_keeps_the_application() {
    let (mut own, flash) = own(false);
    own.ota.low_battery = Some(AttError(0x80));
    let mut bench = Bench::application(own, flash);
    bench.low = true;
    assert_eq!(bench.control(0), Err(AttError(0x80)));
    bench.take_said();
    bench.wait(10_000_000);
    bench.tell(Input::Disconnected);
    assert_eq!(bench.take_said(), []);
    bench.low = false;
    assert_eq!(bench.control(0), Ok(()));
}
