//! Settings and flash that nobody wrote so: a boot ends, and never by a panic.

mod nordic_support;

use brickproof_flash_model::boot::nordic::{
    Bank, BankCode, BootValidation, Entry, Options, Outcome, Profile, Settings,
};
use brickproof_flash_model::flash::Uncut;
use nordic_support::{Device, app, app_update, softdevice};
use proptest::prelude::*;

/// A number: anything, a size, or an address with little beside it.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        0u32..0x3000,
        (0u32..25, 0u32..3).prop_map(|(page, beside)| (page * 0x1000).wrapping_add(beside).wrapping_sub(1)),
        Just(0),
        Just(u32::MAX),
    ]
}

fn bank() -> impl Strategy<Value = Bank> {
    let code = prop_oneof![
        Just(BankCode::Invalid),
        Just(BankCode::App),
        Just(BankCode::Softdevice),
        Just(BankCode::Bootloader),
        Just(BankCode::SoftdeviceBootloader),
        any::<u32>().prop_map(BankCode::of),
    ];
    (number(), any::<u32>(), code).prop_map(|(image_size, image_crc, code)| Bank { image_size, image_crc, code })
}

fn settings() -> impl Strategy<Value = Settings> {
    let numbers = prop::collection::vec(number(), 16);
    let validation = (0u8..5, any::<[u8; 8]>()).prop_map(|(kind, bytes)| {
        let mut validation = BootValidation { kind, bytes: [0; 64] };
        validation.bytes[..8].copy_from_slice(&bytes);
        validation
    });
    (numbers, bank(), bank(), validation.clone(), validation, any::<bool>()).prop_map(
        |(n, bank_0, bank_1, sd, app, init)| {
            let mut settings = Settings::blank(Profile::V17_1);
            (settings.bank_0, settings.bank_1) = (bank_0, bank_1);
            (settings.boot_validation_softdevice, settings.boot_validation_app) = (sd, app);
            (settings.app_version, settings.bootloader_version, settings.bank_current) = (n[0], n[1], n[2] % 3);
            (settings.write_offset, settings.sd_size, settings.enter_buttonless_dfu) = (n[3], n[4], n[5] % 3);
            let progress = &mut settings.progress;
            (progress.command_size, progress.command_offset, progress.data_object_size) = (n[6], n[7], n[8]);
            (progress.image_crc, progress.image_offset, progress.image_offset_last) = (n[9], n[10], n[11]);
            if init {
                let packet = app_update(0x2800).init;
                settings.init_command[..packet.len()].copy_from_slice(&packet);
                (progress.command_size, progress.command_offset) =
                    (packet.len() as u32, packet.len() as u32 - n[12] % 2);
            }
            settings.seal();
            settings
        },
    )
}

fn options() -> impl Strategy<Value = Options> {
    let profile = prop::sample::select(&Profile::ALL[..]);
    (profile, any::<[bool; 6]>(), 1u32..20).prop_map(|(profile, flags, copy_step)| {
        let [ble, single_bank, force_dual_bank, debug, from_app, enter_by_flag] = flags;
        let update_from_app = from_app && profile.has_backup();
        Options {
            profile,
            ble,
            single_bank,
            force_dual_bank,
            debug,
            update_from_app,
            enter_by_flag,
            copy_step,
            ..Options::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn boots_end(
        options in options(),
        settings in settings(),
        sd_end in number(),
        data in prop::collection::vec(any::<u8>(), 1..300),
        size in number(),
    ) {
        let mut device = Device::new(options, 0x1c00);
        device.softdevice = softdevice(3, 7_000_000);
        let mut flash = device.flash();
        let map = *device.nordic.map();
        let bytes = device.nordic.settings_bytes(&settings);
        flash.load(map.settings(), 0, &bytes).unwrap();
        flash.load(map.params(), 0, &bytes).unwrap();
        flash.load(map.whole(), 0x3008, &sd_end.to_le_bytes()).unwrap();
        flash.load(map.whole(), 0x6000, &app(3, 0x5000)).unwrap();
        let _ = device.nordic.explain(&flash);
        for _ in 0..4 {
            let boot = device.boot_with(&mut flash, &mut Entry { gpregret: 0xb1, ..Entry::default() }, &mut Uncut).unwrap();
            if !matches!(boot.outcome, Outcome::Reset) {
                break;
            }
        }
        if let Ok(mut dfu) = device.nordic.start(&flash) {
            let _ = device.nordic.data_create(&mut dfu, size);
            let _ = device.nordic.data_write(&dfu, &data);
            device.nordic.data_written(&mut dfu, &data);
            let _ = device.nordic.data_execute(&mut dfu);
            let _ = device.nordic.activation_prepare(&mut dfu, &flash);
            let _ = device.nordic.init_command_create(&mut dfu, data.len() as u32);
            let _ = device.nordic.init_command_append(&mut dfu, &data);
            let _ = device.nordic.init_command_execute(&mut dfu, &flash);
            let _ = device.nordic.settings_write_and_backup(&mut dfu.settings, &flash);
        }
    }
}
