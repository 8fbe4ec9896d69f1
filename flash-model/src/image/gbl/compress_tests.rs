//! Compressed programs, there and back, and what is none.

use proptest::prelude::*;

use super::compress::*;
use crate::image::nordic::builder::application_binary;

const LIMIT: usize = 1 << 20;

fn unpacked(compression: Compression, data: &[u8]) -> Result<Vec<u8>, CompressionFault> {
    decompress(compression, data, LIMIT).map(|found| found.bytes)
}

#[test]
fn what_is_compressed_is_what_a_device_takes() {
    let zeros = vec![0; 70_000];
    for data in [&application_binary(3, 20_000), &zeros, &b"a".to_vec(), &Vec::new()] {
        let lzma = compress(Compression::Lzma, data).unwrap();
        assert_eq!(lzma[..13], [0x64, 0, 0x20, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(LzmaHeader::parse(&lzma).unwrap(), LzmaHeader::DEVICE);
        assert_eq!(LzmaHeader::DEVICE.device_fault(), None);
        let lz4 = compress(Compression::Lz4, data).unwrap();
        assert_eq!(&unpacked(Compression::Lzma, &lzma).unwrap(), data);
        assert_eq!(&unpacked(Compression::Lz4, &lz4).unwrap(), data);
        assert_eq!(compress(Compression::Lzma, data).unwrap(), lzma);
    }
}

/// The range coder has to be at its end, too: `LzmaDec.c` wants a code of 0 behind the end marker.
#[test]
fn a_damaged_end_marker_is_none() {
    let mut packed = compress(Compression::Lzma, &application_binary(3, 2000)).unwrap();
    *packed.last_mut().unwrap() ^= 0x01;
    assert!(matches!(unpacked(Compression::Lzma, &packed), Err(CompressionFault::LzmaData(_))));
}

#[test]
fn limits_are_exact() {
    let data = vec![7; 5000];
    for compression in [Compression::Lz4, Compression::Lzma] {
        let packed = compress(compression, &data).unwrap();
        assert!(packed.len() < 100);
        assert_eq!(decompress(compression, &packed, 5000).unwrap().bytes, data);
        assert_eq!(
            decompress(compression, &packed, 4999),
            Err(CompressionFault::TooLarge { limit: 4999 }),
            "{}",
            compression.name()
        );
    }
    let literals = compress(Compression::Lz4, b"abcdef").unwrap();
    assert_eq!(decompress(Compression::Lz4, &literals, 5), Err(CompressionFault::TooLarge { limit: 5 }));
}

#[test]
fn lz4_faults() {
    for (data, expected) in [
        (vec![], CompressionFault::Lz4End),
        (vec![0x20, 1], CompressionFault::Lz4End),
        (vec![0xf0], CompressionFault::Lz4End),
        (vec![0xf0, 0xff], CompressionFault::Lz4End),
        // A copy at the end.
        (vec![0x10, 1, 1, 0], CompressionFault::Lz4End),
        (vec![0x1f, 1, 1, 0], CompressionFault::Lz4End),
        (vec![0x10, 1, 1], CompressionFault::Lz4End),
        (vec![0x10, 1, 0, 0, 0x10, 1], CompressionFault::Lz4OffsetZero { at: 2 }),
        (vec![0x10, 1, 4, 0, 0x10, 1], CompressionFault::Lz4BeforeStart { at: 2, by: 3 }),
    ] {
        assert_eq!(unpacked(Compression::Lz4, &data), Err(expected), "{data:?}");
    }
    assert_eq!(unpacked(Compression::Lz4, &[0x10, 1, 1, 0, 0x10, 2]).unwrap(), [1, 1, 1, 1, 1, 2]);
    // No literals are literals, too.
    assert_eq!(unpacked(Compression::Lz4, &[0x10, 1, 1, 0, 0]).unwrap(), [1; 5]);
}

#[test]
fn lzma_faults() {
    let data = application_binary(3, 5000);
    let good = compress(Compression::Lzma, &data).unwrap();
    for len in [0, 12] {
        assert_eq!(unpacked(Compression::Lzma, &good[..len]), Err(CompressionFault::LzmaShort(len)));
    }
    for len in [13, 17, 100, good.len() - 1] {
        assert_eq!(unpacked(Compression::Lzma, &good[..len]), Err(CompressionFault::LzmaNoEnd), "{len}");
    }
    let mut wrong = good.clone();
    wrong[0] = 0xe1;
    assert_eq!(unpacked(Compression::Lzma, &wrong), Err(CompressionFault::LzmaProperties(0xe1)));
    let mut wrong = good.clone();
    wrong[13] = 1;
    assert!(matches!(unpacked(Compression::Lzma, &wrong), Err(CompressionFault::LzmaData(_))));
    let trailing = [good.as_slice(), &[0; 9]].concat();
    assert_eq!(decompress(Compression::Lzma, &trailing, LIMIT), Ok(Decompressed { bytes: data, trailing: 9 }));
}

#[test]
fn the_size_in_the_header_says_nothing() {
    let header = LzmaHeader { size: 3, ..LzmaHeader::DEVICE };
    let mut packed = compress_lzma(b"abc", &header).unwrap();
    assert_eq!(LzmaHeader::parse(&packed).unwrap(), header);
    packed[5..13].fill(0x11);
    assert_eq!(unpacked(Compression::Lzma, &packed).unwrap(), b"abc");
}

#[test]
fn memory_of_a_device() {
    for (lc, lp, dictionary, fits) in [(2, 0, 8192, true), (0, 2, 4096, true), (3, 0, 8192, false), (1, 1, 8193, false)]
    {
        let header = LzmaHeader { lc, lp, dictionary, ..LzmaHeader::DEVICE };
        assert_eq!(header.device_fault().is_none(), fits, "{header:?}");
        let data = application_binary(3, 30_000);
        let packed = compress_lzma(&data, &header).unwrap();
        assert_eq!(unpacked(Compression::Lzma, &packed).unwrap(), data, "{header:?}");
    }
}

/// Text of few words, which compresses well in many ways.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![Just(b"abc".to_vec()), Just(vec![0; 40]), prop::collection::vec(any::<u8>(), 0..20)];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_streams_stay_within_their_limit(data in text(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        for compression in [Compression::Lz4, Compression::Lzma] {
            let mut packed = compress(compression, &data).unwrap();
            for (at, byte) in &flips {
                let at = at.index(packed.len());
                packed[at] = *byte;
            }
            if let Ok(found) = decompress(compression, &packed, 1500) {
                prop_assert!(found.bytes.len() <= 1500);
            }
        }
    }

    #[test]
    fn anything_goes_there_and_back(data in text()) {
        for compression in [Compression::Lz4, Compression::Lzma] {
            let packed = compress(compression, &data).unwrap();
            prop_assert_eq!(&unpacked(compression, &packed).unwrap(), &data);
        }
    }

    #[test]
    fn lz4_is_read_as_another_decoder_reads_it(data in prop::collection::vec(any::<u8>(), 0..80), copies in any::<bool>()) {
        // Small numbers are more often a block.
        let data: Vec<u8> = if copies { data.iter().map(|byte| byte & 0x13).collect() } else { data };
        let theirs = lz4_flex::block::decompress(&data, 1 << 16);
        match decompress(Compression::Lz4, &data, 1 << 16) {
            Ok(ours) => prop_assert_eq!(Some(ours.bytes), theirs.ok()),
            // The other decoder is less strict about offset 0 alone.
            Err(CompressionFault::Lz4OffsetZero { .. }) => {}
            Err(_) => prop_assert!(theirs.is_err()),
        }
    }

    #[test]
    fn noise_stays_within_its_limit(data in prop::collection::vec(any::<u8>(), 0..300), lzma in any::<bool>()) {
        let mut data = data;
        if lzma {
            let header = [0x64, 0, 0x20, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0];
            data.splice(0..0, header);
        }
        for compression in [Compression::Lz4, Compression::Lzma] {
            if let Ok(found) = decompress(compression, &data, 1000) {
                prop_assert!(found.bytes.len() <= 1000);
            }
        }
    }
}
