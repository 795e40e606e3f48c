//! Reads of what the system keeps of a file in memory: copied where they are asked for, since the way to another
//! thread and back costs more than copying a few pages.

use std::fs::File;
use std::ops::Range;

use bytes::Bytes;

/// Most bytes that are copied on the caller's thread: a scan's columns are read on others.
const MOST_BYTES: u64 = 256 << 10;

/// The bytes, if all of them are in memory; none where they are not, where the system cannot tell, and where anything is
/// wrong: whoever reads them from disk then finds out what.
#[cfg(target_os = "linux")]
pub(super) fn read(file: &File, ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
    let length = |range: &Range<u64>| range.end.saturating_sub(range.start);
    let total = ranges.iter().map(length).fold(0_u64, u64::saturating_add);
    if total > MOST_BYTES {
        return None;
    }
    ranges.iter().map(|range| read_range(file, range.start, usize::try_from(length(range)).ok()?)).collect()
}

#[cfg(target_os = "linux")]
fn read_range(file: &File, start: u64, length: usize) -> Option<Bytes> {
    use std::io::IoSliceMut;

    use bytes::BytesMut;
    use rustix::io::{ReadWriteFlags, preadv2};

    if length == 0 {
        return None;
    }
    let mut bytes = BytesMut::zeroed(length);
    // What is missing, or past the end, makes the read a shorter one or `EAGAIN`.
    let read = preadv2(file, &mut [IoSliceMut::new(&mut bytes)], start, ReadWriteFlags::NOWAIT).ok()?;
    (read == length).then(|| bytes.freeze())
}

/// Other systems do not tell.
#[cfg(not(target_os = "linux"))]
pub(super) fn read(_file: &File, _ranges: &[Range<u64>]) -> Option<Vec<Bytes>> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{IoSliceMut, Write as _};

    use rustix::io::{ReadWriteFlags, preadv2};

    use super::*;

    #[test]
    fn a_read_here_gives_the_bytes_or_nothing() {
        let content: Vec<u8> = (0..=u8::MAX).cycle().take(MOST_BYTES as usize + 1).collect();
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&content).expect("written");
        let end = content.len() as u64;
        let read_one = |range: Range<u64>| read(&file, &Vec::from([range]));
        // What was written a moment ago is in memory, where the file system can tell.
        let mut byte = [0];
        let told = preadv2(&file, &mut [IoSliceMut::new(&mut byte)], 0, ReadWriteFlags::NOWAIT) == Ok(1);
        let read_all = read(&file, &[0..4, 255..258, end - 1..end]);
        assert_eq!(read_all.is_some(), told);
        if let Some(read_all) = read_all {
            assert_eq!(read_all, [&[0, 1, 2, 3][..], &[255, 0, 1], &content[content.len() - 1..]]);
        }
        assert_eq!(read_one(7..7), None, "nothing to be read");
        assert_eq!(read_one(end - 1..end + 1), None, "past the end");
        assert_eq!(read(&file, &[0..4, end..end + 1]), None);
        assert_eq!(read_one(u64::MAX - 1..u64::MAX), None, "no place in a file");
        assert_eq!(read(&file, &[0..MOST_BYTES, 0..1]), None, "too much to copy here");
        assert_eq!(read(&file, &[0..u64::MAX, 0..u64::MAX]), None);
    }
}
