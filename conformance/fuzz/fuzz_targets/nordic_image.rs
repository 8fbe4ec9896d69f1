//! Init packets of all decoders and of Legacy DFU, and settings pages: what is read comes back, and whatever stands on the
//! pages, a boot ends.
#![no_main]

use std::sync::OnceLock;

use brickproof_flash_model::boot::nordic::settings::SETTINGS_SIZE;
use brickproof_flash_model::boot::nordic::softdevice::{synthetic_image, synthetic_softdevice};
use brickproof_flash_model::boot::nordic::{Entry, Nordic, Options, Outcome, Profile, Settings};
use brickproof_flash_model::boot::nordic_legacy::{Entry as LegacyEntry, NordicLegacy, Options as LegacyOptions};
use brickproof_flash_model::flash::{Controller, Flash, Uncut};
use brickproof_flash_model::image::mcuboot::SigningKey;
use brickproof_flash_model::image::nordic::{Decoder, InitPacket, LegacyInitPacket, Manifest};
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::sweep::nordic::{Installed, factory};
use libfuzzer_sys::fuzz_target;

/// More boots than any activation takes.
const BOOTS_MAX: usize = 8;

struct Device {
    nordic: Nordic,
    flash: Flash,
}

/// One of each SDK, without signatures.
fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let layout = Layout::preset("nordic24").expect("a preset");
        let key = SigningKey::from_seed(b"fuzz").expect("a key");
        let device = |profile: Profile, ble: bool| {
            let options = Options {
                profile,
                ble,
                require_signed_app: false,
                update_from_app: profile >= Profile::V16_0,
                ..Options::default()
            };
            let nordic = Nordic::new(&layout, options, Some(key.public().clone())).expect("fits");
            let installed = Installed {
                softdevice: &synthetic_softdevice(0x2f00, 0x0101, 132, 7_000_000),
                application: &synthetic_image(1, 0x1400),
                application_version: 1,
                bootloader: &synthetic_image(100, 0x1f00),
                bootloader_version: 1,
            };
            let flash = factory(&nordic, layout.blank_flash(), &installed).expect("fits");
            Device { nordic, flash }
        };
        Profile::ALL.into_iter().flat_map(|profile| [true, false].map(|ble| device(profile, ble))).collect()
    })
}

fn packets(bytes: &[u8]) {
    for decoder in [Decoder::Sdk12, Decoder::Sdk14, Decoder::Sdk15, Decoder::Sdk15_3] {
        if let Ok(packet) = InitPacket::parse_as(bytes, decoder) {
            let _ = packet.signed_bytes(bytes);
            // What nrfutil would write of it reads the same.
            let command = &packet.command;
            let again = InitPacket::new(command.clone(), packet.signature.clone()).emit();
            let again = InitPacket::parse_as(&again, decoder).map(|packet| packet.command);
            assert_eq!(again.as_ref(), Ok(command));
        }
    }
    if let Ok(packet) = LegacyInitPacket::parse(bytes) {
        assert_eq!(LegacyInitPacket::parse(&packet.emit()), Ok(packet));
    }
    if let Ok(manifest) = Manifest::parse(bytes) {
        Manifest::parse(&manifest.emit()).expect("what is written is read");
    }
}

/// An init packet to DFU mode; when it is taken, bytes of an image.
fn upload(device: &Device, bytes: &[u8]) {
    let (len, rest) = bytes.split_first().map_or((0, bytes), |(len, rest)| (2 * usize::from(*len), rest));
    let (init, image) = rest.split_at(len.min(rest.len()));
    let nordic = &device.nordic;
    let Ok(mut dfu) = nordic.start(&device.flash) else { panic!("nothing is stored") };
    if nordic.init_command_create(&mut dfu, init.len() as u32).is_err() {
        return;
    }
    let _ = nordic.init_command_append(&mut dfu, init);
    let _ = nordic.init_command_execute(&mut dfu, &device.flash);
    let mut flash = device.flash.clone();
    let mut hook = Uncut;
    let map = nordic.map();
    let mut run = |flash: &mut Flash, steps: &[brickproof_flash_model::boot::nordic::FlashStep]| {
        let mut controller = Controller::new(flash, &mut hook);
        steps.iter().for_each(|step| drop(step.run(map.whole(), map.page(), &mut controller)));
    };
    run(&mut flash, &std::mem::take(&mut dfu.steps));
    for object in image.chunks(4096) {
        let Ok(erase) = nordic.data_create(&mut dfu, object.len() as u32) else { break };
        let Ok(store) = nordic.data_write(&dfu, object) else { break };
        run(&mut flash, &[erase, store]);
        nordic.data_written(&mut dfu, object);
        if nordic.data_execute(&mut dfu) == Ok(true) {
            break;
        }
    }
    let _ = nordic.activation_prepare(&mut dfu, &flash);
    let mut steps = std::mem::take(&mut dfu.steps);
    steps.extend(nordic.settings_write_and_backup(&mut dfu.settings, &flash));
    run(&mut flash, &steps);
    boots(device, &mut flash);
}

/// Boots to the end: bounded, and without a panic.
fn boots(device: &Device, flash: &mut Flash) {
    let nordic = &device.nordic;
    let _ = nordic.explain(flash);
    let mut left = BOOTS_MAX;
    loop {
        let mut hook = Uncut;
        let mut entry = Entry { button: left == 1, ..Entry::default() };
        let boot = nordic.boot(&mut Controller::new(flash, &mut hook), &mut entry).expect("nothing interrupts");
        left -= 1;
        if boot.outcome != Outcome::Reset || left == 0 {
            break;
        }
    }
    let _ = nordic.start(flash);
}

/// Pages as they come, or with the right CRC.
fn settings(device: &Device, bytes: &[u8]) {
    let (flags, rest) = bytes.split_first().map_or((0, bytes), |(flags, rest)| (*flags, rest));
    let (page, backup) = rest.split_at(rest.len().min(SETTINGS_SIZE));
    let mut flash = device.flash.clone();
    let map = device.nordic.map();
    for (area, bytes, sealed) in [(map.settings(), page, flags & 1 != 0), (map.params(), backup, flags & 2 != 0)] {
        let mut whole = [0xff; SETTINGS_SIZE];
        if flags & 4 != 0 {
            // Over what is there: only what is given changes.
            let _ = flash.read(area, 0, &mut whole);
        }
        for (to, from) in whole.iter_mut().zip(bytes) {
            *to = if flags & 4 != 0 { *to ^ from } else { *from };
        }
        let mut read = Settings::parse(&whole);
        if sealed {
            read.seal();
        }
        flash.load(area, 0, &read.to_bytes()).expect("fits");
    }
    boots(device, &mut flash);
}

fn legacy(bytes: &[u8]) {
    use brickproof_flash_model::boot::nordic_legacy::settings::SETTINGS_SIZE;
    let layout = Layout::preset("nordic-legacy17").expect("a preset");
    for options in [LegacyOptions::sdk11(), LegacyOptions::adafruit()] {
        let nordic = NordicLegacy::new(&layout, options, None).expect("fits");
        let mut flash = layout.blank_flash();
        let map = *nordic.map();
        flash.load(map.whole(), 0x1000, &synthetic_softdevice(0x2f00, 0x81, 132, 2_000_000)).expect("fits");
        flash.load(map.whole(), 0x4000, &synthetic_image(1, 0x1000)).expect("fits");
        flash.load(map.bootloader(), 0, &synthetic_image(100, 0x1f00)).expect("fits");
        let len = bytes.len().min(SETTINGS_SIZE);
        flash.load(map.settings(), 0, &bytes[..len]).expect("fits");
        for _ in 0..4 {
            let mut hook = Uncut;
            let mut entry = LegacyEntry::default();
            nordic.boot(&mut Controller::new(&mut flash, &mut hook), &mut entry).expect("nothing interrupts");
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    let device = &devices()[usize::from(kind >> 2) % devices().len()];
    match kind & 3 {
        0 => packets(rest),
        1 => upload(device, rest),
        2 => settings(device, rest),
        _ => legacy(rest),
    }
});
