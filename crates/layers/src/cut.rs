//! Where the content of an archive is cut.

use std::fmt;

use fastcdc::v2020::{AVERAGE_MAX, AVERAGE_MIN, FastCDC, MAXIMUM_MAX, MAXIMUM_MIN, MINIMUM_MAX, MINIMUM_MIN};

/// How an archive is cut into pieces, in bytes.
///
/// Headers and the content of small files that follow one another make a piece together; the content of any other file is pieces of its
/// own. Where those lie depends on the content alone: content of `max` bytes or less is one piece, longer content is cut by FastCDC
/// (2020, normalization level 1) into pieces of `min` to `max` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    small: u32,
    group: u32,
    min: u32,
    average: u32,
    max: u32,
}

/// Why a cut is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CutError {
    /// Sizes out of order.
    #[error("the sizes of a cut ascend: small and group, min, average and max")]
    Order,
    /// A size too small or too large.
    #[error("a cut has pieces of at least 64 bytes, 256 on average, and 4 MiB at most")]
    Size,
}

impl Cut {
    /// For compressions that make little of little input: files of up to a kilobyte share a piece with their headers and neighbours. With larger
    /// groups a layer is under a per cent smaller, but a build that touches every time sends twice as much.
    pub const GROUPED: Self = Self { small: 1024, group: 4096, min: 16 << 10, average: 64 << 10, max: 256 << 10 };
    /// Each file by itself, as zstd:chunked wants it.
    pub const FILES: Self = Self { small: 0, group: 0, min: 16 << 10, average: 64 << 10, max: 256 << 10 };

    /// A cut with these sizes: a run of headers and of files of `small` bytes at most is a piece once it has `group` bytes; other files
    /// are cut as `min`, `average` and `max` say. With `small` 0 only headers and empty files share a piece.
    pub fn new(small: u32, group: u32, min: u32, average: u32, max: u32) -> Result<Self, CutError> {
        const LARGEST: u32 = 4 << 20;
        if !(MINIMUM_MIN..=MINIMUM_MAX).contains(&min)
            || !(AVERAGE_MIN..=AVERAGE_MAX).contains(&average)
            || !(MAXIMUM_MIN..=MAXIMUM_MAX.min(LARGEST)).contains(&max)
            || group > LARGEST
        {
            return Err(CutError::Size);
        }
        if min > average || average > max || small > max {
            return Err(CutError::Order);
        }
        Ok(Self { small, group, min, average, max })
    }

    /// The same cut of files, each of them by itself.
    pub(crate) fn without_groups(self) -> Self {
        Self { small: 0, group: 0, ..self }
    }

    /// Content up to this length is grouped with headers.
    pub(crate) fn small(&self) -> usize {
        self.small as usize
    }

    /// The length at which a group ends.
    pub(crate) fn group(&self) -> usize {
        self.group as usize
    }

    /// The longest piece of content.
    pub(crate) fn max(&self) -> usize {
        self.max as usize
    }

    /// The lengths of the pieces that `content`, part of a file that is longer than `max`, is cut into. Unless the file ends with it, the
    /// last `max` bytes are left for the next call.
    pub(crate) fn lengths(&self, content: &[u8], ends: bool) -> Vec<usize> {
        let cutter = FastCDC::new(content, self.min, self.average, self.max);
        let mut lengths = Vec::new();
        let mut start = 0;
        while content.len() - start >= self.max() || (ends && start < content.len()) {
            let (_, end) = cutter.cut(start, content.len() - start);
            lengths.push(end - start);
            start = end;
        }
        lengths
    }
}

impl fmt::Display for Cut {
    /// As the annotation [`CUT`](crate::annotation::CUT) has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { small, group, min, average, max } = self;
        write!(f, "files+fastcdc2020;small={small};group={group};min={min};average={average};max={max}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..length).map(|_| random.u8(..)).collect()
    }

    #[test]
    fn a_cut_says_what_it_is() {
        assert_eq!(Cut::GROUPED.to_string(), "files+fastcdc2020;small=1024;group=4096;min=16384;average=65536;max=262144");
        assert_eq!(Cut::new(1024, 4096, 16384, 65536, 262144), Ok(Cut::GROUPED));
    }

    #[test]
    fn what_is_no_cut_is_refused() {
        assert_eq!(Cut::new(0, 0, 0, 1024, 2048), Err(CutError::Size));
        assert_eq!(Cut::new(0, 0, 64, 256, 8 << 20), Err(CutError::Size));
        assert_eq!(Cut::new(0, u32::MAX, 64, 256, 1024), Err(CutError::Size));
        assert_eq!(Cut::new(0, 0, 1024, 512, 2048), Err(CutError::Order));
        assert_eq!(Cut::new(4096, 0, 256, 512, 2048), Err(CutError::Order));
    }

    #[test]
    fn the_same_bytes_are_cut_in_the_same_places() {
        // Written down: a release that cuts elsewhere shares nothing with the layers of the one before.
        let content = noise(1, 1 << 20);
        let lengths = Cut::FILES.lengths(&content, true);
        assert_eq!(lengths.iter().sum::<usize>(), content.len());
        assert_eq!(lengths[..4], [122_919, 68_735, 53_382, 98_995]);
        assert!(lengths.iter().all(|length| *length <= Cut::FILES.max()));
    }

    #[test]
    fn an_insertion_moves_few_cuts() {
        let content = noise(2, 4 << 20);
        let mut longer = content.clone();
        longer.splice(1 << 20..1 << 20, noise(3, 100));
        let cut = |content: &[u8]| {
            let mut rest = content;
            let lengths = Cut::FILES.lengths(content, true);
            lengths.into_iter().map(|length| rest.split_off(..length).unwrap().to_vec()).collect::<Vec<_>>()
        };
        let before = cut(&content);
        let fresh = cut(&longer).into_iter().filter(|piece| !before.contains(piece)).count();
        assert!((1..=3).contains(&fresh), "{fresh} of {}", before.len());
    }
}
