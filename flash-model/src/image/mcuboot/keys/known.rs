//! Private keys that everybody has: a device that trusts one trusts anybody's images.
//!
//! The hashes are those an image carries in its KEYHASH TLV: of the public key in DER form (PKCS#1 for
//! RSA, SubjectPublicKeyInfo for the others), with SHA-256, for P-384 also SHA-384, for Ed25519 also SHA-512.

/// Hash of the public key, and the file with the private key in the repository of MCUboot
/// (mcu-tools/mcuboot at 2d4bacc3c15ebb6f91c28807fe6eb38b4ba98f77). Zephyr and the nRF Connect SDK sign with
/// `root-rsa-2048.pem` or `root-ec-p256.pem` unless they are told otherwise. `root-ec-p256-pkcs8.pem` and
/// `root-ec-p384-pkcs8.pem` hold the same keys as the files without `pkcs8`.
const PUBLISHED: &[(&str, &str)] = &[
    ("fc5701dc6135e1323847bdc40f04d2e5bee5833b23c29f93593d00018cfa9994", "root-rsa-2048.pem"),
    ("449793fb65cd7698753d5b3f35fab15f1e3a45111ff24e1d46741de5ae12d59e", "root-rsa-3072.pem"),
    ("e30466f6b8470c1f29070b17f1e2d3e94d445e3f608087fdc711e4382bb538b6", "root-ec-p256.pem"),
    ("6bcd1e16d80e5fe13a5307e6f1de8344c7e50e537d9962ce35ef6db5e642fae8", "root-ec-p384.pem"),
    (
        "85b7bd5f5dff9a03a99927adaf6ca6febde822c1a480928324a8e60323715c5779461c496a95aee8c4f90b99779f848a",
        "root-ec-p384.pem",
    ),
    ("c1907fa4eac7fae3840a78902b6f0710b037e9968e5c6274a12a28790c7d4e3c", "root-ed25519.pem"),
    (
        "e3e129b49f1218e18e4614acb2523389c75852ebb98b4d2c6171a2fc65706ba3d1ddf85f52e71450c3e572e624695fafd41ce4d9354d6c2b19f7d6001a6ae8b0",
        "root-ed25519.pem",
    ),
    ("6754edab1e29affef4a05935adecbeb1a7b8b62397b31e39a61b5bfcaafd63af", "root-ed25519-2.pem"),
    (
        "e11ed22583de283392266b917bd82e88486edf47bc58c7ce8e42f9fb90e1daa900e72f172e4bd4fb19fc1870638e3a89c3f033ef4db6f6235d02ee623b4b2924",
        "root-ed25519-2.pem",
    ),
    ("b1d87d60173352b9a4808979790fc699fb4c4f83b49cf1970edd96ff4adc36a6", "root-ed25519-unknown.pem"),
    (
        "37491781699741ec96e7faaf03c04e70f135f2f8b1f09d5a2a53667115052331e6a8abd3310476e7fbedf676feb9e8bcff7ff5366e8470714c0ef4c582941881",
        "root-ed25519-unknown.pem",
    ),
    ("e6c097daf1458d0f8b8d43fc4b4b9d4425203484b3afe5570ed074073901bab0", "samples/zephyr/bad-keys/bad-ec-p256.pem"),
    ("e32a93d4ef8c5f4d503642e2cc7c5eece7693e3246c7766dbb4b54d79441db2a", "samples/zephyr/bad-keys/bad-rsa-2048.pem"),
    ("bb868a727f0ef75e890a6a52bccd1d936fb34438afd6f237e8af259865742446", "boot/cypress/keys/cypress-test-ec-p256.pem"),
    ("64cf53d13dc8784425001af1dd51799e2bd93d0e0bef08f988765ee2379f9eba", "testplan/mynewt/key_ec.pem"),
    ("6dc968724fdedb71be7c8ad62540ea148996f96adb5c48e9cc3112c588f26d89", "testplan/mynewt/key_ec256.pem"),
    ("1c35c9ccb929906e7792eda384825b41be700c50760493eaf163135933e191aa", "testplan/mynewt/key_ec256_2.pem"),
    ("53730935377f0650b22361f542f5bea746ec7f3480719eed782a9543b0ed733a", "testplan/mynewt/key_ec_2.pem"),
    ("263e1b46f29ad5add6fc438abbf6bf227da6d6ff8736a7d654301c19f7fc8c46", "testplan/mynewt/key_rsa.pem"),
    ("6347a153696d6c91eaa335290a6115063be9066f665e17a6b7a1da4c5e24e5a7", "testplan/mynewt/key_rsa_2.pem"),
];

/// Those of brickproof, in `scenarios/keys`.
const OWN: &[(&str, &str)] = &[
    ("adb82a215b52b543f097949159f101296c6198907deb81d96d9c1f224383d634", "brickproof-development.pem"),
    ("be588a71ff1bb6dbdf66ef28dd956cc92c2a12be3a101980570be65dad69f3c6", "brickproof-development-rsa-2048.pem"),
    ("6893594053513ecd68a7fb27fa07b4bc1f4dc6d014218092ee92dfc4b176d274", "brickproof-development-ed25519.pem"),
];

/// The file with the published private key whose public half has this hash; `None` for a key that is not
/// known to be published.
///
/// `key_hash`: the value of a KEYHASH TLV, or [`PublicKey::hash`](super::PublicKey::hash).
#[must_use]
pub fn known_development_key(key_hash: &[u8]) -> Option<&'static str> {
    let text: String = key_hash.iter().map(|byte| format!("{byte:02x}")).collect();
    PUBLISHED.iter().chain(OWN).find(|(hash, _)| *hash == text).map(|(_, file)| *file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_whole_and_different() {
        let all: Vec<_> = PUBLISHED.iter().chain(OWN).collect();
        for (index, (hash, file)) in all.iter().enumerate() {
            assert!([64, 96, 128].contains(&hash.len()), "{file}");
            assert!(all[..index].iter().all(|(other, _)| other != hash), "{file}");
        }
        assert_eq!(known_development_key(&[0; 32]), None);
        assert_eq!(known_development_key(&[]), None);
    }
}
