use proptest::prelude::*;

use super::*;

fn checksums_of(bytes: &[u8], steps: &[usize]) -> Checksums {
    let mut writer = ChecksumWriter::default();
    let mut rest = bytes;
    for step in steps.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at((*step).clamp(1, rest.len()));
        writer.update(now);
        rest = later;
    }
    assert_eq!(writer.bytes(), bytes.len() as u64);
    writer.checksums()
}

fn read(bytes: &[u8], blocks: &[Range<u64>]) -> Vec<Bytes> {
    let place = |at: u64| usize::try_from(at).expect("small");
    blocks.iter().map(|block| Bytes::copy_from_slice(&bytes[place(block.start)..place(block.end)])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ranges_come_back_and_flips_are_seen(
        size in prop_oneof![0_usize..100, 16_380_usize..16_390, 0_usize..100_000],
        steps in prop::collection::vec(1_usize..40_000, 1..5),
        ranges in prop::collection::vec((0.0..1.0_f64, 0.0..1.0_f64), 1..6),
        flip in 1_u8..,
    ) {
        let bytes: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
        let checksums = checksums_of(&bytes, &steps);
        prop_assert_eq!(&Checksums::parse(&checksums.to_text()).expect("its own text"), &checksums);
        prop_assert_eq!(&checksums, &checksums_of(&bytes, &[1000]));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "places in a small file")]
        let place = |part: f64| (size as f64 * part) as u64;
        let ranges: Vec<Range<u64>> =
            ranges.into_iter().map(|(one, other)| place(one.min(other))..place(one.max(other))).collect();
        let blocks = checksums.blocks_of(&ranges).expect("inside");
        let found = checksums.verified(&ranges, &blocks, &read(&bytes, &blocks)).expect("as it was written");
        prop_assert_eq!(found, read(&bytes, &ranges));
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            let mut damaged = bytes.clone();
            damaged[usize::try_from(range.start).expect("small")] ^= flip;
            prop_assert!(checksums.verified(&ranges, &blocks, &read(&damaged, &blocks)).is_err());
        }
    }
}

#[test]
fn what_is_not_covered_and_what_is_no_text_is_refused() {
    let checksums = checksums_of(&[7; 20_000], &[5000]);
    assert!(checksums.to_text().starts_with("crc32 16384 20000 "), "{}", checksums.to_text());
    for range in [19_999..20_001, u64::MAX - 1..u64::MAX] {
        assert!(checksums.blocks_of(std::slice::from_ref(&range)).is_err(), "{range:?}");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "a damaged footer may say so")]
    let reversed = 5..4;
    assert!(checksums.blocks_of(std::slice::from_ref(&reversed)).is_err());
    for text in [
        "",
        "crc32",
        "crc32 16384",
        "crc32 16384 1",
        "crc32 16384 x 00000000",
        "crc32 16384 1 0000000",
        "crc32 16384 1 0000000g",
        "crc32 16384 1 0000000000000000",
        "crc32 1024 1 00000000",
        "md5 16384 1 00000000",
        "crc32 16384 1 00000000 x",
        "crc32 16384 1 éééé",
    ] {
        assert!(Checksums::parse(text).is_err(), "{text:?}");
    }
}
