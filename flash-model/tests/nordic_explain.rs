//! Flash contents of a Secure DFU device in words.

mod nordic_support;

use std::fmt::Write;

use brickproof_flash_model::boot::nordic::{Options, Profile};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::nordic::FwType;
use nordic_support::{Device, app, app_update, package, softdevice};

fn told(device: &Device, name: &str, flash: &Flash) -> String {
    let explained = device.nordic.explain(flash);
    let mut text = format!("== {name}\n");
    for part in &explained.parts {
        writeln!(text, "{} {}: {}", part.part, part.range, part.contents).unwrap();
    }
    for boot in &explained.next_boots {
        boot.steps.iter().for_each(|step| writeln!(text, "step: {step}").unwrap());
        writeln!(text, "end: [{}] {}", boot.outcome, boot.end).unwrap();
    }
    explained.wrong.iter().for_each(|oddity| writeln!(text, "wrong: [{}] {}", oddity.id, oddity.what).unwrap());
    for remedy in &explained.remedies {
        writeln!(text, "remedy: {} -> {:?}", remedy.what, remedy.then).unwrap();
    }
    text
}

#[test]
fn states_in_words() {
    let device = Device::new(Options::default(), 0x1c00);
    let (settings, backup) = (device.nordic.map().settings(), device.nordic.map().params());
    let whole = device.nordic.map().whole();
    let factory = device.flash();
    let mut all = vec![told(&device, "as it left the factory", &factory)];

    let sent = app_update(0x2800);
    let mut accepted = factory.clone();
    device.send_init(&mut accepted, &sent.init).unwrap();
    all.push(told(&device, "an init packet was accepted", &accepted));

    let mut waits = factory.clone();
    device.upload(&mut waits, &sent).unwrap();
    all.push(told(&device, "an application waits", &waits));

    let mut differs = waits.clone();
    differs.share(&accepted, backup);
    all.push(told(&device, "power lost between settings and backup", &differs));
    let mut torn = waits.clone();
    torn.load(settings, 0x08, &[9; 4]).unwrap();
    all.push(told(&device, "settings torn", &torn));
    let mut torn = waits.clone();
    torn.load(backup, 0x2a5, &[0; 4]).unwrap();
    all.push(told(&device, "backup torn", &torn));
    let mut lost = factory.clone();
    lost.load(settings, 0, &[0xff; 896]).unwrap();
    lost.load(backup, 0, &[0xff; 896]).unwrap();
    all.push(told(&device, "settings lost", &lost));

    let mut damaged = factory.clone();
    damaged.load(whole, 0x4100, &[1, 2, 3]).unwrap();
    all.push(told(&device, "application damaged", &damaged));
    let mut none = factory.clone();
    none.load(whole, 0x3000, &[0xff; 32]).unwrap();
    all.push(told(&device, "SoftDevice damaged", &none));
    let mut none = factory.clone();
    none.load(device.nordic.map().bootloader(), 0, &[0xff; 64]).unwrap();
    all.push(told(&device, "bootloader erased", &none));

    let mut odd = factory.clone();
    device.upload(&mut odd, &package(FwType::Bootloader, [&app(101, 0x1e01), &[]], 2, |_| {})).unwrap();
    all.push(told(&device, "a bootloader that is not of words waits", &odd));
    let mut both = factory.clone();
    let image = [&softdevice(3, 7_002_000)[..], &app(101, 0x1e00)];
    device.upload(&mut both, &package(FwType::SoftdeviceBootloader, image, 2, |_| {})).unwrap();
    device.boot(&mut both);
    all.push(told(&device, "SoftDevice in place, the MBR is to copy the bootloader", &both));

    let old = Device::new(Options { profile: Profile::V14_2, ..Options::default() }, 0x1c00);
    all.push(told(&old, "SDK 14.2", &old.flash()));
    insta::assert_snapshot!(all.join("\n"));
}
