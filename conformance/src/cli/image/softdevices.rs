//! Names of the firmware ids of SoftDevices (pc-nrfutil: the help of `pkg generate`).

/// Firmware id, and the SoftDevice that has it.
const NAMES: [(u32, &str); 44] = [
    (0x0067, "S130 1.0.0"),
    (0x0080, "S130 2.0.0"),
    (0x0081, "S132 2.0.0"),
    (0x0087, "S130 2.0.1"),
    (0x0088, "S132 2.0.1"),
    (0x008c, "S132 3.0.0"),
    (0x0091, "S132 3.1.0"),
    (0x0095, "S132 4.0.0"),
    (0x0098, "S132 4.0.2"),
    (0x0099, "S132 4.0.3"),
    (0x009d, "S132 5.0.0"),
    (0x009e, "S132 4.0.4"),
    (0x009f, "S132 4.0.5"),
    (0x00a5, "S132 5.1.0"),
    (0x00a7, "S112 6.0.0"),
    (0x00a8, "S132 6.0.0"),
    (0x00a9, "S140 6.0.0"),
    (0x00ae, "S140 6.1.0"),
    (0x00af, "S132 6.1.0"),
    (0x00b0, "S112 6.1.0"),
    (0x00b6, "S140 6.1.1"),
    (0x00b7, "S132 6.1.1"),
    (0x00b8, "S112 6.1.1"),
    (0x00b9, "S340 6.1.1"),
    (0x00ba, "S332 6.1.1"),
    (0x00bc, "S212 6.1.1"),
    (0x00c1, "S140 7.0.0"),
    (0x00c2, "S132 7.0.0"),
    (0x00c3, "S113 7.0.0"),
    (0x00c4, "S112 7.0.0"),
    (0x00ca, "S140 7.0.1"),
    (0x00cb, "S132 7.0.1"),
    (0x00cc, "S113 7.0.1"),
    (0x00cd, "S112 7.0.1"),
    (0x00ea, "S122 8.0.0"),
    (0x0100, "S140 7.2.0"),
    (0x0101, "S132 7.2.0"),
    (0x0102, "S113 7.2.0"),
    (0x0103, "S112 7.2.0"),
    (0x0112, "S122 8.1.1"),
    (0x0123, "S140 7.3.0"),
    (0x0124, "S132 7.3.0"),
    (0x0125, "S113 7.3.0"),
    (0x0126, "S112 7.3.0"),
];

/// The name of a SoftDevice.
pub(super) fn name(firmware_id: u32) -> Option<&'static str> {
    NAMES.iter().find(|(id, _)| *id == firmware_id).map(|(_, name)| *name)
}

/// A list of firmware ids in words.
pub(super) fn list(firmware_ids: &[u32]) -> String {
    let word = |id: &u32| match (*id, name(*id)) {
        (0, _) => "none at all (0x0)".to_owned(),
        (0xfffe, _) => "any (0xfffe)".to_owned(),
        (id, Some(name)) => format!("{name} ({id:#x})"),
        (id, None) => format!("{id:#x}"),
    };
    if firmware_ids.is_empty() {
        "not said".into()
    } else {
        firmware_ids.iter().map(word).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_names() {
        assert!(NAMES.is_sorted_by(|one, other| one.0 < other.0));
        assert_eq!(list(&[0x100, 0x1234]), "S140 7.2.0 (0x100), 0x1234");
        assert_eq!(list(&[0, 0xfffe]), "none at all (0x0), any (0xfffe)");
        assert_eq!(list(&[]), "not said");
    }
}
