//! Where the frames of a WebSocket end (RFC 6455 section 5.2): the only place where a Close of our own may stand.
//!
//! Headers are followed and payloads passed over; nothing is kept and nothing is judged. Used by `tunnel` for what goes to
//! the caller.

/// Close, 1008 "policy violation" (section 7.4.1): what opened the stream stands no more.
pub const CLOSE: &[u8] = &[0x88, 0x02, 0x03, 0xf0];

/// A header is 2 to 14 bytes.
#[derive(Debug, Default)]
pub struct Frames {
    header: [u8; 14],
    have: usize,
    /// Bytes of the payload that are still to come.
    left: u64,
}

impl Frames {
    pub fn at_boundary(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Follows all of `bytes`.
    pub fn pass(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.step(rest)..];
        }
    }

    /// Follows `bytes` to the end of the frame under way; gives how many belong to it.
    pub fn finish(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() && !self.at_boundary() {
            at += self.step(&bytes[at..]);
        }
        at
    }

    /// One byte of a header, or as much of a payload as there is. `bytes` is not empty.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.left > 0 {
            let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.left -= taken as u64;
            return taken;
        }
        self.header[self.have] = bytes[0];
        self.have += 1;
        if self.have >= 2 && self.have == self.header_length() {
            self.left = self.payload_length();
            self.have = 0;
        }
        1
    }

    fn header_length(&self) -> usize {
        let extended = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + extended + mask
    }

    fn payload_length(&self) -> u64 {
        match self.header[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => {
                let mut length = [0; 8];
                length.copy_from_slice(&self.header[2..10]);
                u64::from_be_bytes(length)
            }
            length => u64::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of this length, unmasked.
    fn frame(length: usize) -> Vec<u8> {
        let mut bytes = vec![0x82];
        match length {
            0..126 => bytes.push(length as u8),
            126..65536 => bytes.extend([&[126][..], &(length as u16).to_be_bytes()].concat()),
            _ => bytes.extend([&[127][..], &(length as u64).to_be_bytes()].concat()),
        }
        bytes.resize(bytes.len() + length, 0x88);
        bytes
    }

    #[test]
    fn the_ends_of_frames_are_found_however_they_are_cut() {
        let text: Vec<u8> = [0, 5, 125, 126, 300, 70_000].iter().flat_map(|length| frame(*length)).collect();
        for size in [1, 2, 3, 7, 4096, text.len()] {
            let mut frames = Frames::default();
            text.chunks(size).for_each(|chunk| frames.pass(chunk));
            assert!(frames.at_boundary(), "in chunks of {size}");
        }
        let mut masked = Frames::default();
        masked.pass(&[0x81, 0x83, 1, 2, 3, 4, 9, 9]);
        assert!(!masked.at_boundary());
        masked.pass(&[9]);
        assert!(masked.at_boundary());
    }

    #[test]
    fn a_frame_under_way_is_finished_and_no_other_begun() {
        let mut frames = Frames::default();
        let (one, two) = (frame(10), frame(20));
        frames.pass(&one[..5]);
        let rest = [&one[5..], &two].concat();
        assert_eq!(frames.finish(&rest), one.len() - 5);
        assert!(frames.at_boundary());
        assert_eq!(frames.finish(&two), 0);
    }
}
